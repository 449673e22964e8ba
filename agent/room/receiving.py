"""What is received of each track, judged: one place for the participant's connection and the tap's (pure)."""

from dataclasses import dataclass, field, replace

from agent.room.state import ReceiveState
from media.rtp.inbound_rtp_stats import InboundRtpStats
from quality import score
from quality.stats import Direction, InboundRtp, TrackSnapshot
from quality.window import delta

MAX_LAYERS_SEEN = 32  # a publisher that changes its size endlessly (a shared window) must not grow the state


def tap_inbound_rtp(stats: InboundRtpStats, frames_per_second: float = 0.0) -> InboundRtp:
    """The tap's statistics as the quality package takes them; a tap decodes nothing."""
    return InboundRtp(
        packets_received=stats.packets_received,
        # RFC 3550 counts what came by retransmission as lost; the picture did not suffer from it.
        packets_lost=max(0, stats.packets_lost - stats.packets_recovered - stats.packets_repaired),
        packets_discarded=stats.packets_discarded,
        retransmitted_packets_received=stats.retransmitted_packets_received,
        bytes_received=stats.bytes_received,
        jitter=stats.jitter,
        frames_received=stats.frames_received,
        frames_decoded=None,
        frames_dropped=stats.frames_dropped,
        key_frames_decoded=stats.key_frames_received,
        frame_width=stats.frame_width,
        frame_height=stats.frame_height,
        frames_per_second=frames_per_second,
        freeze_count=stats.freeze_count,
        total_freezes_duration=stats.total_freezes_duration,
        nack_count=stats.nack_count,
        pli_count=stats.pli_count,
        jitter_buffer_delay=stats.jitter_buffer_delay,
        jitter_buffer_emitted_count=stats.jitter_buffer_emitted_count,
        reports_sent=stats.sender_reports_received,
        round_trip_time=stats.round_trip_time,
    )


@dataclass(slots=True)
class _Judged:
    snapshot: TrackSnapshot
    state: score.ScoreState
    verdict: score.Score | None = None
    frames_per_second: float = 0.0
    layers_seen: tuple[str, ...] = ()


@dataclass(slots=True)
class ReceiveJudge:
    """Takes each tick's snapshots of one connection; tells each track's ReceiveState."""

    _tracks: dict[str, _Judged] = field(default_factory=dict)

    def take(self, snapshots: tuple[TrackSnapshot, ...], now: float) -> None:
        """Judge the inbound tracks of one tick; tracks that are not in it are forgotten."""
        inbound = {item.track_sid: item for item in snapshots if item.direction is Direction.INBOUND}
        for sid in set(self._tracks) - set(inbound):
            del self._tracks[sid]
        for sid, snapshot in inbound.items():
            self._take_one(sid, snapshot, now)

    def _take_one(self, sid: str, snapshot: TrackSnapshot, now: float) -> None:
        known = self._tracks.get(sid)
        if known is None:
            self._tracks[sid] = known = _Judged(snapshot, score.start(snapshot.kind))
        else:
            window = delta(known.snapshot, snapshot)
            known.state, known.verdict = score.step(known.state, window, now)
            known.frames_per_second = window.fps if window.measured else known.frames_per_second
            known.snapshot = snapshot
        stats = snapshot.stats
        assert isinstance(stats, InboundRtp)
        size = f"{stats.frame_width}x{stats.frame_height}"
        last = known.layers_seen[-1] if known.layers_seen else ""
        if stats.frame_width and size != last and len(known.layers_seen) < MAX_LAYERS_SEEN:
            known.layers_seen += (size,)

    def verdict(self, sid: str) -> score.Score | None:
        """The last score of a track; None until it was judged."""
        known = self._tracks.get(sid)
        return known.verdict if known else None

    def receive_state(self, sid: str) -> ReceiveState | None:
        """What is received of a track; None for one that is not."""
        known = self._tracks.get(sid)
        if known is None:
            return None
        stats = known.snapshot.stats
        assert isinstance(stats, InboundRtp)
        state = ReceiveState(
            packets_received=stats.packets_received,
            packets_lost=stats.packets_lost,
            bytes_received=stats.bytes_received,
            frames_received=stats.frames_received,
            frame_width=stats.frame_width,
            frame_height=stats.frame_height,
            frames_per_second=round(stats.frames_per_second or known.frames_per_second, 2),
            jitter=stats.jitter,
            nack_count=stats.nack_count,
            pli_count=stats.pli_count,
            freeze_count=stats.freeze_count,
            layers_seen=known.layers_seen,
        )
        return replace(state, score=round(known.verdict.value, 1)) if known.verdict else state

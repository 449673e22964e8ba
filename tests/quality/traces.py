"""Synthetic tracks of known truth: counters that rise as told, one call a second."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quality.stats import InboundRtp, TrackKind, TrackSnapshot, TrackSource, VideoQuality
from quality.window import Window, delta

EPOCH = 1_800_000_000.0


def camera_window(
    *,
    loss: float = 0.0,
    fps: float = 30.0,
    freeze_s: float = 0.0,
    packets: int = 200,
    duration_s: float = 1.0,
    source: TrackSource = TrackSource.CAMERA,
) -> Window:
    """A window of a received video track: `packets` expected a second, a share `loss` of them lost."""
    expected = round(packets * duration_s)
    lost = round(expected * loss)
    before = InboundRtp(ssrc=7, frames_decoded=0)
    after = InboundRtp(
        ssrc=7,
        packets_received=expected - lost,
        packets_lost=lost,
        bytes_received=(expected - lost) * 1100,
        frames_decoded=round(fps * duration_s),
        freeze_count=1 if freeze_s > 0 else 0,
        total_freezes_duration=freeze_s,
    )
    start = TrackSnapshot("TR_camera", TrackKind.VIDEO, source, EPOCH, before)
    return delta(start, replace(start, timestamp=EPOCH + duration_s, stats=after))


@dataclass(frozen=True, slots=True)
class Link:
    """A downlink of `capacity_bps` that drops what does not fit, for a track of three simulcast layers."""

    capacity_bps: float
    layer_bps: tuple[float, float, float] = (150_000.0, 500_000.0, 1_700_000.0)

    def window(self, quality: VideoQuality) -> Window:
        """One second with `quality` asked for."""
        offered = self.layer_bps[quality]
        lost = max(0.0, 1.0 - self.capacity_bps / offered)
        return camera_window(loss=lost, fps=30.0 * (1.0 - min(1.0, 3.0 * lost)), packets=round(offered / 8800))


def received(
    sid: str,
    kind: TrackKind,
    losses: Sequence[float],
    *,
    packets: int = 200,
    packet_bytes: int = 1000,
    size: tuple[int, int] = (1280, 720),
) -> tuple[TrackSnapshot, ...]:
    """Snapshots of a received track, one a second: the first, and one after each second of `losses` (0..1)."""
    video = kind is TrackKind.VIDEO
    stats = InboundRtp(ssrc=7, reports_sent=0)
    start = TrackSnapshot(
        sid,
        kind,
        TrackSource.CAMERA if video else TrackSource.MICROPHONE,
        EPOCH,
        stats,
        requested_quality=VideoQuality.HIGH if video else None,
    )
    found = [start]
    for second, loss in enumerate(losses, start=1):
        lost = round(packets * loss)
        stats = replace(
            stats,
            packets_received=stats.packets_received + packets - lost,
            packets_lost=stats.packets_lost + lost,
            bytes_received=stats.bytes_received + (packets - lost) * packet_bytes,
            frames_received=stats.frames_received + (30 if video else packets - lost),
            frame_width=size[0] if video else 0,
            frame_height=size[1] if video else 0,
            jitter=0.004,
            reports_sent=second,
        )
        found.append(replace(start, timestamp=EPOCH + second, stats=stats))
    return tuple(found)

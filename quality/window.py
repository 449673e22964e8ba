"""What happened to one track between two snapshots."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import log
from typing import TypeVar

from quality.content import NOTHING_SEEN, ContentCounts
from quality.sent_layers import SentLayer, pictures_encoded, sent_layers
from quality.stats import (
    Direction,
    InboundRtp,
    OutboundRtp,
    QualityLimitationReason,
    TrackKind,
    TrackSnapshot,
    TrackSource,
    VideoLayer,
    VideoQuality,
)

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Window:
    """Differences of one track's counters over `duration_s`; all of them are >= 0.

    `measured` is False where two snapshots cannot be compared: the counters began anew (reconnect, a
    new stream), or no time passed. Every other figure is then 0 and says nothing; states of the track
    (`muted`, `stream_paused`, frame size, `jitter_s`, `audio_level`, the bandwidth) hold all the same.

    `packets` were received (inbound) or sent (outbound). `packets_lost` is what this end missed, or the
    remote end reported missing. `sender_reports` is None where they are not counted.
    `layer_distance` is how many simulcast layers the received picture is below the requested one,
    among the layers announced; 0 where that is unknown. `jitter_buffer_delay_s` is the mean per frame
    (video) or sample (audio). `round_trip_time_s` is None before the first report.
    `sent_layers` counts the simulcast layers that were sent (0 inbound), `target_bitrate_bps` adds up what
    their encoders were told to spend. `audio_level` is the latest, 0..1 of full scale; None where it is not
    measured. `available_bandwidth_bps` is what this end believes the way carries, bits per second; None
    where it is not estimated. `packets_repaired` were lost on the way too, and mended: `packets_lost` leaves them out.
    `layers` are those of a sent video, the largest picture last; `captured_fps` is what its source gave, None where
    that is not told. `content` is what decoded sound or pictures showed; without counts where none were looked at.
    `freeze_count` and `freeze_s` are of pictures that stand for however long, W3C's pauses (over 5 s) too; but a screen
    may pause. `frames_assembled` are the received frames of more than one packet, `assembly_s` adds up what each took
    from its first packet to its last.
    """

    track_sid: str
    kind: TrackKind
    source: TrackSource
    direction: Direction
    measured: bool
    muted: bool = False
    was_muted: bool = False
    stream_paused: bool = False
    duration_s: float = 0.0
    packets: int = 0
    packets_lost: int = 0
    packets_discarded: int = 0
    retransmitted_packets: int = 0
    bytes: int = 0
    frames: int = 0
    fps: float = 0.0
    frames_dropped: int = 0
    key_frames: int = 0
    freeze_count: int = 0
    freeze_s: float = 0.0
    nack_count: int = 0
    pli_count: int = 0
    fir_count: int = 0
    concealed_ratio: float = 0.0
    jitter_s: float = 0.0
    jitter_buffer_delay_s: float = 0.0
    round_trip_time_s: float | None = None
    sender_reports: int | None = None
    frame_width: int = 0
    frame_height: int = 0
    layer_distance: int = 0
    requested_quality: VideoQuality | None = None
    requested_fps: float | None = None
    quality_limitation_reason: QualityLimitationReason = QualityLimitationReason.NONE
    sent_layers: int = 0
    target_bitrate_bps: float = 0.0
    audio_level: float | None = None
    available_bandwidth_bps: float | None = None
    packets_repaired: int = 0
    layers: tuple[SentLayer, ...] = ()
    captured_fps: float | None = None
    content: ContentCounts = NOTHING_SEEN
    frames_assembled: int = 0
    assembly_s: float = 0.0

    @property
    def rests(self) -> bool:
        """Whether nothing is expected of the track: muted, at either end of the window, or withheld by the server."""
        return self.muted or self.was_muted or self.stream_paused

    @property
    def packets_expected(self) -> int:
        """How many packets should have arrived: at this end (inbound) or at the other (outbound)."""
        return self.packets + self.packets_lost if self.direction is Direction.INBOUND else self.packets

    @property
    def loss_ratio(self) -> float:
        """Lost of expected packets, 0..1; 0 where none were expected."""
        expected = self.packets_expected
        return min(1.0, self.packets_lost / expected) if expected else 0.0

    @property
    def bitrate_bps(self) -> float:
        """Payload bits per second, as W3C counts bytes (headers and padding excluded)."""
        return self.bytes * 8 / self.duration_s if self.duration_s > 0 else 0.0


def delta(previous: TrackSnapshot, current: TrackSnapshot) -> Window:
    """What happened from `previous` to `current`, two snapshots of one track; see `Window`."""
    match previous.stats, current.stats:
        case InboundRtp() as before, InboundRtp() as after:
            return _inbound(previous, current, before, after)
        case tuple() as before_layers, tuple() as after_layers:
            return _outbound(previous, current, before_layers, after_layers)
        case _:
            return _unmeasured(previous, current)


def combined(windows: Sequence[Window]) -> Window:
    """One window over `windows`, which follow each other and are of one track; raises ValueError where there is none.

    Counts add up, ratios and delays are means over the time, states are those at the end. What was not measured in
    between is left out.
    """
    if not windows:
        raise ValueError("there is no window to combine")
    known = [window for window in windows if window.measured]
    latest = windows[-1]
    if not known:
        return latest
    duration_s = sum(window.duration_s for window in known)
    frames = sum(window.frames for window in known)
    reports = [window.sender_reports for window in known if window.sender_reports is not None]
    return replace(
        latest,
        measured=True,
        was_muted=any(window.was_muted or window.muted for window in windows[:-1]) or latest.was_muted,
        duration_s=duration_s,
        **{name: sum(getattr(window, name) for window in known) for name in _COUNTS},
        **{name: sum(getattr(window, name) * window.duration_s for window in known) / duration_s for name in _MEANS},
        fps=frames / duration_s,
        sender_reports=sum(reports) if reports else None,
        layer_distance=max(window.layer_distance for window in known),
        sent_layers=max(window.sent_layers for window in known),
        content=reduce(ContentCounts.plus, (window.content for window in known)),
    )


_COUNTS = (
    "packets",
    "packets_lost",
    "packets_repaired",
    "packets_discarded",
    "retransmitted_packets",
    "bytes",
    "frames",
    "frames_dropped",
    "key_frames",
    "freeze_count",
    "freeze_s",
    "nack_count",
    "pli_count",
    "fir_count",
    "frames_assembled",
    "assembly_s",
)
_MEANS = ("concealed_ratio", "jitter_s", "jitter_buffer_delay_s", "target_bitrate_bps")


def received_quality(width: int, height: int, layers: tuple[VideoLayer, ...]) -> VideoQuality | None:
    """The announced layer whose area is nearest to that of the picture; None where nothing is known.

    Areas are compared (by ratio), not heights: a rotated phone swaps width and height.
    """
    sized = [layer for layer in layers if layer.width > 0 and layer.height > 0]
    if not sized or width <= 0 or height <= 0:
        return None
    return min(sized, key=lambda layer: abs(log(layer.width * layer.height / (width * height)))).quality


def _inbound(previous: TrackSnapshot, current: TrackSnapshot, before: InboundRtp, after: InboundRtp) -> Window:
    window = _unmeasured(previous, current)
    restarted = (
        after.ssrc != before.ssrc
        or after.packets_received < before.packets_received
        or after.bytes_received < before.bytes_received
    )
    if restarted or not _comparable(previous, current):
        return replace(window, jitter_s=after.jitter, round_trip_time_s=after.round_trip_time)
    duration_s = current.timestamp - previous.timestamp
    frames = _gain(_frames(before), _frames(after))
    stood = current.source is not TrackSource.SCREEN_SHARE
    emitted = _gain(before.jitter_buffer_emitted_count, after.jitter_buffer_emitted_count)
    samples = _gain(before.total_samples_received, after.total_samples_received)
    return replace(
        window,
        measured=True,
        duration_s=duration_s,
        packets=after.packets_received - before.packets_received,
        packets_lost=_gain(before.packets_lost, after.packets_lost),
        packets_repaired=_gain(before.packets_repaired, after.packets_repaired),
        packets_discarded=_gain(before.packets_discarded, after.packets_discarded),
        retransmitted_packets=_gain(before.retransmitted_packets_received, after.retransmitted_packets_received),
        bytes=after.bytes_received - before.bytes_received,
        frames=frames,
        fps=frames / duration_s,
        frames_dropped=_gain(before.frames_dropped, after.frames_dropped),
        key_frames=_gain(before.key_frames_decoded, after.key_frames_decoded),
        freeze_count=_gain(before.freeze_count, after.freeze_count)
        + stood * _gain(before.pause_count, after.pause_count),
        freeze_s=_gain(before.total_freezes_duration, after.total_freezes_duration)
        + stood * _gain(before.total_pauses_duration, after.total_pauses_duration),
        nack_count=_gain(before.nack_count, after.nack_count),
        pli_count=_gain(before.pli_count, after.pli_count),
        fir_count=_gain(before.fir_count, after.fir_count),
        concealed_ratio=min(1.0, _per(_gain(before.concealed_samples, after.concealed_samples), samples)),
        jitter_s=after.jitter,
        jitter_buffer_delay_s=_per(_gain(before.jitter_buffer_delay, after.jitter_buffer_delay), emitted),
        sender_reports=_reports(before, after),
        round_trip_time_s=after.round_trip_time,
        layer_distance=_layer_distance(current, after),
        content=_content(previous, current),
        frames_assembled=_gain(
            before.frames_assembled_from_multiple_packets, after.frames_assembled_from_multiple_packets
        ),
        assembly_s=_gain(before.total_assembly_time, after.total_assembly_time),
    )


def _outbound(
    previous: TrackSnapshot,
    current: TrackSnapshot,
    before: tuple[OutboundRtp, ...],
    after: tuple[OutboundRtp, ...],
) -> Window:
    window = _unmeasured(previous, current)
    earlier = {stream.rid: stream for stream in before}
    # A layer that was switched on within the window has nothing to compare with, and waits for the next.
    pairs = [(earlier[stream.rid], stream) for stream in after if stream.rid in earlier]
    restarted = any(
        new.ssrc != old.ssrc or new.packets_sent < old.packets_sent or new.bytes_sent < old.bytes_sent
        for old, new in pairs
    )
    if restarted or not pairs or not _comparable(previous, current):
        return window
    duration_s = current.timestamp - previous.timestamp
    sent = [new for old, new in pairs if new.packets_sent > old.packets_sent]
    # Each layer encodes the same pictures: the rate of the track is that of its fastest layer.
    frames = max(pictures_encoded(old, new, duration_s) for old, new in pairs)
    return replace(
        window,
        measured=True,
        duration_s=duration_s,
        packets=sum(new.packets_sent - old.packets_sent for old, new in pairs),
        packets_lost=sum(_gain(old.packets_lost or 0, new.packets_lost or 0) for old, new in pairs),
        retransmitted_packets=sum(
            _gain(old.retransmitted_packets_sent, new.retransmitted_packets_sent) for old, new in pairs
        ),
        bytes=sum(new.bytes_sent - old.bytes_sent for old, new in pairs),
        frames=frames,
        fps=frames / duration_s,
        key_frames=sum(_gain(old.key_frames_encoded, new.key_frames_encoded) for old, new in pairs),
        nack_count=sum(_gain(old.nack_count, new.nack_count) for old, new in pairs),
        pli_count=sum(_gain(old.pli_count, new.pli_count) for old, new in pairs),
        fir_count=sum(_gain(old.fir_count, new.fir_count) for old, new in pairs),
        round_trip_time_s=max(
            (new.round_trip_time for _, new in pairs if new.round_trip_time is not None), default=None
        ),
        sent_layers=len(sent),
        target_bitrate_bps=sum(stream.target_bitrate for stream in sent),
        layers=sent_layers(pairs, duration_s) if current.kind is TrackKind.VIDEO else (),
        captured_fps=_captured_fps(before, after, duration_s),
    )


def _captured_fps(before: tuple[OutboundRtp, ...], after: tuple[OutboundRtp, ...], duration_s: float) -> float | None:
    earlier = [stream.frames_captured for stream in before if stream.frames_captured is not None]
    later = [stream.frames_captured for stream in after if stream.frames_captured is not None]
    return _gain(max(earlier), max(later)) / duration_s if earlier and later else None


def _unmeasured(previous: TrackSnapshot, current: TrackSnapshot) -> Window:
    streams: tuple[InboundRtp | OutboundRtp, ...] = (
        (current.stats,) if isinstance(current.stats, InboundRtp) else current.stats
    )
    largest = max(streams, key=lambda stream: stream.frame_width * stream.frame_height, default=InboundRtp())
    return Window(
        track_sid=current.track_sid,
        kind=current.kind,
        source=current.source,
        direction=current.direction,
        measured=False,
        muted=current.muted,
        was_muted=previous.muted,
        stream_paused=current.stream_paused,
        requested_quality=current.requested_quality,
        requested_fps=current.requested_fps,
        frame_width=largest.frame_width,
        frame_height=largest.frame_height,
        quality_limitation_reason=(
            largest.quality_limitation_reason if isinstance(largest, OutboundRtp) else QualityLimitationReason.NONE
        ),
        audio_level=largest.audio_level,
        available_bandwidth_bps=current.available_bandwidth_bps,
    )


def _gain(before: Number, after: Number) -> Number:
    """How far a counter rose; 0 where it fell, as `packets_lost` may."""
    return max(after - before, 0)


def _per(total: float, count: int) -> float:
    return total / count if count else 0.0


def _comparable(previous: TrackSnapshot, current: TrackSnapshot) -> bool:
    return current.track_sid == previous.track_sid and current.timestamp > previous.timestamp


def _frames(stats: InboundRtp) -> int:
    return stats.frames_received if stats.frames_decoded is None else stats.frames_decoded


def _reports(before: InboundRtp, after: InboundRtp) -> int | None:
    if before.reports_sent is None or after.reports_sent is None:
        return None
    return max(0, after.reports_sent - before.reports_sent)


def _content(previous: TrackSnapshot, current: TrackSnapshot) -> ContentCounts:
    if current.content is None:
        return NOTHING_SEEN
    return current.content.since(previous.content or NOTHING_SEEN)


def _layer_distance(snapshot: TrackSnapshot, stats: InboundRtp) -> int:
    received = received_quality(stats.frame_width, stats.frame_height, snapshot.layers)
    if received is None or snapshot.requested_quality is None:
        return 0
    best_announced = max(layer.quality for layer in snapshot.layers)
    return max(0, min(snapshot.requested_quality, best_announced) - received)

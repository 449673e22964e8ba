"""Seeded traces of one track with known truth: a small model of packets, frames and counters, a snapshot a second.

The model works on what happens (packets lost by a two-state chain, arrival times and RFC 3550 jitter, frames that wait
for retransmissions, W3C's rule for freezes, an encoder, a server that switches layers), not on what the rules look at.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from quality.patterns import Pattern
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
from quality.window import Window, delta
from tests.quality.traces import EPOCH

PAYLOAD_BYTES = 1100
REPORTS_EVERY_S = 3.0  # livekit-server's interval
MEAN_GAP_FRAMES = 30  # over which W3C averages the time between frames
LAYERS = (
    VideoLayer(VideoQuality.LOW, 320, 180),
    VideoLayer(VideoQuality.MEDIUM, 640, 360),
    VideoLayer(VideoQuality.HIGH, 1280, 720),
)
LAYER_BPS = (160_000.0, 450_000.0, 1_700_000.0)
REPAIRED = 0.97  # of lost video packets come again in time


@dataclass(frozen=True, slots=True)
class Second:
    """What the world does to the track for one second. `burst` is the mean length of runs of lost packets."""

    loss: float = 0.0
    burst: float = 1.0
    jitter_s: float = 0.004
    rate: float = 1.0  # share of the layer's bitrate
    quality: VideoQuality = VideoQuality.HIGH
    requested: VideoQuality = VideoQuality.HIGH
    fps: float = 30.0
    packet_bytes: int = 80  # audio
    packets_per_s: float = 50.0  # audio
    sent: bool = True
    decoded: float = 1.0  # share of the frames that are decoded in time
    stalls: tuple[tuple[float, float], ...] = ()  # (begin, length) of pauses of the picture, in seconds
    muted: bool = False
    paused: bool = False
    reports: int | None = 1  # at a time
    key_frame_requests: int = 0
    key_frames: int = 0  # that nobody asked for
    restarted: bool = False  # the stream begins anew with this second: another SSRC, counters from zero
    limitation: QualityLimitationReason = QualityLimitationReason.NONE
    remote_loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Truth:
    """`pattern` holds from `begin` to `end`, seconds since the trace began."""

    pattern: Pattern
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Trace:
    """Windows with the times at which they ended. `also` may be told too: consequences that are true as well."""

    name: str
    windows: tuple[tuple[float, Window], ...]
    truths: tuple[Truth, ...] = ()
    also: frozenset[Pattern] = frozenset()


@dataclass(slots=True)
class Track:
    """One track whose counters rise second by second."""

    random: Random
    kind: TrackKind = TrackKind.VIDEO
    source: TrackSource = TrackSource.CAMERA
    inbound: InboundRtp = field(default_factory=lambda: InboundRtp(ssrc=7, reports_sent=0))
    outbound: OutboundRtp = field(default_factory=lambda: OutboundRtp(ssrc=8, rid="f", packets_lost=0))
    at: float = EPOCH
    _lost: bool = False
    _transit: float = 0.0
    _jitter: float = 0.0
    _shown_at: float | None = None
    _gaps: list[float] = field(default_factory=list)

    def windows(self, seconds: list[Second], direction: Direction = Direction.INBOUND) -> list[tuple[float, Window]]:
        """The window of each of `seconds`; snapshots are taken a little early or late."""
        before = self._snapshot(seconds[0], direction)
        result = []
        for second in seconds:
            length = self.random.uniform(0.97, 1.03)
            if second.restarted:
                self.inbound = InboundRtp(ssrc=self.inbound.ssrc + 1, reports_sent=0)
            if second.sent and not second.muted and not second.paused:
                self._send(second, length, direction)
            if not second.muted and direction is Direction.INBOUND:
                self._report(second, length)
            self.at += length
            after = self._snapshot(second, direction)
            result.append((self.at, delta(before, after)))
            before = after
        return result

    def _snapshot(self, second: Second, direction: Direction) -> TrackSnapshot:
        video = self.kind is TrackKind.VIDEO
        inbound = direction is Direction.INBOUND
        return TrackSnapshot(
            "TR_trace",
            self.kind,
            self.source,
            self.at,
            self.inbound if inbound else (self.outbound,),
            muted=second.muted,
            stream_paused=second.paused,
            requested_quality=second.requested if video and inbound else None,
            layers=LAYERS if video else (),
        )

    def _report(self, second: Second, length: float) -> None:
        passed_on = int((self.at + length) // REPORTS_EVERY_S - self.at // REPORTS_EVERY_S)
        reports = None if second.reports is None else (self.inbound.reports_sent or 0) + second.reports * passed_on
        self.inbound = replace(
            self.inbound, reports_sent=reports, pli_count=self.inbound.pli_count + second.key_frame_requests
        )

    def _send(self, second: Second, length: float, direction: Direction) -> None:
        if direction is Direction.OUTBOUND:
            self._encode(second, length)
        elif self.kind is TrackKind.AUDIO:
            self._hear(second, length)
        else:
            self._see(second, length)

    def _hear(self, second: Second, length: float) -> None:
        count = self._round(second.packets_per_s * length)
        got = sum(self._arrives(second) for _ in range(count))
        size = sum(max(1, round(self.random.gauss(second.packet_bytes, second.packet_bytes / 8))) for _ in range(got))
        self.inbound = replace(
            self.inbound,
            packets_received=self.inbound.packets_received + got,
            packets_lost=self.inbound.packets_lost + count - got,
            bytes_received=self.inbound.bytes_received + size,
            jitter=self._jitter,
        )

    def _see(self, second: Second, length: float) -> None:
        frame_bytes = LAYER_BPS[second.quality] * second.rate / 8 / second.fps
        layer = LAYERS[second.quality]
        frames = self._round(second.fps * length)
        keys = min(frames, second.key_frame_requests + second.key_frames)
        received = lost = size = nacks = decoded = dropped = 0
        for index in range(frames):
            factor = 4.0 if index < keys else self.random.lognormvariate(-0.02, 0.2)
            count = max(1, round(frame_bytes * factor / PAYLOAD_BYTES + 0.5))
            begin = index * length / frames
            got = sum(self._arrives(second) for _ in range(count))
            received, lost, size = received + got, lost + count - got, size + int(got / count * frame_bytes * factor)
            nacks += got < count
            whole = all(self.random.random() < REPAIRED for _ in range(count - got))
            stalled = any(start <= begin < start + span for start, span in second.stalls)
            if not whole or stalled:
                continue
            if self.random.random() < second.decoded:
                decoded += 1
                self._show(self.at + begin + (0.08 if got < count else 0.0))
            else:
                dropped += 1
        before = self.inbound
        self.inbound = replace(
            before,
            packets_received=before.packets_received + received,
            packets_lost=before.packets_lost + lost,
            bytes_received=before.bytes_received + size,
            frames_received=before.frames_received + frames,
            frames_decoded=(before.frames_decoded or 0) + decoded,
            frames_dropped=before.frames_dropped + dropped,
            key_frames_decoded=before.key_frames_decoded + keys,
            nack_count=before.nack_count + nacks,
            jitter=self._jitter,
            frame_width=layer.width,
            frame_height=layer.height,
        )

    def _encode(self, second: Second, length: float) -> None:
        frames = self._round(second.fps * length)
        size = LAYER_BPS[second.quality] * second.rate / 8 * length
        packets = round(size / PAYLOAD_BYTES) + frames if self.kind is TrackKind.VIDEO else self._round(50 * length)
        layer = LAYERS[second.quality]
        lost = sum(self.random.random() < second.remote_loss for _ in range(packets))
        before = self.outbound
        self.outbound = replace(
            before,
            packets_sent=before.packets_sent + packets,
            bytes_sent=before.bytes_sent + int(size),
            frames_encoded=before.frames_encoded + frames,
            key_frames_encoded=before.key_frames_encoded + min(frames, second.key_frame_requests),
            pli_count=before.pli_count + second.key_frame_requests,
            packets_lost=(before.packets_lost or 0) + lost,
            frame_width=layer.width,
            frame_height=layer.height,
            quality_limitation_reason=second.limitation,
            round_trip_time=0.05,
        )

    def _arrives(self, second: Second) -> bool:
        """One packet's way: lost by the two-state chain, or here with a transit time that moves the jitter."""
        if second.loss > 0.0:
            stay = 1.0 - (1.0 - second.loss) / second.burst
            start = second.loss / second.burst
            self._lost = self.random.random() < (stay if self._lost else start)
        else:
            self._lost = False
        if self._lost:
            return False
        transit = 2.0 * second.jitter_s * self.random.random()
        self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit
        return True

    def _show(self, at: float) -> None:
        """A frame is shown; W3C counts a freeze where it came after three mean gaps or one and 150 ms."""
        if self._shown_at is not None:
            gap = max(0.0, at - self._shown_at)
            mean = sum(self._gaps) / len(self._gaps) if self._gaps else gap
            if len(self._gaps) == MEAN_GAP_FRAMES and gap >= max(3 * mean, mean + 0.15):
                self.inbound = replace(
                    self.inbound,
                    freeze_count=self.inbound.freeze_count + 1,
                    total_freezes_duration=self.inbound.total_freezes_duration + gap,
                )
            self._gaps = [*self._gaps[-(MEAN_GAP_FRAMES - 1) :], gap]
        self._shown_at = max(at, self._shown_at or at)

    def _round(self, value: float) -> int:
        return int(value) + (self.random.random() < value % 1)


def source_of(kind: TrackKind) -> TrackSource:
    """Where people's tracks of a kind come from."""
    return TrackSource.MICROPHONE if kind is TrackKind.AUDIO else TrackSource.CAMERA


Build = Callable[[Random], Trace]
SECONDS = 80


def calm(random: Random, seconds: int, base: Second | None = None) -> list[Second]:
    """A good link as people have it: a little loss, jitter of its own, content that moves more or less."""
    base = base or Second()
    loss, jitter_s = random.uniform(0.0, 0.004), random.uniform(0.002, 0.010)
    result = []
    for _ in range(seconds):
        jitter_s = min(0.015, max(0.001, jitter_s + random.gauss(0.0, 0.001)))
        result.append(replace(base, loss=loss, jitter_s=jitter_s, rate=base.rate * random.uniform(0.8, 1.1)))
    return result


def change(seconds: list[Second], begin: int, end: int, make: Callable[[Second, int], Second]) -> list[Second]:
    """`seconds` with `make(second, seconds since begin)` from `begin` to `end`."""
    return [make(second, at - begin) if begin <= at < end else second for at, second in enumerate(seconds)]


def trace(build: Build, seed: int) -> Trace:
    """The trace of `build` for `seed`: the same one each time."""
    return build(Random(f"{build.__name__} {seed}"))

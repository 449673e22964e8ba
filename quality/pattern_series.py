"""The last half minute of one track, and what has to be remembered for longer: what `quality.pattern_rules` look at."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from quality.stats import Direction, QualityLimitationReason, TrackKind, TrackSource, VideoQuality
from quality.window import Window

BAD_FPS_RATIO = 0.6
EXPECTED_FPS_RISE = 0.3  # a burst after a stall must not raise what is expected in one sample
ENOUGH = 0.8  # of a rule's span has to be measured
HISTORY_S = 30.0  # the slowest pattern (layers that swing) needs this much
MAX_SAMPLES = 300  # windows of 0.1 s; shorter ones shorten the history instead of growing it

DISTRESS_LOSS_RATIO = 0.04  # between the 2% that the server calls EXCELLENT and the 6% that it calls POOR (video)
DISTRESS_LOST_PACKETS = 5  # in a low layer of 60 packets a second three are chance
DISTRESS_NACK_RATIO = 0.08  # the server's own congestion control reacts to this share of NACKs
DISTRESS_JITTER_S = 0.05  # more than any calm link shows; WebRTC's video jitter buffer starts near it
STRAIN_LOSS_RATIO = 0.02  # milder signs, which count only beside a layer that goes down just then
STRAIN_LOST_PACKETS = 4  # of 200 a second with 0.4% lost, once in 100 windows
STRAIN_JITTER_FACTOR = 3.0
STRAIN_JITTER_S = 0.015
STRAIN_BEFORE_S = 5.0  # a server that congestion has warned lowers the layer within this time
STRAIN_AFTER_S = 3.0  # some lower it before loss shows
USUAL_JITTER_RISE = 0.05  # of the way, per window: as slow as twenty of them

CATCH_UP_S = 3.0  # after a stall frames come in bursts: what was held back, and is no rate of the track
USUAL_FPS_FALL = 0.995  # per second: a lower rate is usual after 100 s (0.995^100 = 0.6)
OTHER_LAYER_AREA = 1.5  # simulcast layers differ by 2.25 times in area or more; encoders' own steps by 1.3 to 1.8


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured window of a track that was neither muted nor just unmuted; it ended at `at`."""

    at: float
    window: Window


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives the samples.

    `steady_since` is since when no mute, pause or request has changed the stream. `requested` are the layer and the
    frames a second that were asked for. `usual_fps` is 0 where unknown. `stalled_at` is when a window without
    frames last ended. `distress_at` is when the network was last seen to suffer, `strain_at` when it last showed
    milder signs. `below_since` is since when the track gives less than it should (a lower layer, or far fewer
    frames); `below_by_network` is whether strain came with the begin of that.
    """

    steady_since: float | None = None
    requested: tuple[VideoQuality | None, float | None] = (None, None)
    usual_fps: float = 0.0
    usual_jitter_s: float | None = None
    frame_area: int = 0
    stalled_at: float | None = None
    distress_at: float | None = None
    strain_at: float | None = None
    below_since: float | None = None
    below_by_network: bool = False


class Presence(Enum):
    """Whether a pattern shows in the series; UNCLEAR neither begins nor ends it."""

    ABSENT = "absent"
    UNCLEAR = "unclear"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that supports a finding; the name carries its unit as elsewhere (`_s`, `_bps`, `_ratio`)."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule sees now: `reason` is a sentence for people, `reference` a level that the rule wants back later."""

    presence: Presence
    reason: str = ""
    figures: tuple[Figure, ...] = ()
    reference: float = 0.0


@dataclass(frozen=True, slots=True)
class View:
    """What a rule may look at: samples (the newest last; never empty), memory, and whether its pattern is told already.

    `began_at` is None and `reference` 0 while the pattern is not active.
    """

    samples: tuple[Sample, ...]
    memory: Memory
    now: float
    began_at: float | None = None
    reference: float = 0.0

    @property
    def latest(self) -> Window:
        """The window that ended at `now`."""
        return self.samples[-1].window


Rule = Callable[[View], Finding]


def keep(samples: tuple[Sample, ...], window: Window, now: float) -> tuple[Sample, ...]:
    """`samples` with `window` at their end, without what is too old."""
    recent = tuple(sample for sample in samples if now - HISTORY_S < sample.at < now)
    return (*recent, Sample(now, window))[-MAX_SAMPLES:]


def remember(memory: Memory, window: Window, now: float) -> Memory:
    """Take a measured, unmuted window that ended at `now` into the memory."""
    began = now - window.duration_s
    requested = window.requested_quality, window.requested_fps
    if memory.steady_since is None or requested != memory.requested:
        memory = replace(
            memory,
            steady_since=began,
            requested=requested,
            usual_fps=0.0,
            below_since=None,
            below_by_network=False,
        )
    memory = _learn_strain(memory, window, now)
    if window.stream_paused:
        return replace(memory, steady_since=now, below_since=None, below_by_network=False, usual_fps=0.0)
    memory = _notice_layer(memory, window)
    return _learn_fps(_learn_below(memory, window, began, now), window, now)


def distressed(window: Window) -> bool:
    """Whether the network was seen to suffer within `window`: loss, NACKs, jitter, a pause, an encoder held down."""
    if window.stream_paused:
        return True
    if window.direction is Direction.OUTBOUND:
        return window.quality_limitation_reason is QualityLimitationReason.BANDWIDTH
    lossy = window.loss_ratio >= DISTRESS_LOSS_RATIO and window.packets_lost >= DISTRESS_LOST_PACKETS
    asking = window.packets > 0 and window.nack_count >= max(
        DISTRESS_LOST_PACKETS, DISTRESS_NACK_RATIO * window.packets
    )
    return lossy or asking or (window.packets > 0 and window.jitter_s >= DISTRESS_JITTER_S)


def is_below(memory: Memory, window: Window) -> bool:
    """Whether a video gives less than it should: a layer below the requested one, or far fewer frames than usual.

    No frames at all are no low rate: that is a freeze, or a layer that nobody wants.
    """
    if window.kind is not TrackKind.VIDEO or window.packets == 0:
        return False
    few = 0 < window.fps < BAD_FPS_RATIO * memory.usual_fps and window.source is not TrackSource.SCREEN_SHARE
    return window.layer_distance > 0 or few


def within(samples: tuple[Sample, ...], now: float, seconds: float) -> tuple[Window, ...]:
    """The windows that lie in the last `seconds`, by their middles."""
    return tuple(sample.window for sample in samples if sample.at - sample.window.duration_s / 2 > now - seconds)


def covered_s(windows: tuple[Window, ...]) -> float:
    """How many seconds `windows` measured together."""
    return sum(window.duration_s for window in windows)


def lasting_s(samples: tuple[Sample, ...], holds: Callable[[Window], bool]) -> float:
    """For how many seconds up to now `holds` has been true of every sample."""
    total = 0.0
    for sample in reversed(samples):
        if not holds(sample.window):
            break
        total += sample.window.duration_s
    return total


def other_layer(area: int, other: int) -> bool:
    """Whether two frame areas are so different that they are different layers; False where one is not known."""
    return min(area, other) > 0 and max(area, other) >= OTHER_LAYER_AREA * min(area, other)


def strained(memory: Memory, window: Window) -> bool:
    """Whether the network shows at least mild signs: some loss, or much more jitter than this track usually has."""
    if distressed(window):
        return True
    if window.direction is Direction.OUTBOUND or window.packets == 0:
        return False
    lossy = window.loss_ratio >= STRAIN_LOSS_RATIO and window.packets_lost >= STRAIN_LOST_PACKETS
    usual_s = memory.usual_jitter_s
    return lossy or (usual_s is not None and window.jitter_s >= max(STRAIN_JITTER_S, STRAIN_JITTER_FACTOR * usual_s))


def _learn_strain(memory: Memory, window: Window, now: float) -> Memory:
    if distressed(window):
        memory = replace(memory, distress_at=now)
    if strained(memory, window):
        memory = replace(memory, strain_at=now)
    if window.packets == 0:
        return memory
    usual_s = window.jitter_s if memory.usual_jitter_s is None else memory.usual_jitter_s
    return replace(memory, usual_jitter_s=usual_s + USUAL_JITTER_RISE * (window.jitter_s - usual_s))


def _learn_below(memory: Memory, window: Window, began: float, now: float) -> Memory:
    if not is_below(memory, window):
        return replace(memory, below_since=None, below_by_network=False)
    since = began if memory.below_since is None else memory.below_since
    warned = memory.strain_at is not None and since - STRAIN_BEFORE_S <= memory.strain_at
    early = now - since <= STRAIN_AFTER_S or memory.below_since is None
    return replace(memory, below_since=since, below_by_network=memory.below_by_network or (early and warned))


def _notice_layer(memory: Memory, window: Window) -> Memory:
    """Another layer has a frame rate of its own: what was usual in the one before says nothing of it."""
    area = window.frame_width * window.frame_height
    usual_fps = 0.0 if other_layer(area, memory.frame_area) else memory.usual_fps
    return replace(memory, usual_fps=usual_fps, frame_area=area or memory.frame_area)


def _learn_fps(memory: Memory, window: Window, now: float) -> Memory:
    usual = memory.usual_fps
    if window.frames == 0:
        memory = replace(memory, stalled_at=now)
    if window.fps > usual:
        held_back = usual > 0 and memory.stalled_at is not None and now - memory.stalled_at <= CATCH_UP_S
        usual += 0.0 if held_back else EXPECTED_FPS_RISE * (window.fps - usual)
    else:
        usual *= float(USUAL_FPS_FALL**window.duration_s)
    return replace(memory, usual_fps=usual)

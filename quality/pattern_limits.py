"""What keeps a video below what was asked for: the network, a processor, or its publisher. At most one at a time."""

from dataclasses import dataclass
from enum import Enum

from quality.pattern_series import Figure, Finding, Presence, View, covered_s, is_below, within
from quality.stats import Direction, QualityLimitationReason, TrackKind
from quality.window import Window

SPAN_S = 6.0
HELD_S = 5.0  # a layer switch and the first seconds of a stream are shorter
RAMP_UP_S = 10.0  # a new stream starts in a low layer
SHARE = 0.8  # of the span an encoder has to name its limit
DROPPED_RATIO = 0.1  # one frame in ten not decoded in time is seen
FEW_DROPPED_RATIO = 0.03
LEAST_DROPPED = 5
FROZEN_SHARE = 0.5  # of the windows: loss that takes so many frames leaves a freeze in most seconds
CLEAN_LOSS_RATIO = 0.02  # above, frames are dropped because they are incomplete


class Cause(Enum):
    """Who holds the picture down."""

    NETWORK = "network"
    CPU = "cpu"
    PUBLISHER = "publisher"


@dataclass(frozen=True, slots=True)
class Limitation:
    """A cause, the sentence that says so, and its numbers."""

    cause: Cause
    reason: str
    figures: tuple[Figure, ...] = ()


def findings(view: View) -> dict[Cause, Finding]:
    """For each cause whether it limits the video now; at most one is PRESENT.

    NETWORK: the link carries less than was asked for: a pause, a lower layer after distress, or the encoder says so.
    CPU: the encoder says so, or frames that arrived whole are not decoded in time. PUBLISHER: it sends less (no such
    layer, fewer frames), and the network showed no distress when that began.
    """
    found = limitation(view)
    return {cause: _finding(view, cause, found) for cause in Cause}


def limitation(view: View) -> Limitation | None:
    """The one thing that limits this video now; None where nothing does, or nothing has for long enough."""
    latest = view.latest
    if latest.kind is not TrackKind.VIDEO:
        return None
    if latest.stream_paused:
        return Limitation(Cause.NETWORK, "paused by the server for want of bandwidth")
    named = _encoder_limit(view) if latest.direction is Direction.OUTBOUND else _decoder_limit(view)
    return named or _below(view)


def _finding(view: View, cause: Cause, found: Limitation | None) -> Finding:
    if found is not None and found.cause is cause:
        return Finding(Presence.PRESENT, found.reason, found.figures)
    if found is not None:
        return Finding(Presence.ABSENT, f"limited by {found.cause.value} now", found.figures)
    if is_below(view.memory, view.latest):
        return Finding(Presence.UNCLEAR)
    if view.latest.direction is Direction.OUTBOUND and _share(view, cause) > 1.0 - SHARE:
        return Finding(Presence.UNCLEAR)
    if cause is Cause.CPU and _dropped(view)[0] >= FEW_DROPPED_RATIO:
        return Finding(Presence.UNCLEAR)
    return Finding(Presence.ABSENT, _as_asked(view.latest))


def _encoder_limit(view: View) -> Limitation | None:
    for cause, words in ((Cause.NETWORK, "bandwidth"), (Cause.CPU, "CPU")):
        share = _share(view, cause)
        if share >= SHARE and covered_s(within(view.samples, view.now, SPAN_S)) >= HELD_S:
            figures = (Figure("limited_ratio", share), Figure("fps", view.latest.fps))
            return Limitation(cause, f"the encoder is held down by {words}", figures)
    return None


def _share(view: View, cause: Cause) -> float:
    """Which share of the last seconds the encoder named `cause`; 0 for a publisher, which it does not name."""
    named = {Cause.NETWORK: QualityLimitationReason.BANDWIDTH, Cause.CPU: QualityLimitationReason.CPU}.get(cause)
    windows = within(view.samples, view.now, SPAN_S)
    limited = tuple(window for window in windows if window.quality_limitation_reason is named)
    return covered_s(limited) / covered_s(windows) if windows else 0.0


def _decoder_limit(view: View) -> Limitation | None:
    ratio, dropped, loss_ratio = _dropped(view)
    if ratio < DROPPED_RATIO or dropped < LEAST_DROPPED or loss_ratio >= CLEAN_LOSS_RATIO:
        return None
    if covered_s(within(view.samples, view.now, SPAN_S)) < HELD_S:
        return None
    figures = (Figure("dropped_ratio", ratio), Figure("frames_dropped", dropped), Figure("loss_ratio", loss_ratio))
    return Limitation(Cause.CPU, f"{ratio:.0%} of frames arrived and were not shown in time", figures)


def _dropped(view: View) -> tuple[float, int, float]:
    """Share and number of frames dropped, and the share of packets lost, in the last seconds."""
    windows = within(view.samples, view.now, SPAN_S)
    dropped = sum(window.frames_dropped for window in windows)
    frames = sum(window.frames for window in windows) + dropped
    expected = sum(window.packets_expected for window in windows)
    lost = sum(window.packets_lost for window in windows)
    return (dropped / frames if frames else 0.0), dropped, (lost / expected if expected else 0.0)


def _below(view: View) -> Limitation | None:
    memory = view.memory
    if memory.below_since is None or memory.steady_since is None or view.now - memory.below_since < HELD_S:
        return None
    if view.now - memory.steady_since < RAMP_UP_S:
        return None
    figures = (
        Figure("layer_distance", view.latest.layer_distance),
        Figure("fps", view.latest.fps),
        Figure("usual_fps", memory.usual_fps),
        Figure("below_s", view.now - memory.below_since),
    )
    what = _what_is_below(view)
    if _is_by_network(view):
        return Limitation(Cause.NETWORK, f"{what} since the network suffered", figures)
    return Limitation(Cause.PUBLISHER, f"{what} though the network shows no distress", figures)


def _is_by_network(view: View) -> bool:
    """A lower layer is the server's choice where strain came with it; few frames are the network's where some froze.

    Loss takes frames at random, which leaves freezes; a publisher that has fewer leaves even gaps.
    """
    if view.latest.layer_distance > 0 or view.latest.direction is Direction.OUTBOUND:
        return view.memory.below_by_network
    windows = within(view.samples, view.now, SPAN_S)
    froze = sum(window.freeze_count > 0 for window in windows)
    return view.memory.below_by_network and froze > FROZEN_SHARE * len(windows)


def _what_is_below(view: View) -> str:
    latest = view.latest
    if latest.layer_distance > 0:
        return f"{latest.frame_width}x{latest.frame_height}, {latest.layer_distance} layer(s) below the requested one,"
    return f"{latest.fps:.0f} frames per second where about {view.memory.usual_fps:.0f} are usual"


def _as_asked(window: Window) -> str:
    return f"{window.frame_width}x{window.frame_height} at {window.fps:.0f} frames per second, as asked"

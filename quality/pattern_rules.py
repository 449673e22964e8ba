"""One rule for each degradation pattern: does it show in the last seconds of a track, why, and by which numbers.

A rule is pure and looks at a `View` only. Its bounds leave room between PRESENT and ABSENT, so that a value that
wavers around one of them tells nothing new. Times and shares here were chosen on simulated traces with known truth
(`python -m tests.bench.patterns`), the bounds on loss after the server's own levels.
"""

from itertools import groupby, pairwise
from math import sqrt
from statistics import fmean, median

from quality.audio_model import loss_dispersion
from quality.pattern_series import (
    ENOUGH,
    Figure,
    Finding,
    Presence,
    Sample,
    View,
    covered_s,
    lasting_s,
    other_layer,
    within,
)
from quality.pattern_silence import is_alive_silence, is_reported
from quality.stats import Direction, QualityLimitationReason, TrackKind, TrackSource
from quality.window import Window

LOSS_SPAN_S = 10.0
STEADY_LOSS_RATIO = 0.02  # the server's bound of EXCELLENT for video
GONE_LOSS_RATIO = 0.01
LOSS_SIGMAS = 2.5  # that far from GONE_LOSS_RATIO, so that 1% in chance runs does not pass for more
BURST_SPAN_S = 30.0
CALM_BURSTS_S = 15.0
LOSSY_WINDOW_RATIO = 0.04  # a window between the first and the last of these belongs to the span
BURST_WINDOW_RATIO = 0.08  # a window that lost this much, and twice the mean, is part of a burst
BURST_LOSS_RATIO = 0.01
UNEVEN_DISPERSION = 4.0  # independent losses stay under 3.1 in 999 of 1000 spans of ten windows (chi-square)
EVEN_DISPERSION = 2.0
EVEN_SPREAD = 0.4  # what a link whose steady loss drifts by a third shows
UNEVEN_SPREAD = 0.7  # standard deviation over mean; with many packets even a mild drift is dispersed
LEAST_BURSTS = 2  # one is an accident

JITTER_SPAN_S = 15.0
LEAST_JITTER_SAMPLES = 6
JITTER_TREND = 0.6  # Kendall's tau; as strong as the trend on which the server's congestion control acts
NO_JITTER_TREND = 0.2
JITTER_HALFWAY = 0.35  # of the growth is there by the middle: what jumps does not grow
JITTER_GROWTH_S = 0.015
GROWN_JITTER_S = 0.03

RECENT_S = 3.0  # a burst of loss takes half of a second or two, and is no collapse
USUAL_SPAN_S = 20.0
LEAST_USUAL_S = 8.0
COLLAPSED_RATIO = 0.5
RECOVERED_RATIO = 0.75
COLLAPSE_DISTRESS_S = 8.0
NEW_RATE_AFTER_S = 30.0  # by then the lower rate is what the link gives
LEAST_USUAL_BPS = 100_000.0  # below, the mean says nothing of a video's link

SWING_SPAN_S = 30.0
LEAST_SWINGS = 3  # up, down, up, down: a switch that was tried and taken back is one
CALM_LAYERS_S = 20.0

FREEZE_SPAN_S = 5.0
RESUMED_S = 1.5  # receivers count the time of a pause as a freeze once the picture is back
FREEZE_S = 1.0  # short interruptions are every network's; from a second on people say that the picture stands
FROZEN_S = 2.0  # of the span, in short freezes
NO_FRAMES_S = 2.0
STUCK_S = 4.5  # as long as it takes the server to call a track POOR for want of packets
CARRIES_BPS = 300_000.0  # twice the lowest layer of LiveKit's presets
UNDECODED_S = 8.0  # packets without a picture: two key frames asked for in vain and then some

STORM_SPAN_S = 10.0
STORM_REQUESTS = 6  # a subscriber that needs a key frame asks once or twice
CALM_REQUESTS = 2
STORM_KEY_FRAMES = 15  # more than one a second, which no encoder is set to
SIMULCAST_LAYERS = 3  # sent tracks count requests and key frames of all their layers, and LiveKit has at most three


def steady_loss(view: View) -> Finding:
    """Packets are lost all the time, none much more than others."""
    windows = _with_packets(within(view.samples, view.now, LOSS_SPAN_S))
    if covered_s(windows) < ENOUGH * LOSS_SPAN_S:
        return Finding(Presence.UNCLEAR)
    ratio, lost = _loss(windows)
    dispersion, spread = loss_dispersion(windows) or 0.0, _spread(windows)
    figures = (Figure("loss_ratio", ratio), Figure("packets_lost", lost), Figure("dispersion", dispersion))
    # A receiver's reports come every few seconds: in them even steady loss is lumped.
    lumped = view.latest.direction is Direction.OUTBOUND
    uneven = not lumped and dispersion >= UNEVEN_DISPERSION and spread >= EVEN_SPREAD
    often = lumped or sum(window.packets_lost > 0 for window in windows) * 2 >= len(windows)
    much = ratio >= STEADY_LOSS_RATIO and _surely_lost(ratio, lost, dispersion)
    # Ten seconds of a bursty link may look even.
    if much and often and not uneven and loss_bursts(view).presence is not Presence.PRESENT:
        return Finding(Presence.PRESENT, f"{ratio:.1%} of packets lost over {LOSS_SPAN_S:.0f} s, evenly", figures)
    if ratio < GONE_LOSS_RATIO:
        return Finding(Presence.ABSENT, f"{ratio:.1%} of packets lost over {LOSS_SPAN_S:.0f} s", figures)
    if uneven and spread >= 1.0:
        return Finding(Presence.ABSENT, "losses come in bursts now", figures)
    return Finding(Presence.UNCLEAR)


def loss_bursts(view: View) -> Finding:
    """Many packets are lost at once, again and again, with better times between. Received tracks only."""
    measured = _with_packets(within(view.samples, view.now, BURST_SPAN_S))
    if view.latest.direction is Direction.OUTBOUND or covered_s(measured) < ENOUGH * LOSS_SPAN_S:
        return Finding(Presence.UNCLEAR)
    if all(window.loss_ratio < BURST_WINDOW_RATIO for window in measured):
        return Finding(Presence.ABSENT, f"no burst for {covered_s(measured):.0f} s", (Figure("bursts", 0),))
    windows = _from_first_to_last_burst(measured)
    ratio, _ = _loss(windows)
    dispersion, spread = loss_dispersion(windows) or 0.0, _spread(windows)
    heavy = max(BURST_WINDOW_RATIO, 2.0 * ratio)
    bursts = sum(lossy for lossy, _ in groupby(window.loss_ratio >= heavy for window in windows))
    worst = max(window.loss_ratio for window in windows)
    figures = (
        Figure("loss_ratio", ratio),
        Figure("bursts", bursts),
        Figure("worst_loss_ratio", worst),
        Figure("dispersion", dispersion),
    )
    uneven = dispersion >= UNEVEN_DISPERSION and spread >= UNEVEN_SPREAD
    if ratio >= BURST_LOSS_RATIO and bursts >= LEAST_BURSTS and uneven:
        span_s = covered_s(windows)
        reason = f"{ratio:.1%} of packets lost over {span_s:.0f} s, in {bursts} bursts of up to {worst:.0%}"
        return Finding(Presence.PRESENT, reason, figures)
    latest = _with_packets(within(view.samples, view.now, CALM_BURSTS_S))
    if all(window.loss_ratio < BURST_WINDOW_RATIO for window in latest):
        return Finding(Presence.ABSENT, f"no burst for {CALM_BURSTS_S:.0f} s", figures)
    if dispersion < EVEN_DISPERSION:
        return Finding(Presence.ABSENT, "losses are even now", figures)
    return Finding(Presence.UNCLEAR)


def growing_jitter(view: View) -> Finding:
    """Interarrival jitter rises second after second. Received tracks only."""
    windows = _with_packets(within(view.samples, view.now, JITTER_SPAN_S))
    short = covered_s(windows) < ENOUGH * JITTER_SPAN_S or len(windows) < LEAST_JITTER_SAMPLES
    if view.latest.direction is Direction.OUTBOUND or short:
        return Finding(Presence.UNCLEAR)
    values = [window.jitter_s for window in windows]
    third = len(values) // 3
    first, middle, last = fmean(values[:third]), fmean(values[third:-third]), fmean(values[-third:])
    figures: tuple[Figure, ...] = (Figure("jitter_before_s", first), Figure("jitter_s", last))
    if last < GROWN_JITTER_S / 2:
        return Finding(Presence.ABSENT, f"jitter is {last * 1000:.0f} ms", figures)
    trend, growth = kendall_tau(values), last - first
    figures = (*figures, Figure("trend", trend))
    rising = trend >= JITTER_TREND and middle >= first + JITTER_HALFWAY * growth
    if rising and growth >= JITTER_GROWTH_S and last >= GROWN_JITTER_S:
        span_s = covered_s(windows)
        reason = f"jitter grew from {first * 1000:.0f} to {last * 1000:.0f} ms within {span_s:.0f} s"
        return Finding(Presence.PRESENT, reason, figures)
    if trend < NO_JITTER_TREND:
        return Finding(Presence.ABSENT, f"jitter grows no more, {last * 1000:.0f} ms", figures)
    return Finding(Presence.UNCLEAR)


def bandwidth_collapse(view: View) -> Finding:
    """A video's bitrate falls to half of its usual or less while the network suffers. Not a screen's: it may stand."""
    if view.latest.kind is not TrackKind.VIDEO or view.latest.source is TrackSource.SCREEN_SHARE:
        return Finding(Presence.UNCLEAR)
    recent_bps = _bitrate_bps(within(view.samples, view.now, RECENT_S))
    if view.began_at is not None:
        return _collapsed(view, recent_bps)
    usual_bps = _usual_bps(view)
    distress_at = view.memory.distress_at
    if usual_bps is None or distress_at is None or view.now - distress_at > COLLAPSE_DISTRESS_S:
        return Finding(Presence.ABSENT)
    if recent_bps > COLLAPSED_RATIO * usual_bps:
        return Finding(Presence.ABSENT)
    figures = (Figure("bitrate_bps", recent_bps), Figure("usual_bitrate_bps", usual_bps))
    reason = f"bitrate fell from {_kbps(usual_bps)} to {_kbps(recent_bps)}"
    return Finding(Presence.PRESENT, reason, figures, reference=usual_bps)


def oscillating_layers(view: View) -> Finding:
    """The picture's size goes up and down again and again."""
    swings = _swings(view.samples)
    figures = (Figure("swings", swings), Figure("span_s", SWING_SPAN_S))
    if swings >= LEAST_SWINGS:
        areas = [window.frame_width * window.frame_height for window in within(view.samples, view.now, SWING_SPAN_S)]
        sizes = f"{min(area for area in areas if area)} and {max(areas)} pixels"
        return Finding(
            Presence.PRESENT, f"picture swung {swings} times between {sizes} within {SWING_SPAN_S:.0f} s", figures
        )
    recent = tuple(sample for sample in view.samples if sample.at > view.now - CALM_LAYERS_S)
    if _swings(recent) == 0:
        return Finding(Presence.ABSENT, f"picture keeps its size for {CALM_LAYERS_S:.0f} s", figures)
    return Finding(Presence.UNCLEAR)


def freeze(view: View) -> Finding:
    """A received picture stands for a second or more. Not for screens: they stand by themselves."""
    latest = view.latest
    if not _is_moving_video(latest) or latest.stream_paused:
        return Finding(Presence.ABSENT, "picture is not expected to move")
    resumed_at = view.now if view.memory.steady_since is None else view.memory.steady_since
    windows = within(view.samples, view.now, min(FREEZE_SPAN_S, view.now - resumed_at - RESUMED_S))
    frozen_s = sum(window.freeze_s for window in windows)
    longest_s = max((window.freeze_s / window.freeze_count for window in windows if window.freeze_count), default=0.0)
    without_s, usual_fps = lasting_s(view.samples, _without_frames), view.memory.usual_fps
    figures = (Figure("freeze_s", frozen_s), Figure("without_frames_s", without_s), Figure("usual_fps", usual_fps))
    if longest_s >= FREEZE_S or frozen_s >= FROZEN_S:
        return Finding(Presence.PRESENT, f"picture froze for {frozen_s:.1f} s", figures)
    if without_s >= NO_FRAMES_S and usual_fps > 0:
        return Finding(Presence.PRESENT, f"no new picture for {without_s:.1f} s", figures)
    if frozen_s == 0.0 and latest.frames > 0:
        return Finding(Presence.ABSENT, f"picture moves again, {latest.fps:.0f} frames per second", figures)
    return Finding(Presence.UNCLEAR)


def stuck_track(view: View) -> Finding:
    """An unmuted track gives nothing: no packets, or packets of which no picture comes."""
    latest = view.latest
    if not _should_flow(latest) or _may_stand_still(view):
        return Finding(Presence.ABSENT, "nothing is expected of it")
    without_s = lasting_s(view.samples, _without_packets)
    undecoded_s = lasting_s(view.samples, _without_frames) if _is_moving_video(latest) else 0.0
    figures = (Figure("without_packets_s", without_s), Figure("without_frames_s", undecoded_s))
    if without_s >= STUCK_S and not is_alive_silence(view):
        verb = "sent" if latest.direction is Direction.OUTBOUND else "received"
        return Finding(Presence.PRESENT, f"nothing {verb} for {without_s:.0f} s though it is not muted", figures)
    if undecoded_s >= UNDECODED_S:
        return Finding(Presence.PRESENT, f"no picture for {undecoded_s:.0f} s", figures)
    if latest.packets > 0 and (latest.frames > 0 or not _is_moving_video(latest)):
        return Finding(Presence.ABSENT, "media flow again", figures)
    return Finding(Presence.UNCLEAR)


def keyframe_storm(view: View) -> Finding:
    """Key frames are asked for, or come, again and again."""
    windows = within(view.samples, view.now, STORM_SPAN_S)
    layers = SIMULCAST_LAYERS if view.latest.direction is Direction.OUTBOUND else 1
    requests = sum(window.pli_count + window.fir_count for window in windows)
    key_frames = sum(window.key_frames for window in windows)
    figures = (Figure("key_frame_requests", requests), Figure("key_frames", key_frames))
    span = f"within {STORM_SPAN_S:.0f} s"
    if requests >= STORM_REQUESTS * layers or key_frames >= STORM_KEY_FRAMES * layers:
        return Finding(Presence.PRESENT, f"{requests} key frame requests and {key_frames} key frames {span}", figures)
    if requests <= CALM_REQUESTS * layers and key_frames < STORM_KEY_FRAMES * layers:
        return Finding(Presence.ABSENT, f"{requests} key frame requests {span}", figures)
    return Finding(Presence.UNCLEAR)


def kendall_tau(values: list[float]) -> float:
    """How well order in value follows order in time: 1 always rising, 0 none, -1 always falling (tau-a)."""
    pairs = [(later > earlier) - (later < earlier) for i, earlier in enumerate(values) for later in values[i + 1 :]]
    return sum(pairs) / len(pairs) if pairs else 0.0


def _with_packets(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    return tuple(window for window in windows if window.packets_expected > 0 and not window.stream_paused)


def _from_first_to_last_burst(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Without the calm before and after, beside which steady loss that has just begun or ended looks like a burst."""
    lossy = [index for index, window in enumerate(windows) if window.loss_ratio >= LOSSY_WINDOW_RATIO]
    return windows[lossy[0] : lossy[-1] + 1] if lossy else windows


def _loss(windows: tuple[Window, ...]) -> tuple[float, int]:
    lost = sum(min(window.packets_lost, window.packets_expected) for window in windows)
    return lost / sum(window.packets_expected for window in windows), lost


def _surely_lost(ratio: float, lost: int, dispersion: float) -> bool:
    """Whether so much would hardly be lost by chance where the link loses as little as counts for none."""
    return ratio * (1.0 - LOSS_SIGMAS * sqrt(max(1.0, dispersion) / max(1, lost))) >= GONE_LOSS_RATIO


def _spread(windows: tuple[Window, ...]) -> float:
    """Coefficient of variation of the loss ratios."""
    ratios = [window.loss_ratio for window in windows]
    mean = fmean(ratios)
    return sqrt(fmean((ratio - mean) ** 2 for ratio in ratios)) / mean if mean > 0 else 0.0


def _collapsed(view: View, recent_bps: float) -> Finding:
    figures = (Figure("bitrate_bps", recent_bps), Figure("usual_bitrate_bps", view.reference))
    if recent_bps >= RECOVERED_RATIO * view.reference:
        return Finding(Presence.ABSENT, f"bitrate is back at {_kbps(recent_bps)}", figures)
    if view.began_at is not None and view.now - view.began_at >= NEW_RATE_AFTER_S:
        return Finding(Presence.ABSENT, f"bitrate has settled at {_kbps(recent_bps)}", figures)
    return Finding(Presence.PRESENT, f"bitrate is {_kbps(recent_bps)}", figures)


def _usual_bps(view: View) -> float | None:
    """The median bitrate before the last seconds, where a stream that nobody changed has shown it for long enough."""
    since = view.memory.steady_since
    if since is None:
        return None
    first = max(since, view.now - USUAL_SPAN_S) if not view.latest.stream_paused else view.now - USUAL_SPAN_S
    earlier = [
        sample.window
        for sample in view.samples
        if first <= sample.at - sample.window.duration_s and sample.at <= view.now - RECENT_S
    ]
    flowing = tuple(window for window in earlier if not window.stream_paused)
    if covered_s(flowing) < LEAST_USUAL_S:
        return None
    usual_bps = median(window.bitrate_bps for window in flowing)
    return usual_bps if usual_bps >= LEAST_USUAL_BPS else None


def _swings(samples: tuple[Sample, ...]) -> int:
    """How often the frame area turned from rising to falling or back."""
    areas = [sample.window.frame_width * sample.window.frame_height for sample in samples]
    known = [area for area in areas if area > 0]
    rises = [later > earlier for earlier, later in pairwise(known) if other_layer(earlier, later)]
    return sum(earlier != later for earlier, later in pairwise(rises))


def _is_moving_video(window: Window) -> bool:
    return (
        window.kind is TrackKind.VIDEO
        and window.direction is Direction.INBOUND
        and window.source is not TrackSource.SCREEN_SHARE
    )


def _should_flow(window: Window) -> bool:
    if window.stream_paused:
        return False
    outbound = window.direction is Direction.OUTBOUND
    return not outbound or window.kind is TrackKind.AUDIO or _should_be_encoded(window)


def _may_stand_still(view: View) -> bool:
    """A received screen may send nothing as long as its sender is not known dead."""
    screen = view.latest.direction is Direction.INBOUND and view.latest.source is TrackSource.SCREEN_SHARE
    return screen and is_reported(view) is not False


def _should_be_encoded(window: Window) -> bool:
    """Pictures come from the source, somebody wants a layer (dynacast has it active), and it has a bitrate to spend.

    Where bandwidth limits it, the way out has to carry a picture: a blocked one is estimated lower and lower.
    """
    carries = (window.available_bandwidth_bps or 0.0) >= CARRIES_BPS
    return bool(window.captured_fps) and any(
        layer.active
        and layer.target_bitrate_bps > 0
        and (carries or layer.quality_limitation_reason is not QualityLimitationReason.BANDWIDTH)
        for layer in window.layers
    )


def _without_frames(window: Window) -> bool:
    return window.frames == 0 and not window.stream_paused


def _without_packets(window: Window) -> bool:
    if window.direction is Direction.OUTBOUND and not _should_flow(window):
        return False  # that nobody wanted it until now is no trouble
    return window.packets == 0 and not window.stream_paused


def _bitrate_bps(windows: tuple[Window, ...]) -> float:
    seconds = covered_s(windows)
    return sum(window.bytes for window in windows) * 8 / seconds if seconds else 0.0


def _kbps(bps: float) -> str:
    return f"{bps / 1000:.0f} kb/s"

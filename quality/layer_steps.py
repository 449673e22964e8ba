"""Steps up from layers that are asked for, the most useful for their bits first."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from quality.allocation import SIZE_MARGIN, Layer, Limits, Subscription, constrain, priority, utility
from quality.stats import VideoLayer, VideoQuality
from quality.video_model import Picture, reference_bits_per_pixel

Ceilings = Mapping[str, VideoQuality | None]

PRESET_FPS = 25.0  # where a layer's rate is not known


@dataclass(frozen=True, slots=True)
class _StepUp:
    """The next layer of a track: what it costs more, and gains in weighted utility."""

    track_sid: str
    quality: VideoQuality
    bits: float
    gain: float


def steps_up(
    subscriptions: tuple[Subscription, ...],
    asked: Ceilings,
    top: Ceilings,
    limits: Limits,
    budget_bps: float,
    least: int = 0,
) -> dict[str, VideoQuality | None]:
    """What is asked for and, one after the other, the steps up that are most useful for their bits.

    `least` steps whatever `budget_bps` says, then what fits into it; none above `top`, nor past the limits' bandwidth.
    """
    wanted, taken = dict(asked), 0
    spent = bitrate_bps(subscriptions, asked)
    while True:
        steps = [
            step
            for item in subscriptions
            if (step := _step_up(item, wanted[item.track_sid], top[item.track_sid], limits))
        ]
        best = max(steps, key=lambda step: step.gain / max(1.0, step.bits), default=None)
        if best is None or spent + best.bits > min(limits.bandwidth_bps, math.inf if taken < least else budget_bps):
            return wanted
        wanted[best.track_sid] = best.quality
        spent, taken = spent + best.bits, taken + 1


def _step_up(
    item: Subscription, asked: VideoQuality | None, top: VideoQuality | None, limits: Limits
) -> _StepUp | None:
    layers = constrain(item, limits)[0]
    now = next((layer for layer in layers if layer.quality == asked), None)
    above = [layer for layer in layers if height(asked) < layer.quality <= height(top)]
    if not above:
        return None
    gain = utility(above[0], item) - (utility(now, item) if now else 0.0)
    bits = above[0].bitrate_bps - (now.bitrate_bps if now else 0.0)
    return _StepUp(item.track_sid, above[0].quality, bits, priority(item) * gain)


def measured(
    subscriptions: tuple[Subscription, ...], rates_bps: Mapping[tuple[str, VideoQuality], float]
) -> tuple[Subscription, ...]:
    """The subscriptions with the bitrates of `rates_bps`; else as announced; else what LiveKit's presets spend.

    A publisher whose known layers take more or less than the presets takes so much more or less for the others too.
    """
    return tuple(_measured(item, rates_bps) for item in subscriptions)


def _measured(item: Subscription, rates_bps: Mapping[tuple[str, VideoQuality], float]) -> Subscription:
    takes = {
        layer.quality: rate
        for layer in item.layers
        if (rate := rates_bps.get((item.track_sid, layer.quality), 0.0) or layer.bitrate_bps) > 0
    }
    if len(takes) < len(item.layers):
        presets = {layer.quality: _preset(item, layer) for layer in item.layers}
        spent = sum(presets[quality] for quality in takes)
        as_presets = sum(takes.values()) / spent if spent > 0 else 1.0
        takes = {quality: preset * as_presets for quality, preset in presets.items()} | takes
    return replace(item, layers=tuple(replace(layer, bitrate_bps=takes[layer.quality]) for layer in item.layers))


def _preset(item: Subscription, layer: Layer) -> float:
    fps = layer.fps or PRESET_FPS
    seen = Picture(item.codec, layer.width, layer.height, fps, 0.0)
    return reference_bits_per_pixel(seen) * layer.width * layer.height * fps


def bitrate_bps(subscriptions: tuple[Subscription, ...], asked: Ceilings) -> float:
    """The sum of the bitrates of the layers asked for."""
    return sum(
        layer.bitrate_bps for item in subscriptions for layer in item.layers if layer.quality == asked[item.track_sid]
    )


def worth_of(subscriptions: tuple[Subscription, ...], asked: Ceilings) -> float:
    """The weighted utility of those layers of the tracks in `asked`, were they whole."""
    return sum(
        priority(item) * utility(layer, item)
        for item in subscriptions
        for layer in item.layers
        if item.track_sid in asked and layer.quality == asked[item.track_sid]
    )


def most_worth(subscriptions: tuple[Subscription, ...], top: Ceilings) -> float:
    """No choice of layers up to `top` of its tracks is worth more."""
    return sum(
        priority(item) * max((utility(layer, item) for layer in item.layers if layer.quality <= best), default=0.0)
        for item in subscriptions
        if (best := height(top.get(item.track_sid))) >= 0
    )


def height(quality: VideoQuality | None) -> int:
    """Orders qualities, with disabled below all."""
    return -1 if quality is None else int(quality)


def sized(layers: Iterable[VideoLayer], requested_height: int) -> VideoQuality:
    """The layer that the server gives for a picture of so many lines."""
    reach = (layer.quality for layer in layers if layer.height >= SIZE_MARGIN * requested_height)
    return min(reach, default=VideoQuality.HIGH)


def named(quality: VideoQuality | None) -> str:
    """A quality's name, for the log."""
    return "OFF" if quality is None else quality.name


def lower(one: VideoQuality | None, other: VideoQuality | None) -> VideoQuality | None:
    """The lower of two qualities."""
    return one if height(one) <= height(other) else other


def enabled(asked: Ceilings) -> dict[str, VideoQuality]:
    """Those that are not disabled."""
    return {sid: quality for sid, quality in asked.items() if quality is not None}


def above(quality: VideoQuality | None, most: int) -> VideoQuality | None:
    """The layer that is `most` above, or the highest."""
    return quality if most == 0 else VideoQuality(min(VideoQuality.HIGH, height(quality) + most))

"""Which layer of each video subscription to ask for: prioritise, constrain, allocate by utility.

The answer is the best there is: no other choice of layers within the limits has a higher sum of weighted utilities.
So more budget never gives less utility, and equal input gives equal output. Among dozens of videos that are alike and
not equal there may be more choices than can be looked at: then it is within a hundredth of the best. Where all are to
be kept, all this holds above the budget in which all fit in some layer, and below it: what brings the last one back may
take more from the others than it is worth. A choice is a ceiling over the server's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from quality.best_plan import Option, best_plan
from quality.stats import TrackSource, VideoQuality
from quality.video_model import Picture, VideoCodec, coding_points, fps_points

PINNED_WEIGHT = 4.0  # a person chose it, so it counts for more than what the room's events say
SCREEN_SHARE_WEIGHT = 3.0  # LiveKit's server lets a screen share go before every camera, too
SPEAKER_WEIGHT = 2.0
# A layer of half the width and height is worth 0.65: the 35 points of 100 that the server takes off for a layer missed.
SIZE_EXPONENT = 0.31
SIZE_MARGIN = 0.9  # the server picks the smallest layer of at least 0.9 times the requested height
# One 720p25 track, decoded by the SDK, takes 0.175 core (docs/performance.md has the whole comparison).
CORES_PER_PIXEL = 0.175 / (1280 * 720 * 25)
MICRO = 1_000_000
NANO = 1_000_000_000


class Limit(StrEnum):
    """What kept a subscription from its best announced layer."""

    NONE = "none"
    SIZE = "size"
    CAPABILITY = "capability"
    POLICY = "policy"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Layer:
    """A simulcast layer as announced or measured; pixels, frames per second, bits per second."""

    quality: VideoQuality
    width: int
    height: int
    fps: float
    bitrate_bps: float


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscribed video track. `requested_height` is that of its place on the screen, in pixels; 0 where unknown.

    `layers` are in any order, one for each quality. `max_quality` is policy or a person's wish.
    """

    track_sid: str
    layers: tuple[Layer, ...]
    source: TrackSource = TrackSource.CAMERA
    codec: VideoCodec = VideoCodec.VP8
    active_speaker: bool = False
    pinned: bool = False
    requested_height: int = 0
    max_quality: VideoQuality = VideoQuality.HIGH


@dataclass(frozen=True, slots=True)
class Limits:
    """What all subscriptions share. `bandwidth_bps` is for video alone.

    `max_height` (0 for any) and `codecs` are what can be decoded. `cores_per_pixel` is the CPU for each pixel of a
    second of video; 0 where nothing is decoded.
    """

    bandwidth_bps: float = math.inf
    cpu_cores: float = math.inf
    max_quality: VideoQuality = VideoQuality.HIGH
    max_height: int = 0
    codecs: frozenset[VideoCodec] = frozenset(VideoCodec)
    cores_per_pixel: float = CORES_PER_PIXEL


@dataclass(frozen=True, slots=True)
class Choice:
    """The layer to ask for, None for the track to be disabled; its weighted utility; what kept it from more."""

    track_sid: str
    layer: Layer | None
    utility: float
    limited_by: Limit


@dataclass(frozen=True, slots=True)
class Allocation:
    """A choice for each subscription, in their order, and the sums."""

    choices: tuple[Choice, ...]
    utility: float
    bitrate_bps: float
    cpu_cores: float

    @property
    def qualities(self) -> dict[str, VideoQuality | None]:
        """What to ask for of each track; None for it to be disabled."""
        return {choice.track_sid: choice.layer.quality if choice.layer else None for choice in self.choices}


@dataclass(frozen=True, slots=True)
class _LayerOption(Option):
    """Bits per second and millionths of a core, rounded up, billionths of utility, and whose they are."""

    layer: Layer | None


def allocate(subscriptions: tuple[Subscription, ...], limits: Limits, *, keep_all: bool = False) -> Allocation:
    """The layers with the highest sum of utilities whose bitrates and CPU fit into `limits`.

    With `keep_all` no track is disabled for the sake of others, if all fit in some layer.
    Among equals the cheaper one wins, then the one that gives more to what has priority, then to what comes first.
    The search is that of `quality.best_plan`; docs/performance.md has what it takes.
    """
    order = sorted(range(len(subscriptions)), key=lambda index: -priority(subscriptions[index]))
    groups = [_options(subscriptions[index], limits) for index in order]
    kept = [group[1:] or group for group in groups]
    budgets = _whole(limits.bandwidth_bps, 1), _whole(limits.cpu_cores, MICRO)
    picks = best_plan(kept, budgets) if keep_all else None
    if picks is None:
        kept = groups
        picks = best_plan(kept, budgets) or []  # all disabled fits any budget
    chosen = {index: kept[at][picks[at]] for at, index in enumerate(order)}
    choices = tuple(
        Choice(item.track_sid, chosen[at].layer, chosen[at].worth / NANO, _limited_by(item, limits, chosen[at].layer))
        for at, item in enumerate(subscriptions)
    )
    bits, cores = (sum(option.costs[which] for option in chosen.values()) for which in (0, 1))
    return Allocation(choices, sum(option.worth for option in chosen.values()) / NANO, float(bits), cores / MICRO)


def priority(subscription: Subscription) -> float:
    """The weight of a subscription's utility: the largest that applies, of pinned, screen share, active speaker, 1."""
    weights = [1.0]
    if subscription.pinned:
        weights.append(PINNED_WEIGHT)
    if subscription.source is TrackSource.SCREEN_SHARE:
        weights.append(SCREEN_SHARE_WEIGHT)
    if subscription.active_speaker:
        weights.append(SPEAKER_WEIGHT)
    return max(weights)


def utility(layer: Layer, subscription: Subscription) -> float:
    """What `layer` is worth where it is shown, 0..1, unweighted: size, times bits for each pixel, times frame rate.

    Size counts up to that of its place on the screen (the largest layer's where that is unknown), bits up to what
    LiveKit's presets spend, frames up to 24 a second (`quality.video_model`). A screen is not judged by the latter two.
    """
    wanted = _wanted_height(subscription)
    size = size_worth(layer.height / wanted) if wanted > 0 else 1.0
    steady = subscription.source is not TrackSource.SCREEN_SHARE
    seen = Picture(subscription.codec, layer.width, layer.height, layer.fps, layer.bitrate_bps, steady=steady)
    coding = 1.0 - min(1.0, coding_points(seen) / 100.0)
    frames = frames_worth(layer.fps) if steady else 1.0
    return size * coding * frames


def size_worth(share: float) -> float:
    """What a picture with that share of the wanted lines is worth, 0..1."""
    return math.pow(min(1.0, share), 2 * SIZE_EXPONENT)


def frames_worth(fps: float) -> float:
    """What a picture that moves with so many frames a second is worth, 0..1 (`quality.video_model`)."""
    return 1.0 - fps_points(fps) / 100.0


def constrain(subscription: Subscription, limits: Limits) -> tuple[tuple[Layer, ...], Limit]:
    """The layers that may be asked for, smallest first, and what took the larger ones out (the tightest reason)."""
    kept = tuple(sorted(subscription.layers, key=lambda layer: layer.quality))
    limited = Limit.NONE
    fits = _fitting_height(kept, subscription.requested_height)
    checks: tuple[tuple[Limit, Callable[[Layer], bool]], ...] = (
        (Limit.SIZE, lambda layer: not fits or layer.height <= fits),
        (Limit.POLICY, lambda layer: layer.quality <= min(subscription.max_quality, limits.max_quality)),
        (
            Limit.CAPABILITY,
            lambda layer: (
                subscription.codec in limits.codecs and (not limits.max_height or layer.height <= limits.max_height)
            ),
        ),
    )
    for limit, allowed in checks:
        remaining = tuple(layer for layer in kept if allowed(layer))
        if len(remaining) < len(kept):
            kept, limited = remaining, limit
    return kept, limited


def decode_cores(layer: Layer, limits: Limits) -> float:
    """CPU that a second of `layer` takes."""
    return layer.width * layer.height * layer.fps * limits.cores_per_pixel


def _wanted_height(subscription: Subscription) -> int:
    largest = max((layer.height for layer in subscription.layers), default=0)
    return min(largest, subscription.requested_height) if subscription.requested_height else largest


def _fitting_height(layers: tuple[Layer, ...], requested: int) -> int:
    """Height of the layer that the server would pick for `requested`; 0 where all may be had."""
    if requested <= 0:
        return 0
    return min((layer.height for layer in layers if layer.height >= SIZE_MARGIN * requested), default=0)


def _limited_by(subscription: Subscription, limits: Limits, layer: Layer | None) -> Limit:
    kept, limited = constrain(subscription, limits)
    best = kept[-1] if kept else None
    return limited if layer == best else Limit.BUDGET


def _options(subscription: Subscription, limits: Limits) -> list[_LayerOption]:
    """Disabled, then the layers that no cheaper one beats, cheapest first: the cheapest even if it is worth nothing."""
    weight = priority(subscription)
    found: list[_LayerOption] = []
    costed = [
        _LayerOption(
            (math.ceil(layer.bitrate_bps), math.ceil(decode_cores(layer, limits) * MICRO)),
            round(weight * utility(layer, subscription) * NANO),
            layer,
        )
        for layer in constrain(subscription, limits)[0]
    ]
    for option in sorted(costed, key=lambda option: (*option.costs, -option.worth)):
        if not any(other.costs[1] <= option.costs[1] and other.worth >= option.worth for other in found):
            found.append(option)
    return [_LayerOption((0, 0), 0, None), *found]


def _whole(budget: float, scale: int) -> int | None:
    """The budget as an integer, rounded down; None for no limit."""
    return None if math.isinf(budget) else max(0, math.floor(budget * scale))

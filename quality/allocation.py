"""Which layer of each video subscription to ask for: prioritise, constrain, allocate by utility.

The answer is the best there is: no other choice of layers within the limits has a higher sum of weighted utilities.
So more budget never gives less utility, and equal input gives equal output. A choice is a ceiling over the server's.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate
from operator import itemgetter

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
class _Option:
    """A layer's cost in whole bits per second and millionths of a core, rounded up so that sums are exact."""

    layer: Layer | None
    bits: int
    cores: int
    utility: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """Options chosen for the first tracks, and their sums."""

    bits: int = 0
    cores: int = 0
    utility: float = 0.0
    picks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Budget:
    """One of the budgets."""

    per_bit: float
    per_core: float
    total: float

    def cost(self, option: _Option | _Plan) -> float:
        return self.per_bit * option.bits + self.per_core * option.cores

    def left(self, plan: _Plan) -> float:
        return self.total - self.cost(plan) + 1e-9  # for what floats round


_Step = tuple[float, float]  # a cost and what it gains


def allocate(subscriptions: tuple[Subscription, ...], limits: Limits, *, keep_all: bool = False) -> Allocation:
    """The layers with the highest sum of utilities whose bitrates and CPU fit into `limits`.

    With `keep_all` no track is disabled for the sake of others, if the lowest layers of all fit.
    Among equals the cheaper one wins, then the one that gives more to what has priority, then to what comes first.
    The search is exact: 0.1 s for 40 unequal tracks and one budget, seconds at worst where bandwidth
    and CPU both bind.
    """
    order = sorted(range(len(subscriptions)), key=lambda index: -priority(subscriptions[index]))
    options = [_options(subscriptions[index], limits) for index in order]
    bits, cores = _whole(limits.bandwidth_bps, 1), _whole(limits.cpu_cores, MICRO)
    if keep_all:
        kept = [group[1:] or group for group in options]
        options = kept if _fits(_first(kept), bits, cores) else options
    best = _best(options, bits, cores)
    picked = {index: options[at][best.picks[at]] for at, index in enumerate(order)}
    choices = tuple(
        Choice(item.track_sid, picked[at].layer, picked[at].utility, _limited_by(item, limits, picked[at].layer))
        for at, item in enumerate(subscriptions)
    )
    return Allocation(choices, best.utility, float(best.bits), best.cores / MICRO)


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
    size = min(1.0, layer.height / wanted) ** (2 * SIZE_EXPONENT) if wanted > 0 else 1.0
    steady = subscription.source is not TrackSource.SCREEN_SHARE
    seen = Picture(subscription.codec, layer.width, layer.height, layer.fps, layer.bitrate_bps, steady=steady)
    coding = 1.0 - min(1.0, coding_points(seen) / 100.0)
    frames = 1.0 - fps_points(layer.fps) / 100.0 if steady else 1.0
    return size * coding * frames


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


def _options(subscription: Subscription, limits: Limits) -> list[_Option]:
    """Disabled, then the layers that nothing cheaper beats, cheapest first."""
    weight = priority(subscription)
    found = [_Option(None, 0, 0, 0.0)]
    layers = constrain(subscription, limits)[0]
    costed = [
        _Option(
            layer,
            math.ceil(layer.bitrate_bps),
            math.ceil(decode_cores(layer, limits) * MICRO),
            weight * utility(layer, subscription),
        )
        for layer in layers
    ]
    for option in sorted(costed, key=lambda option: (option.bits, option.cores, -option.utility)):
        if not any(other.cores <= option.cores and other.utility >= option.utility for other in found):
            found.append(option)
    return found


def _whole(budget: float, scale: int) -> int | None:
    """The budget as an integer, rounded down; None for no limit."""
    return None if math.isinf(budget) else max(0, math.floor(budget * scale))


def _best(options: list[list[_Option]], bits: int | None, cores: int | None) -> _Plan:
    """Track by track all plans that could still win, without those that another beats or a bound rules out."""
    floor = _greedy(options, bits, cores) - 1e-9
    budgets = _budgets(bits, cores)
    plans = [_Plan()]
    for at, group in enumerate(options):
        frontiers = [(budget, _frontier(options[at + 1 :], budget)) for budget in budgets]
        grown = [_extend(plan, index, option) for plan in plans for index, option in enumerate(group)]
        plans = _undominated(
            [
                plan
                for plan in grown
                if _fits(plan, bits, cores)
                and all(plan.utility + _bound(frontier, budget.left(plan)) >= floor for budget, frontier in frontiers)
            ]
        )
    return min(plans, key=lambda plan: (-plan.utility, plan.bits, plan.cores, tuple(-pick for pick in plan.picks)))


def _budgets(bits: int | None, cores: int | None) -> list[_Budget]:
    """Each budget that is limited; without any, one that costs nothing."""
    budgets = []
    if bits is not None:
        budgets.append(_Budget(1.0, 0.0, float(bits)))
    if cores is not None:
        budgets.append(_Budget(0.0, 1.0, float(cores)))
    return budgets or [_Budget(0.0, 0.0, 0.0)]


def _first(options: list[list[_Option]]) -> _Plan:
    """The first option of each group."""
    firsts = [group[0] for group in options]
    return _Plan(sum(one.bits for one in firsts), sum(one.cores for one in firsts), sum(one.utility for one in firsts))


def _extend(plan: _Plan, index: int, option: _Option) -> _Plan:
    return _Plan(
        plan.bits + option.bits, plan.cores + option.cores, plan.utility + option.utility, (*plan.picks, index)
    )


def _fits(plan: _Plan, bits: int | None, cores: int | None) -> bool:
    return (bits is None or plan.bits <= bits) and (cores is None or plan.cores <= cores)


def _undominated(plans: list[_Plan]) -> list[_Plan]:
    """Without the plans that another one beats or equals in bits, cores and utility."""
    kept: list[_Plan] = []
    staircase: list[tuple[int, float]] = []  # (cores, utility) that no kept plan beats
    for plan in sorted(plans, key=lambda plan: (plan.bits, plan.cores, -plan.utility, tuple(-p for p in plan.picks))):
        if any(cores <= plan.cores and value >= plan.utility for cores, value in staircase):
            continue
        staircase = [
            (cores, value) for cores, value in staircase if not (plan.cores <= cores and plan.utility >= value)
        ]
        staircase.append((plan.cores, plan.utility))
        kept.append(plan)
    return kept


def _frontier(options: list[list[_Option]], budget: _Budget) -> list[_Step]:
    """Cost and utility after each upgrade in turn: what fractions of layers could reach, so a bound for whole ones."""
    steps = sorted(
        (step for group in options for step in _hull(group, budget)),
        key=lambda step: -step[1] / step[0] if step[0] > 0 else -math.inf,
    )
    return list(accumulate(steps, lambda a, b: (a[0] + b[0], a[1] + b[1]), initial=(0.0, 0.0)))


def _hull(group: list[_Option], budget: _Budget) -> list[_Step]:
    """Upgrades along the upper hull of utility over cost, the most useful for its cost first."""
    hull: list[_Step] = []
    at, value = 0.0, 0.0
    for option in sorted(group, key=lambda option: (budget.cost(option), option.utility)):
        step = (budget.cost(option) - at, option.utility - value)
        if step[1] <= 0:
            continue
        at, value = at + step[0], value + step[1]
        hull.append(step)
        while len(hull) > 1 and hull[-1][1] * hull[-2][0] >= hull[-2][1] * hull[-1][0]:
            last = hull.pop()
            hull[-1] = (hull[-1][0] + last[0], hull[-1][1] + last[1])
    return hull


def _bound(frontier: list[_Step], left: float) -> float:
    """The utility that `left` buys at most."""
    at = bisect_right(frontier, left, key=itemgetter(0))
    if at == len(frontier):
        return frontier[-1][1]
    if at == 0:
        return -math.inf
    (cost, value), (next_cost, next_value) = frontier[at - 1], frontier[at]
    return value + (next_value - value) * (left - cost) / (next_cost - cost)


def _greedy(options: list[list[_Option]], bits: int | None, cores: int | None) -> float:
    """Utility of a good plan, quickly found: upgrade what gains most for its cost while it fits."""
    plan = _first(options)
    picks = [0] * len(options)
    while True:
        best: tuple[float, int, int, _Plan] | None = None
        for at, group in enumerate(options):
            for index in range(picks[at] + 1, len(group)):
                now, then = group[picks[at]], group[index]
                grown = replace(
                    plan,
                    bits=plan.bits + then.bits - now.bits,
                    cores=plan.cores + then.cores - now.cores,
                    utility=plan.utility + then.utility - now.utility,
                )
                cost = max(1, then.bits - now.bits if bits is not None else then.cores - now.cores)
                gain = (then.utility - now.utility) / cost
                if gain > 0 and _fits(grown, bits, cores) and (best is None or gain > best[0]):
                    best = (gain, at, index, grown)
        if best is None:
            return plan.utility
        _, at, picks[at], plan = best

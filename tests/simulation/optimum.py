"""The offline optimum: somebody who knows the whole trace, but acts through the same server, link and publishers.

`optimum` runs a family of plans in the very world of the controllers (same seed) and takes the best: for each margin
below the link's capacity the plan of highest utility that changes at most every ten seconds (dynamic programming),
lowered some seconds before it must be and raised some seconds before it may be, and nothing asked for at all; then it
tries changes to the best one (a local search, seeded). It is a lower bound of what could be had. `instant` is an
upper bound that no controller can reach: switches and key frames cost nothing there, loss does not exist, and each
video may have whatever the server could forward of it, in other shares than the server's own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from random import Random
from statistics import fmean

from quality.allocation import Limits, Subscription, allocate, priority, utility
from quality.stats import VideoQuality
from quality.window import Window
from tests.simulation.links import TICK_S, Trace
from tests.simulation.receivers import Receiver, SdkReceiver
from tests.simulation.run import Result, run
from tests.simulation.server import ladders
from tests.simulation.world import AUDIO_BPS, EPOCH

DWELL_S = 10  # a choice is kept this long at least: 6 changes a minute
MARGINS = (0.75, 0.82, 0.88, 0.93, 0.98, 1.03)
LEADS_S = ((1, 0), (2, 0), (2, 1), (3, 1))  # how long before it is due the plan is lowered, and raised
SEARCHED = 20  # changes tried
FOLLOWED_S = 10

Pick = tuple[VideoQuality | None, ...]
Plan = tuple[Pick, ...]  # one for each second


def capacities(trace: Trace) -> list[float]:
    """Bits a second that the link carries of video in each second, after sound."""
    ticks = round(1 / TICK_S)
    return [
        sum(trace.capacity_bps[at : at + ticks]) / ticks - AUDIO_BPS for at in range(0, trace.ticks - ticks + 1, ticks)
    ]


def instant(trace: Trace, subscriptions: tuple[Subscription, ...]) -> list[float]:
    """The best utility in each second, as if any switch were free: nobody can have more, but for calm scenes."""
    known: dict[float, float] = {}
    for bps in capacities(trace):
        if bps not in known:
            known[bps] = allocate(ladders(subscriptions), Limits(bandwidth_bps=bps)).utility
    return [known[bps] for bps in capacities(trace)]


def settled(optimum: Result, at: float) -> float:
    """What the optimum has of a link that got better at `at`, once it had ten seconds to follow: a mean.

    Up to the next change of the link, or, where it changes all the time, to the end.
    """
    capacity, begin = optimum.trace.capacity_bps, round(at / TICK_S)
    changes = (tick for tick in range(begin, len(capacity)) if capacity[tick] != capacity[begin])
    end = next(changes, len(capacity))
    return fmean(optimum.utilities[int(at) + FOLLOWED_S : int(end * TICK_S)])


def planned(
    trace: Trace, subscriptions: tuple[Subscription, ...], margin: float = 1.0, dwell_s: int = DWELL_S
) -> tuple[Plan, list[float]]:
    """The plan of highest utility that changes at most every `dwell_s`, and that utility, by dynamic programming.

    A second whose picks do not fit into `margin` of the link is worth nothing.
    """
    picks, costs, values = _picks(subscriptions)
    worth = [
        [value if bps <= margin * capacity else 0.0 for bps, value in zip(costs, values, strict=True)]
        for capacity in capacities(trace)
    ]
    chosen = _few_changes(worth, dwell_s)
    return tuple(picks[at] for at in chosen), [row[at] for row, at in zip(worth, chosen, strict=True)]


@dataclass(slots=True)
class Planned:
    """A controller that asks for what a plan says."""

    subscriptions: tuple[Subscription, ...]
    plan: Plan
    asked: dict[str, VideoQuality | None] = field(default_factory=dict)

    def decide(self, windows: tuple[Window, ...], now: float) -> Mapping[str, VideoQuality | None]:
        picks = self.plan[min(len(self.plan) - 1, round(now - EPOCH))]
        changes: dict[str, VideoQuality | None] = {}
        for item, quality in zip(self.subscriptions, picks, strict=True):
            best = max(layer.quality for layer in item.layers)
            if self.asked.get(item.track_sid, best) != quality:
                changes[item.track_sid] = self.asked[item.track_sid] = quality
        return changes


def optimum(
    trace: Trace,
    subscriptions: tuple[Subscription, ...],
    seed: int = 0,
    receiver: Callable[[], Receiver] = SdkReceiver,
    searched: int = SEARCHED,
) -> Result:
    """The best run of all plans tried."""

    def execute(plan: Plan) -> Result:
        return run(trace, subscriptions, lambda items: Planned(items, plan), seed, receiver)

    highest: Plan = (tuple(max(layer.quality for layer in item.layers) for item in subscriptions),) * int(trace.seconds)
    plans = {highest: execute(highest)}
    for margin in MARGINS:
        base = planned(trace, subscriptions, margin)[0]
        for lower_s, raise_s in LEADS_S:
            plan = _ahead(base, lower_s, raise_s)
            if plan not in plans:
                plans[plan] = execute(plan)
    best = max(plans, key=lambda plan: sum(plans[plan].utilities))
    random = Random(f"optimum {trace.name} {seed}")
    for _ in range(searched):
        plan = _changed(best, random)
        if plan not in plans:
            plans[plan] = execute(plan)
        if sum(plans[plan].utilities) > sum(plans[best].utilities):
            best = plan
    return plans[best]


def _picks(subscriptions: tuple[Subscription, ...]) -> tuple[list[Pick], list[float], list[float]]:
    """All choices of layers, what they cost, and what they are worth."""
    picks, costs, values = [], [], []
    for layers in product(*[(None, *item.layers) for item in subscriptions]):
        picks.append(tuple(layer.quality if layer else None for layer in layers))
        costs.append(sum(layer.bitrate_bps for layer in layers if layer))
        values.append(
            sum(
                priority(item) * utility(layer, item)
                for item, layer in zip(subscriptions, layers, strict=True)
                if layer
            )
        )
    return picks, costs, values


def _few_changes(worth: list[list[float]], dwell_s: int) -> list[int]:
    """The column to be in, row by row, for the highest sum with changes at most every `dwell_s` rows."""
    plans = len(worth[0])
    # best[age][plan]: the most so far with `plan` in force for `age` seconds (the last age stands for any longer one).
    best = [[-math.inf] * plans for _ in range(dwell_s)]
    best[-1] = [0.0] * plans
    back: list[list[list[tuple[int, int]]]] = []
    for values in worth:
        free = max(range(plans), key=lambda plan: best[-1][plan])
        grown = [[-math.inf] * plans for _ in range(dwell_s)]
        came = [[(0, 0)] * plans for _ in range(dwell_s)]
        for plan, value in enumerate(values):
            grown[0][plan], came[0][plan] = best[-1][free] + value, (dwell_s - 1, free)
            for age in range(1, dwell_s):
                grown[age][plan], came[age][plan] = best[age - 1][plan] + value, (age - 1, plan)
            if best[-1][plan] + value > grown[-1][plan]:
                grown[-1][plan], came[-1][plan] = best[-1][plan] + value, (dwell_s - 1, plan)
        best = grown
        back.append(came)
    age, plan = max(product(range(dwell_s), range(plans)), key=lambda at: best[at[0]][at[1]])
    found = []
    for came in reversed(back):
        found.append(plan)
        age, plan = came[age][plan]
    return found[::-1]


def _ahead(plan: Plan, lower_s: int, raise_s: int) -> Plan:
    """What to ask for in each second, so that lower layers are there in time."""
    return tuple(
        tuple(min(picks, key=_height) for picks in zip(*plan[at + raise_s : at + lower_s + 1], strict=True))
        if at + raise_s < len(plan)
        else plan[-1]
        for at in range(len(plan))
    )


def _changed(plan: Plan, random: Random) -> Plan:
    """One change earlier or later, or one stretch at other layers."""
    starts = [0] + [at for at in range(1, len(plan)) if plan[at] != plan[at - 1]]
    begin = random.choice(starts)
    end = next((at for at in starts if at > begin), len(plan))
    if random.random() < 0.5 and begin > 0:
        shift = random.choice((-3, -2, -1, 1, 2, 3))
        if shift < 0:
            return (*plan[: begin + shift], *[plan[begin]] * -shift, *plan[begin:])[: len(plan)]
        return (*plan[:begin], *[plan[begin - 1]] * min(shift, end - begin), *plan[min(begin + shift, end) :])
    track = random.randrange(len(plan[0]))
    most = max(0, *(_height(picks[track]) for picks in plan))
    quality = random.choice([at for at in VideoQuality if at <= most])
    pick = tuple(quality if at == track else other for at, other in enumerate(plan[begin]))
    return (*plan[:begin], *[pick] * (end - begin), *plan[end:])


def _height(quality: VideoQuality | None) -> int:
    return -1 if quality is None else int(quality)

"""What could be had by somebody who knows the whole trace: a bound for each second, and the best with few switches."""

import math
from itertools import product

from quality.allocation import Limits, Subscription, allocate, priority, utility
from tests.simulation.links import TICK_S, Trace
from tests.simulation.world import AUDIO_BPS

DWELL_S = 10  # a choice is kept this long at least: 6 changes a minute


def capacities(trace: Trace) -> list[float]:
    """Bits a second that the link carries of video in each second, after sound."""
    ticks = round(1 / TICK_S)
    return [
        sum(trace.capacity_bps[at : at + ticks]) / ticks - AUDIO_BPS for at in range(0, trace.ticks - ticks + 1, ticks)
    ]


def instant(trace: Trace, subscriptions: tuple[Subscription, ...]) -> list[float]:
    """The best utility in each second, as if any switch were free: nobody can have more."""
    known: dict[float, float] = {}
    for bps in capacities(trace):
        if bps not in known:
            known[bps] = allocate(subscriptions, Limits(bandwidth_bps=bps)).utility
    return [known[bps] for bps in capacities(trace)]


def few_switches(trace: Trace, subscriptions: tuple[Subscription, ...], dwell_s: int = DWELL_S) -> list[float]:
    """The utility in each second of the best plan that changes at most every `dwell_s`, by dynamic programming.

    A second whose plan does not fit into the link is worth nothing.
    """
    plans = [
        (
            sum(layer.bitrate_bps for layer in picks if layer),
            sum(
                priority(item) * utility(layer, item) for item, layer in zip(subscriptions, picks, strict=True) if layer
            ),
        )
        for picks in product(*[(None, *item.layers) for item in subscriptions])
    ]
    worth = [[value if bps <= capacity else 0.0 for bps, value in plans] for capacity in capacities(trace)]
    # best[age][plan]: the most so far with `plan` in force for `age` seconds (the last age stands for any longer one).
    best = [[-math.inf] * len(plans) for _ in range(dwell_s)]
    best[-1] = [0.0] * len(plans)
    back: list[list[list[tuple[int, int]]]] = []
    for values in worth:
        free = max(range(len(plans)), key=lambda plan: best[-1][plan])
        grown = [[-math.inf] * len(plans) for _ in range(dwell_s)]
        came = [[(0, 0)] * len(plans) for _ in range(dwell_s)]
        for plan, value in enumerate(values):
            grown[0][plan], came[0][plan] = best[-1][free] + value, (dwell_s - 1, free)
            for age in range(1, dwell_s):
                grown[age][plan], came[age][plan] = best[age - 1][plan] + value, (age - 1, plan)
            if best[-1][plan] + value > grown[-1][plan]:
                grown[-1][plan], came[-1][plan] = best[-1][plan] + value, (dwell_s - 1, plan)
        best = grown
        back.append(came)
    age, plan = max(product(range(dwell_s), range(len(plans))), key=lambda at: best[at[0]][at[1]])
    found = []
    for second in reversed(range(len(worth))):
        found.append(worth[second][plan])
        age, plan = back[second][age][plan]
    return found[::-1]

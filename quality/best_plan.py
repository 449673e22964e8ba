"""The best choice of one option from each group whose costs fit: a multiple-choice knapsack with up to two budgets.

Costs and worths are whole numbers, so that sums are exact in any order and equals are told to be equal.
"""

import contextlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter

# Plans kept for each group in the first pass, which finds how good a plan has to be: of 10, 30 and 100 the one with
# which both passes took the least time for 100 unequal videos (docs/performance.md).
BEAM = 30

# Plans looked at in the second pass, some tenths of a second of work. Groups that are alike and not equal have more
# that none beats than can ever be looked at; what the first pass finds is then within a hundredth of the best.
MOST_LOOKED_AT = 30_000

_Step = tuple[float, float]  # a cost and what it gains


@dataclass(frozen=True, slots=True)
class Option:
    """What it takes of each of the two budgets, and what it is worth."""

    costs: tuple[int, int]
    worth: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """Sums of what was chosen for some groups. `picks` has an index for each group as a digit, the first leading."""

    costs: tuple[int, int]
    worth: int
    picks: int


class _TooMany(Exception):
    """There are more plans than can be looked at."""


def best_plan(groups: Sequence[Sequence[Option]], budgets: tuple[int | None, int | None]) -> list[int] | None:
    """The index of the option to take from each group (none is empty) for the highest worth within `budgets`.

    A budget of None is no limit. None where not even the cheapest options fit. Among equals the one that takes less of
    what is limited wins (of the first, then of the second), then of what is not, then the one with later options in the
    earlier groups. Of very many plans (`MOST_LOOKED_AT`) the best that are looked at first have to do.
    """
    limits = [(which, total) for which, total in enumerate(budgets) if total is not None]
    limits = limits or [(0, sum(max(option.costs[0] for option in group) for group in groups))]
    bounds = [_Bound(groups, which, total) for which, total in limits]
    base = max(map(len, groups), default=1)
    order = _certain_first(groups, bounds)
    frontiers = [[(bound, bound.frontier(order[done + 1 :])) for bound in bounds] for done in range(len(order))]
    best = _search(groups, order, frontiers, base, floor=0.0, width=BEAM)
    # One less than what is known to be had, for what the bounds round.
    with contextlib.suppress(_TooMany):
        best = _search(groups, order, frontiers, base, floor=best.worth - 1.0 if best else 0.0, width=0)
    if best is None:
        return None
    return [best.picks // base ** (len(groups) - 1 - at) % base for at in range(len(groups))]


class _Bound:
    """What the groups that are still to be chosen from can be worth at most, as if parts of options could be taken."""

    def __init__(self, groups: Sequence[Sequence[Option]], which: int, total: int) -> None:
        self.which, self.total = which, total
        self._bases = [min(group, key=lambda option: (option.costs[which], -option.worth)) for group in groups]
        self._steps = sorted(
            ((at, step) for at, group in enumerate(groups) for step in _hull(group, self._bases[at], which)),
            key=lambda found: -found[1][1] / found[1][0],
        )

    def left(self, plan: _Plan) -> int:
        return self.total - plan.costs[self.which]

    def frontier(self, groups: Sequence[int]) -> list[_Step]:
        """Cost and worth of these groups after each upgrade, the most useful for its cost first."""
        cost = float(sum(self._bases[at].costs[self.which] for at in groups))
        worth = float(sum(self._bases[at].worth for at in groups))
        chosen = set(groups)
        steps = (step for at, step in self._steps if at in chosen)
        return list(accumulate(steps, lambda a, b: (a[0] + b[0], a[1] + b[1]), initial=(cost, worth)))

    def price(self, groups: Sequence[int]) -> float:
        """What one more of the budget would gain; 0 where everything fits."""
        for (cost, worth), (next_cost, next_worth) in pairwise(self.frontier(groups)):
            if next_cost > self.total:
                return (next_worth - worth) / (next_cost - cost)
        return 0.0


def _search(
    groups: Sequence[Sequence[Option]],
    order: list[int],
    frontiers: list[list[tuple[_Bound, list[_Step]]]],
    base: int,
    *,
    floor: float,
    width: int,
) -> _Plan | None:
    """Group by group in `order` all plans that can reach `floor` and that no other beats; the best `width` if not 0.

    `frontiers` are, after each group, those of the ones that follow it. Raises _TooMany where all are too many.
    """
    limited = [bound.which for bound, _ in frontiers[0]] if frontiers else []
    ranked = [*limited, *(which for which in (0, 1) if which not in limited)]
    plans, looked_at = [_Plan((0, 0), 0, 0)], 0
    for at, after in zip(order, frontiers, strict=True):
        looked_at += len(plans) * len(groups[at])
        if not width and looked_at > MOST_LOOKED_AT:
            raise _TooMany
        digit = base ** (len(groups) - 1 - at)
        grown = []
        for plan in plans:
            for index, option in enumerate(groups[at]):
                costs = (plan.costs[0] + option.costs[0], plan.costs[1] + option.costs[1])
                more = _Plan(costs, plan.worth + option.worth, plan.picks + index * digit)
                reached = more.worth + min(_at_most(frontier, bound.left(more)) for bound, frontier in after)
                if reached >= floor:
                    grown.append((reached, more))
        if 0 < width < len(grown):
            grown = sorted(grown, key=itemgetter(0), reverse=True)[:width]
        plans = _undominated([plan for _, plan in grown], ranked, both=len(limited) > 1)
    return min(plans, key=lambda plan: (-plan.worth, *_turn(plan, ranked)), default=None)


def _certain_first(groups: Sequence[Sequence[Option]], bounds: list[_Bound]) -> list[int]:
    """The groups, those first whose best option at the budgets' prices is far better than their second."""
    margins = [math.inf] * len(groups)
    for bound in bounds:
        price = bound.price(range(len(groups)))
        for at, group in enumerate(groups):
            gains = sorted(option.worth - price * option.costs[bound.which] for option in group)
            margins[at] = min(margins[at], gains[-1] - gains[-2] if len(gains) > 1 else math.inf)
    return sorted(range(len(groups)), key=lambda at: -margins[at])


def _turn(plan: _Plan, ranked: list[int]) -> tuple[int, int, int, int]:
    """Which of several comes first by `best_plan`'s rules, but for the worth; `ranked` are the costs by them."""
    first, second = ranked
    return plan.costs[first], plan.costs[second], -plan.worth, -plan.picks


def _undominated(plans: list[_Plan], ranked: list[int], *, both: bool) -> list[_Plan]:
    """Without the plans that another one beats or equals in worth and in what has a budget: the first cost, or both."""
    kept: list[_Plan] = []
    staircase: list[tuple[int, int]] = []  # second cost and worth that no kept plan beats
    for plan in sorted(plans, key=lambda plan: _turn(plan, ranked)):
        cost = plan.costs[ranked[1]] if both else 0
        if any(other <= cost and worth >= plan.worth for other, worth in staircase):
            continue
        staircase = [(other, worth) for other, worth in staircase if not (cost <= other and plan.worth >= worth)]
        staircase.append((cost, plan.worth))
        kept.append(plan)
    return kept


def _hull(group: Sequence[Option], base: Option, which: int) -> list[_Step]:
    """Upgrades from `base` along the upper hull of worth over cost, the most useful for its cost first."""
    hull: list[_Step] = []
    cost, worth = base.costs[which], base.worth
    for option in sorted(group, key=lambda option: (option.costs[which], option.worth)):
        step = (float(option.costs[which] - cost), float(option.worth - worth))
        if step[1] <= 0:
            continue
        cost, worth = option.costs[which], option.worth
        hull.append(step)
        while len(hull) > 1 and hull[-1][1] * hull[-2][0] >= hull[-2][1] * hull[-1][0]:
            last = hull.pop()
            hull[-1] = (hull[-1][0] + last[0], hull[-1][1] + last[1])
    return hull


def _at_most(frontier: list[_Step], left: float) -> float:
    """The worth that `left` buys at most; minus infinity where it does not buy the cheapest."""
    at = bisect_right(frontier, left, key=itemgetter(0))
    if at == len(frontier):
        return frontier[-1][1]
    if at == 0:
        return -math.inf
    (cost, worth), (next_cost, next_worth) = frontier[at - 1], frontier[at]
    return worth + (next_worth - worth) * (left - cost) / (next_cost - cost)

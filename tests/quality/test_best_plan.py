"""The knapsack against trying every choice, with small numbers so that many are equal."""

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality import best_plan as module
from quality.best_plan import BEAM, Option, best_plan

Groups = list[list[Option]]

small = st.integers(0, 6)
options = st.builds(Option, st.tuples(small, small), small)
rooms = st.lists(st.lists(options, min_size=1, max_size=4), max_size=5)
budgets = st.tuples(st.none() | st.integers(0, 20), st.none() | st.integers(0, 20))


def by_trying_all(groups: Groups, budgets: tuple[int | None, int | None]) -> list[int] | None:
    """The best of every choice by the rules that `best_plan` states."""
    found: list[tuple[int, list[int], list[int]]] = []
    for picks in product(*(range(len(group)) for group in groups)):
        taken = [group[pick] for group, pick in zip(groups, picks, strict=True)]
        costs = [sum(option.costs[which] for option in taken) for which in (0, 1)]
        if all(total is None or cost <= total for cost, total in zip(costs, budgets, strict=True)):
            limited_first = sorted(range(2), key=lambda which: budgets[which] is None)
            costs = [costs[which] for which in limited_first] if budgets != (None, None) else costs
            found.append((-sum(option.worth for option in taken), costs, [-pick for pick in picks]))
    return [-pick for pick in min(found)[2]] if found else None


@given(rooms, budgets)
def test_it_is_what_trying_every_choice_finds(groups: Groups, budgets: tuple[int | None, int | None]) -> None:
    assert best_plan(groups, budgets) == by_trying_all(groups, budgets)


@pytest.mark.parametrize("groups", [3 * BEAM, 4 * BEAM])
def test_more_equal_groups_than_the_first_pass_keeps_plans_are_filled_from_the_first(groups: int) -> None:
    group = [Option((1, 0), 10), Option((3, 0), 20), Option((4, 0), 30)]
    # A third can have the last option: two middle ones cost more and are worth as much as one last and one first.
    third = groups // 3
    assert best_plan([group] * groups, (groups + 3 * third, None)) == [2] * third + [0] * (groups - third)


def test_the_first_pass_may_end_without_any_plan() -> None:
    """The plans that look best break the second budget at the last group only."""
    group = [Option((0, 2), 0), Option((1, 1), 1)]
    rich = [Option((0, 3), 100 + more) for more in range(BEAM)]
    assert best_plan([[Option((0, 1), 0), *rich], group], (0, 3)) == [0, 0]


def test_nothing_to_choose_from() -> None:
    assert best_plan([], (0, 0)) == []


def test_of_more_plans_than_can_be_looked_at_the_first_found_are_near_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos of one preset whose rates differ by a tenth, as in every room."""
    chance = random.Random(1)
    steps = ((160_000, 450), (450_000, 650), (1_700_000, 1000))
    groups = [[Option((round(bps * chance.uniform(0.9, 1.1)), 0), worth) for bps, worth in steps] for _ in range(60)]
    budgets = (30_000_000, None)
    looked_at = best_plan(groups, budgets)
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 0)
    first = best_plan(groups, budgets)
    assert looked_at is not None
    assert first is not None
    few, many = [
        sum(group[pick].worth for group, pick in zip(groups, picks, strict=True)) for picks in (first, looked_at)
    ]
    assert 0.99 * many <= few <= many
    assert sum(group[pick].costs[0] for group, pick in zip(groups, first, strict=True)) <= 30_000_000

"""The knapsack against trying every choice, with small numbers so that many are equal."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

"""How figures are said on a report's page, and the tops of its axes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.report_parts import as_percent
from quality.report_plots import nice_top


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0%"), (0.0001, "<0.1%"), (0.004, "0.4%"), (0.25, "25%"), (0.994, "99%"), (0.9997, ">99%"), (1.0, "100%")],
)
def test_only_all_is_a_hundred_percent_and_only_nothing_none(share: float, said: str) -> None:
    assert as_percent(share) == said


@pytest.mark.parametrize(
    ("largest", "top"),
    [
        (0.0, 1.0),
        (0.02, 0.02),
        (0.11, 0.2),
        (0.3, 0.5),
        (1.0, 1.0),
        (1.1, 2.0),
        (30.0, 50.0),
        (2_100_000.0, 2_500_000.0),
    ],
)
def test_the_top_of_an_axis_is_a_round_number_near_what_is_drawn(largest: float, top: float) -> None:
    assert nice_top(largest) == pytest.approx(top)


@given(st.floats(1e-6, 1e12))
def test_nothing_is_drawn_above_the_top_nor_all_in_the_lower_half_of_it(largest: float) -> None:
    assert largest <= nice_top(largest) * (1 + 1e-9)
    assert largest >= 0.39 * nice_top(largest)


def test_larger_figures_have_no_lower_top() -> None:
    tops = [nice_top(value / 100) for value in range(1, 2000)]
    assert all(low <= high for low, high in pairwise(tops))

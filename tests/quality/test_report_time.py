"""The time of a recording on its report's page: marks and how a moment is said."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.report_time import MOST_MARKS, as_clock, position, time_marks


@pytest.mark.parametrize(
    ("duration_s", "marks"),
    [
        (0.0, "0:00"),
        (0.4, "0:00"),
        (7.0, "0:00 0:02 0:04 0:06"),
        (150.0, "0:00 0:30 1:00 1:30 2:00 2:30"),
        (7200.0, "0:00 30:00 1:00:00 1:30:00 2:00:00"),
        (14 * 86_400.0, "0:00 72:00:00 144:00:00 216:00:00 288:00:00"),
    ],
)
def test_marks_are_round_times(duration_s: float, marks: str) -> None:
    assert " ".join(as_clock(at_s) for at_s in time_marks(duration_s)) == marks


@given(st.floats(0, 1e8))
def test_marks_are_few_as_far_apart_and_within_the_recording(duration_s: float) -> None:
    marks = time_marks(duration_s)
    assert marks[0] == 0.0
    assert len(marks) <= MOST_MARKS + 1
    assert marks[-1] <= duration_s
    assert len({after - before for before, after in pairwise(marks)}) <= 1


def test_a_moment_lies_within_the_recording_whatever_it_says() -> None:
    assert [position(at_s, 10.0) for at_s in (-1.0, 0.0, 5.0, 11.0)] == [0.0, 0.0, 0.5, 1.0]
    assert position(5.0, 0.0) == 0.0

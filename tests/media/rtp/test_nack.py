"""Which packets are asked for, and when."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.rtp.nack import NackConfig, NackTracker

START = 1_700_000_000.0
# Half a millisecond past a due time, so that float rounding does not matter.
JUST_AFTER = 0.0005


def asks_over(tracker: NackTracker, seconds: float, step: float = 0.001) -> list[float]:
    """The times, in seconds after `START`, at which anything was asked for."""
    times = []
    for index in range(round(seconds / step)):
        now = START + index * step
        if tracker.poll(now):
            times.append(round(now - START, 3))
    return times


def test_a_packet_may_be_late_before_it_is_asked_for() -> None:
    assert NackTracker().deadline is None
    tracker = NackTracker()
    tracker.gap(100, 103, START)
    assert tracker.missing == (100, 101, 102)
    assert tracker.poll(START + 0.019) == ()
    tracker.arrived(101, START + 0.019)
    assert tracker.deadline == START + 0.02
    assert tracker.poll(START + 0.02 + JUST_AFTER) == (100, 102)
    assert tracker.packets_recovered == 0
    tracker.arrived(100, START + 0.1)
    assert tracker.packets_recovered == 1


def test_asks_again_at_growing_intervals_until_two_seconds_are_over() -> None:
    tracker = NackTracker()
    tracker.gap(100, 101, START)
    times = asks_over(tracker, 5)
    assert times[0] in {0.02, 0.021}
    intervals = [after - before for before, after in pairwise(times)]
    # livekit-server ignores what it is asked again within 100 ms.
    assert all(interval > 0.1 for interval in intervals)
    assert intervals == sorted(intervals)
    assert 4 <= len(times) <= 10
    assert times[-1] < 2
    assert tracker.missing == ()
    assert tracker.deadline is None


def test_the_number_of_asks_is_bounded() -> None:
    tracker = NackTracker(NackConfig(max_asks=2))
    tracker.gap(100, 101, START)
    assert len(asks_over(tracker, 3)) == 2


def test_a_long_round_trip_spreads_the_asks() -> None:
    tracker = NackTracker()
    tracker.gap(1, 2, START)
    assert tracker.poll(START + 0.05) == (1,)
    tracker.arrived(1, START + 0.45)
    tracker.gap(5, 6, START + 1)
    assert tracker.poll(START + 1.1) == (5,)
    assert tracker.poll(START + 1.1 + 0.59) == ()
    assert tracker.poll(START + 1.1 + 0.61) == (5,)


def test_a_second_ask_tells_nothing_of_the_round_trip() -> None:
    tracker = NackTracker()
    tracker.gap(1, 2, START)
    tracker.poll(START + 0.05)
    tracker.poll(START + 0.5)
    tracker.arrived(1, START + 1.5)
    tracker.gap(5, 6, START + 2)
    assert tracker.poll(START + 2.1) == (5,)
    assert tracker.poll(START + 2.1 + 0.12) == (5,)


@pytest.mark.parametrize("round_trip_s", [0.05, 0.15, 0.5])
def test_a_long_round_trip_is_found_out_and_packets_are_asked_for_once(round_trip_s: float) -> None:
    """Else each would be asked for again before its answer can come, and come twice, for ever."""
    tracker, asks = NackTracker(), 0
    for loss in range(40):
        noticed = START + loss
        tracker.gap(loss, loss + 1, noticed)
        times = [noticed + step * 0.005 for step in range(200)]
        asked = [now for now in times if now < noticed + 0.03 + round_trip_s and tracker.poll(now)]
        tracker.arrived(loss, asked[0] + round_trip_s)
        asks += len(asked)
    assert asks < 40 * 1.4
    assert tracker.round_trip_time_s == pytest.approx(round_trip_s, abs=0.01)


def test_answers_that_are_lost_now_and_then_make_nobody_wait_longer() -> None:
    tracker = NackTracker()
    for loss in range(3):
        tracker.gap(loss, loss + 1, START + loss)
        tracker.poll(START + loss + 0.03)
        tracker.poll(START + loss + 0.2)
        tracker.arrived(loss, START + loss + 0.25)
    tracker.gap(9, 10, START + 9)
    assert tracker.poll(START + 9.03) == (9,)
    assert tracker.poll(START + 9.03 + 0.12) == (9,)


def test_what_is_just_late_tells_nothing_of_the_round_trip() -> None:
    tracker = NackTracker()
    tracker.gap(1, 2, START)
    tracker.poll(START + 0.03)
    assert tracker.arrived(1, START + 0.035, answers=False)
    assert tracker.round_trip_time_s is None


def test_what_the_jitter_buffer_gave_up_is_not_asked_for() -> None:
    tracker = NackTracker()
    tracker.gap(100, 110, START)
    tracker.forget_before(105)
    assert tracker.poll(START + 0.03) == (105, 106, 107, 108, 109)
    tracker.clear()
    assert tracker.poll(START + 1) == ()
    assert tracker.deadline is None


def test_an_outage_keeps_the_newest_and_asks_in_portions() -> None:
    tracker = NackTracker()
    tracker.gap(0, 50, START)
    tracker.gap(60, 3000, START)
    assert tracker.missing == tuple(range(2000, 3000))
    now = START + 0.03
    asked: list[int] = []
    for _ in range(4):
        portion = tracker.poll(now)
        assert len(portion) == 250
        asked += portion
    assert sorted(asked) == list(range(2000, 3000))
    assert tracker.poll(now) == ()


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("gap"), st.integers(1, 60)),
            st.tuples(st.just("arrive"), st.integers(0, 400)),
            st.tuples(st.just("wait"), st.integers(1, 700)),
        ),
        max_size=60,
    )
)
def test_only_what_is_missing_is_asked_for_and_the_deadline_is_right(steps: list[tuple[str, int]]) -> None:
    tracker = NackTracker()
    now, highest = START, 0
    for action, value in steps:
        if action == "gap":
            tracker.gap(highest + 1, highest + 1 + value, now)
            highest += value + 1
        elif action == "arrive":
            tracker.arrived(value, now)
            assert value not in tracker.missing
        else:
            now += value / 1000
        deadline = tracker.deadline
        missing = set(tracker.missing)
        asked = tracker.poll(now)
        assert set(asked) <= missing
        assert list(asked) == sorted(asked)
        if asked:
            assert deadline is not None
            assert deadline <= now
        after = tracker.deadline
        assert after is None or after > now or len(asked) == 250


def test_the_round_trip_is_known_from_the_first_packet_that_was_asked_for_once() -> None:
    tracker = NackTracker()
    assert tracker.round_trip_time_s is None
    tracker.gap(100, 101, START)
    asked_at = START + 0.02 + JUST_AFTER
    assert tracker.poll(asked_at) == (100,)
    tracker.arrived(100, asked_at + 0.08)
    assert tracker.round_trip_time_s == pytest.approx(0.08)


def test_what_was_asked_for_is_known_for_a_while() -> None:
    tracker = NackTracker(NackConfig(max_missing=10))
    tracker.gap(100, 110, START)
    assert not tracker.was_asked(100)
    tracker.poll(START + 0.03)
    tracker.arrived(100, START + 0.1)
    assert tracker.was_asked(100)
    assert not tracker.was_asked(99)
    tracker.gap(200, 210, START + 1)
    tracker.poll(START + 1.03)
    assert not tracker.was_asked(100), "no more than can be missing"
    tracker.clear()
    assert not tracker.was_asked(200)

"""RTP time as one line: wraps, pauses, restarts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from media.rtp.timeline import RtpTimeline

CLOCK_RATE = 90_000
START = 1_700_000_000.0


def test_wraps_are_not_seen() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    first = 2**32 - 4500
    for index in range(10):
        place = timeline.place((first + 3000 * index) & 0xFFFF_FFFF, START + index / 30)
        assert place == first + 3000 * index
    assert timeline.resets == 0
    assert timeline.last == first + 27_000


@settings(max_examples=50)
@given(st.floats(0.1, 200_000), st.integers(0, 2**32 - 1), st.floats(-5, 5))
def test_a_pause_of_any_length_keeps_it(pause_s: float, first: int, skew_s: float) -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    timeline.place(first, START)
    ticks = round(pause_s * CLOCK_RATE)
    place = timeline.place((first + ticks) & 0xFFFF_FFFF, START + max(0.0, pause_s + skew_s))
    assert place == first + ticks
    assert timeline.resets == 0


def test_an_outage_without_rtp_time_is_no_reset() -> None:
    """The sender stalled; what it sends now follows in RTP time at once."""
    timeline = RtpTimeline(CLOCK_RATE)
    timeline.place(1000, START)
    assert timeline.place(4000, START + 100_000) == 4000
    assert timeline.resets == 0


def test_a_leap_that_arrival_does_not_show_is_a_reset() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    timeline.place(1000, START)
    assert timeline.place(1000 + 31 * CLOCK_RATE, START + 0.1) == 10_000
    assert timeline.resets == 1
    assert timeline.place(1000 + 31 * CLOCK_RATE + 3000, START + 0.2) == 13_000
    assert timeline.locate(1000 + 31 * CLOCK_RATE + 6000) == 16_000
    assert timeline.resets == 1


def test_a_leap_below_thirty_seconds_is_taken_as_it_is() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    timeline.place(1000, START)
    assert timeline.place(1000 + 29 * CLOCK_RATE, START + 0.1) == 1000 + 29 * CLOCK_RATE
    assert timeline.resets == 0


def test_time_that_goes_back_goes_on_by_arrival() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    timeline.place(500_000, START)
    assert timeline.place(100_000, START + 1) == 590_000
    assert timeline.resets == 1
    assert timeline.place(103_000, START + 1.1) == 593_000


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(-1, 100)), min_size=2, max_size=40))
def test_the_line_never_goes_back(frames: list[tuple[int, float]]) -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    arrival = START
    last = -1
    for timestamp, elapsed in frames:
        arrival += elapsed
        place = timeline.place(timestamp, arrival)
        assert place >= last
        last = place


def test_another_source_goes_on_by_arrival() -> None:
    assert RtpTimeline(CLOCK_RATE).last is None
    timeline = RtpTimeline(CLOCK_RATE)
    assert timeline.locate(5) is None
    timeline.place(1000, START)
    timeline.restart()
    assert timeline.last == 1000
    assert timeline.place(3_000_000_000, START + 0.5) == 46_000
    assert timeline.place(3_000_003_000, START + 0.6) == 49_000
    assert timeline.resets == 1


def test_another_source_is_placed_by_arrival_even_where_its_time_would_fit() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    timeline.place(1000, START)
    timeline.restart()
    assert timeline.place(1000 + 10 * CLOCK_RATE, START + 0.5) == 46_000
    assert timeline.last == 46_000


def test_one_timestamp_twice_is_one_place() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    assert timeline.place(1000, START) == timeline.place(1000, START + 0.01)
    assert timeline.resets == 0


def test_after_a_step_back_time_goes_on_by_at_least_a_tick() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    timeline.place(1000, START)
    assert timeline.place(500, START) == 1001


def test_small_leaps_that_add_up_to_what_arrival_does_not_show_are_resets_too() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    places = [timeline.place(29 * CLOCK_RATE * n & 0xFFFF_FFFF, START + n * 0.02) for n in range(500)]
    assert places == sorted(places)
    assert places[-1] - places[0] < 60 * CLOCK_RATE, "ten seconds passed"
    assert timeline.resets > 400


def test_a_way_that_stood_still_and_gives_all_that_it_held_at_once_is_none() -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    arrivals = [START + max(n / 30, 60.0 if n > 300 else 0.0) for n in range(4000)]  # from 10 s to 60 s nothing came
    for n, arrival in enumerate(arrivals):
        assert timeline.place(3000 * n, arrival) == 3000 * n
    assert timeline.resets == 0


@given(st.floats(-0.005, 0.005))
@settings(max_examples=20)
def test_a_clock_that_is_somewhat_wrong_is_none_for_days(wrong: float) -> None:
    timeline = RtpTimeline(CLOCK_RATE)
    for n in range(0, 3 * 86_400, 20):
        ticks = round(n * CLOCK_RATE * (1 + wrong))
        assert timeline.place(ticks & 0xFFFF_FFFF, START + n) == ticks
    assert timeline.resets == 0

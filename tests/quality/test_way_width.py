"""What trains of packets say of the way: serialised, through a bucket of tokens, where it was full, and where not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.promises import CALIBRATED_S, LOADED_LEAST
from quality.trains import Train
from quality.way_load import LOADED_S, SETTLED_S
from quality.way_width import DOUBTED_S, PASSED_MOST, UNKNOWN_WIDTH, WayWidth

NARROW_BPS, WIDE_BPS = 1e6, 4e6
BITS = 500_000.0


def spaced(bps: float, bits: float = BITS) -> Train:
    return Train(bits, bits / bps)


def looked(width: WayWidth, bps: float, seconds: int = 1, *, received_bps: float = 700_000.0) -> WayWidth:
    for _ in range(seconds):
        width = width.after(spaced(bps), received_bps, full=False)
    return width


def filled(width: WayWidth, received_bps: float, seconds: int = 2) -> WayWidth:
    """Losses and a queue: what is measured meanwhile is worth nothing."""
    for _ in range(seconds):
        width = width.after(spaced(0.3 * received_bps), received_bps, full=True)
    return width


def test_nothing_is_known_at_first_and_after_too_few_packets() -> None:
    assert UNKNOWN_WIDTH.bps is None
    few = UNKNOWN_WIDTH.after(spaced(WIDE_BPS, 30_000.0), 200_000.0, full=False)
    assert few.bps is None


def test_a_way_that_was_never_full_carries_what_its_trains_say() -> None:
    width = looked(UNKNOWN_WIDTH, WIDE_BPS, 3)
    assert width.bps == pytest.approx(WIDE_BPS)
    assert looked(width, NARROW_BPS, 3).bps == pytest.approx(NARROW_BPS), "seconds that are over do not count"


def test_trains_too_short_for_the_counter_are_no_division_by_nothing() -> None:
    assert UNKNOWN_WIDTH.after(Train(BITS, 0.0), 1e6, full=False).bps == pytest.approx(BITS / 0.001)


def test_a_second_of_padding_that_is_lost_tells_nothing_of_what_a_way_carries() -> None:
    """A publisher stalls while the server probes: there are packets, and no bytes of media."""
    known = looked(filled(looked(UNKNOWN_WIDTH, WIDE_BPS, 3), NARROW_BPS), 1.1 * NARROW_BPS, SETTLED_S)
    assert known.bps == NARROW_BPS
    assert looked(known.after(Train(), 0.0, full=True), 1.1 * NARROW_BPS).bps == NARROW_BPS
    assert looked(UNKNOWN_WIDTH.after(Train(), 0.0, full=True), WIDE_BPS, 3).bps == pytest.approx(WIDE_BPS)


def test_a_way_that_was_full_carries_what_came_then_until_trains_say_much_more() -> None:
    width = filled(looked(UNKNOWN_WIDTH, WIDE_BPS, 3), NARROW_BPS)
    for _ in range(SETTLED_S - 1):
        width = looked(width, 1.1 * NARROW_BPS)
        assert width.bps is None, "some of what was looked at is of the time when it was full"
    for _ in range(20):
        width = looked(width, 1.1 * NARROW_BPS)
        assert width.bps == NARROW_BPS
    width = looked(width, WIDE_BPS, 3)
    assert width.bps == pytest.approx(WIDE_BPS / 1.1, rel=0.01), "as much less as trains promised too much before"


def test_a_way_that_became_wider_is_known_after_two_seconds_whatever_was_seen_before() -> None:
    width = looked(looked(UNKNOWN_WIDTH, NARROW_BPS, 5), WIDE_BPS)
    assert width.bps is not None
    assert width.bps < 0.5 * WIDE_BPS, "a second may err"
    assert looked(width, WIDE_BPS).bps == pytest.approx(WIDE_BPS)
    slightly = looked(looked(UNKNOWN_WIDTH, NARROW_BPS, 5), 1.3 * NARROW_BPS, 2)
    assert slightly.bps == pytest.approx(3 / (1 + 2 / 1.3) * NARROW_BPS), "that may be chance: three seconds count"


def test_a_way_rises_until_a_whole_second_of_the_wider_one_is_over() -> None:
    width = looked(UNKNOWN_WIDTH, NARROW_BPS, 5)
    assert not width.rises
    partly = looked(width, 2 * NARROW_BPS)
    assert partly.rises
    assert looked(partly, WIDE_BPS).rises, "the second before was partly of the narrow one"
    assert not looked(partly, WIDE_BPS, 2).rises
    assert not looked(width, 0.25 * NARROW_BPS).rises
    assert not UNKNOWN_WIDTH.rises
    assert not looked(hidden(), 50 * NARROW_BPS).rises, "a bucket's seconds vary by more"


def test_a_way_that_became_narrower_while_it_was_full_carries_what_comes_now() -> None:
    width = filled(filled(UNKNOWN_WIDTH, WIDE_BPS, 5), NARROW_BPS, 3)
    assert width.full_bps == NARROW_BPS


def test_a_way_that_carries_more_than_when_it_was_full_was_not_full_then() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 1.4 * NARROW_BPS, 10)
    width = looked(width, 1.4 * NARROW_BPS, LOADED_S - 1, received_bps=1.05 * NARROW_BPS)
    assert width.bps == NARROW_BPS
    assert looked(width, 1.4 * NARROW_BPS, received_bps=1.05 * NARROW_BPS).bps == pytest.approx(1.4 / 1.1 * NARROW_BPS)


def test_what_trains_promise_of_a_way_that_becomes_wider_is_not_held_against_them_later() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 1.4 * NARROW_BPS, 10)
    assert width.bps == NARROW_BPS
    assert looked(width, WIDE_BPS, 3).bps == pytest.approx(WIDE_BPS / 1.1), "less than a bucket's promise"


def test_the_most_that_came_while_it_was_full_counts() -> None:
    width = filled(filled(UNKNOWN_WIDTH, NARROW_BPS, 2), 0.6 * NARROW_BPS, 1)
    assert looked(width, NARROW_BPS, 4).bps == NARROW_BPS


def test_what_came_in_the_second_in_which_it_became_full_is_partly_of_a_wider_way() -> None:
    width = filled(UNKNOWN_WIDTH, 1.7 * NARROW_BPS, 1)
    assert width.full_bps == 1.7 * NARROW_BPS, "nothing else is known yet"
    assert looked(filled(width, NARROW_BPS, 1), NARROW_BPS, 4).bps == NARROW_BPS
    again = filled(looked(filled(width, NARROW_BPS, 2), NARROW_BPS, 4), 1.7 * NARROW_BPS, 1)
    assert filled(again, NARROW_BPS, 1).full_bps == NARROW_BPS, "so too the next time"


def test_a_bucket_of_tokens_that_lets_short_frames_pass_does_not_look_like_a_wider_way() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 1.8 * NARROW_BPS, 30)
    assert width.bps == NARROW_BPS
    assert looked(width, 10 * NARROW_BPS, 3).bps == pytest.approx(10 / 1.8 * NARROW_BPS)


@pytest.mark.parametrize("promised", [2.5, 50.0])
def test_a_large_bucket_hides_the_way(promised: float) -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), promised * NARROW_BPS, 30)
    assert not width.was_full
    assert not width.told
    assert width.bps is None


def hidden() -> WayWidth:
    """A bucket lets five times as much seem to come, much or little of what had come when it was full."""
    return looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 5 * NARROW_BPS, 30)


def test_packets_that_come_close_though_as_much_comes_as_when_it_was_full_came_over_a_wider_way() -> None:
    brim = looked(hidden(), 5 * NARROW_BPS, LOADED_S - 1, received_bps=1.05 * NARROW_BPS)
    assert brim.bps is None, "a moment in which more comes does not empty a bucket"
    brim = looked(brim, 5 * NARROW_BPS, received_bps=1.05 * NARROW_BPS)
    assert brim.told
    assert brim.wider
    assert brim.bps == pytest.approx(PASSED_MOST * 1.05 * NARROW_BPS), "how much wider is not known"
    more = looked(brim, 5 * NARROW_BPS, received_bps=2.5 * NARROW_BPS)
    assert more.bps == pytest.approx(5 * NARROW_BPS), "nor more than the trains say"
    assert looked(more, 5 * NARROW_BPS, received_bps=0.6 * NARROW_BPS).bps is None


@pytest.mark.parametrize(("times", "wider"), [(1.4, False), (3.5, True)])
def test_packets_that_come_far_closer_than_they_did_where_much_comes_came_over_a_wider_way(
    times: float, wider: bool
) -> None:
    much_bps = 0.8 * NARROW_BPS
    loaded = looked(hidden(), 4 * NARROW_BPS, 10, received_bps=much_bps)
    assert not loaded.told, "that much of the bucket is left"
    assert not looked(loaded, times * 4 * NARROW_BPS, 3, received_bps=0.5 * NARROW_BPS).told
    later = looked(loaded, times * 4 * NARROW_BPS, 3, received_bps=much_bps)
    assert later.told == wider
    assert later.bps == (pytest.approx(PASSED_MOST * much_bps) if wider else None)


def test_what_packets_promise_where_much_comes_is_learned_anew_once_the_way_was_full() -> None:
    loaded = looked(hidden(), 4 * NARROW_BPS, 10, received_bps=0.8 * NARROW_BPS)
    again = looked(filled(loaded, NARROW_BPS), 14 * NARROW_BPS, 10, received_bps=0.8 * NARROW_BPS)
    assert not again.told


def test_packets_that_come_as_far_apart_as_an_empty_bucket_makes_them_tell_of_no_wider_way() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 5 * NARROW_BPS, 30)
    assert looked(width, 1.2 * NARROW_BPS, 10, received_bps=0.95 * NARROW_BPS).bps is None


@pytest.mark.parametrize(("looks", "told"), [(LOADED_LEAST - 2, False), (LOADED_LEAST, True)])
def test_one_moment_in_which_much_comes_is_nothing_to_hold_packets_against(looks: int, told: bool) -> None:
    loaded = looked(hidden(), 4 * NARROW_BPS, LOADED_S - 1 + looks, received_bps=0.8 * NARROW_BPS)
    assert looked(loaded, 20 * NARROW_BPS, 2, received_bps=0.8 * NARROW_BPS).told is told


def test_a_small_bucket_bounds_what_a_wider_way_is_held_to_carry_by_its_promise_not_by_what_comes() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 1.7 * NARROW_BPS, 30)
    wide = looked(width, 17 * NARROW_BPS, 5, received_bps=1.2 * NARROW_BPS)
    assert wide.bps == pytest.approx(10 * NARROW_BPS)


def test_where_no_bucket_is_the_trains_are_believed_whatever_comes() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 1.1 * NARROW_BPS, 30)
    for received_bps in (0.5 * NARROW_BPS, 0.95 * NARROW_BPS):
        wide = looked(width, 5 * NARROW_BPS, 5, received_bps=received_bps)
        assert wide.bps == pytest.approx(5 / 1.1 * NARROW_BPS, rel=0.01)


def test_a_way_that_got_wider_in_the_moment_after_it_was_full_is_told_by_the_time_before() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 1.1 * NARROW_BPS, 10)
    width = looked(filled(width, NARROW_BPS), WIDE_BPS, SETTLED_S)
    assert width.bps == pytest.approx(WIDE_BPS / 1.1, rel=0.01)


def test_a_way_that_gets_wider_while_it_is_calibrated_is_no_bucket() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), 1.1 * NARROW_BPS, SETTLED_S)
    width = looked(width, WIDE_BPS, 10)
    assert width.bps is not None
    assert width.bps > 0.75 * WIDE_BPS, "a second of both counts for the promise"


def test_wider_is_what_carries_more_than_came_when_it_was_full() -> None:
    assert not looked(UNKNOWN_WIDTH, WIDE_BPS, 5).wider, "it was never full"
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), NARROW_BPS, 10)
    assert not width.wider
    assert looked(width, WIDE_BPS, 3).wider
    assert not looked(width, 0.5 * NARROW_BPS, 3, received_bps=450_000.0).wider


def test_a_bucket_is_known_by_the_second_time_where_the_first_was_no_bucket() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), NARROW_BPS, 10)
    for _ in range(2):
        assert width.told
        width = looked(filled(width, NARROW_BPS), 3 * NARROW_BPS, 10)
    assert not width.told


def test_a_way_that_got_narrower_without_being_full_carries_less() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), NARROW_BPS, 10)
    assert looked(width, 0.5 * NARROW_BPS, 3, received_bps=450_000.0).bps == pytest.approx(0.5 * NARROW_BPS)


def test_what_is_promised_is_learned_in_the_first_seconds_alone() -> None:
    width = looked(filled(UNKNOWN_WIDTH, NARROW_BPS), NARROW_BPS, SETTLED_S + CALIBRATED_S)
    slowly = width
    for step in range(1, 30):
        slowly = looked(slowly, NARROW_BPS * (1 + step / 10))
    assert slowly.promises.times == width.promises.times
    assert slowly.bps is not None
    assert slowly.bps > 3 * NARROW_BPS


@given(st.lists(st.tuples(st.floats(1e5, 1e8), st.floats(1e5, 1e7), st.booleans()), max_size=40))
def test_it_never_carries_less_than_nothing_nor_more_than_trains_and_what_came_say(
    seconds: list[tuple[float, float, bool]],
) -> None:
    width = UNKNOWN_WIDTH
    for spacing_bps, received_bps, full in seconds:
        width = width.after(spaced(spacing_bps), received_bps, full=full)
        if width.bps is not None:
            most = max([item.bits / max(1e-9, item.seconds) for item in width.trains] + [width.full_bps])
            assert 0.0 < width.bps <= most * (1 + 1e-9)
        assert len(width.promises.times) <= 2


def test_trains_are_not_believed_for_a_minute_after_more_came_without_a_queue_than_they_allow() -> None:
    width = looked(UNKNOWN_WIDTH, NARROW_BPS, 5, received_bps=1.3 * NARROW_BPS)
    assert not width.told, "jitter, or a publisher's narrow way, spaces packets too"
    assert width.bps is None
    width = looked(width, NARROW_BPS, DOUBTED_S - 1)
    assert not width.told
    assert looked(width, NARROW_BPS).bps == pytest.approx(NARROW_BPS)


def test_as_much_as_trains_allow_may_come() -> None:
    assert looked(UNKNOWN_WIDTH, NARROW_BPS, 5, received_bps=1.2 * NARROW_BPS).told
    full = filled(UNKNOWN_WIDTH, 2 * NARROW_BPS)
    assert looked(full, NARROW_BPS, 1, received_bps=2 * NARROW_BPS).doubt.seconds == 0, "the queue went just now"


def test_trains_are_believed_again_once_they_allow_what_came() -> None:
    doubted = looked(UNKNOWN_WIDTH, NARROW_BPS, 5, received_bps=1.3 * NARROW_BPS)
    assert not looked(doubted, WIDE_BPS, 3, received_bps=0.9 * NARROW_BPS).told, "less came than they allowed before"
    assert looked(doubted, WIDE_BPS, 3, received_bps=1.2 * NARROW_BPS).told, "jitter is told apart by now"

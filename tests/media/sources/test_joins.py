"""Times that start anew are put behind what came; holes stay holes."""

from media.sources.joins import JoinedTimes

PICTURE, SOUND = 0, 1


def heard(times: JoinedTimes, *packets: tuple[int, float]) -> list[float]:
    """When each packet of a tenth of a second comes to be."""
    return [round(time_s + times.later_s(stream, time_s, 0.1), 3) for stream, time_s in packets]


def test_both_streams_are_moved_by_the_same_amount_whichever_starts_anew_first() -> None:
    before = [(PICTURE, 7.0), (SOUND, 7.0), (PICTURE, 7.1)]
    after = [(PICTURE, 0.0), (SOUND, 7.1), (SOUND, 0.05), (PICTURE, 0.1)]
    times = JoinedTimes()
    assert heard(times, *before, *after) == [7.0, 7.0, 7.1, 7.2, 7.1, 7.25, 7.3]
    assert round(times.end_s, 3) == 7.4


def test_a_stream_that_was_silent_goes_on_where_the_other_is() -> None:
    times = JoinedTimes()
    pictures = [(PICTURE, number / 10) for number in range(300)]
    assert heard(times, (SOUND, 0.0), *pictures, (SOUND, 30.0))[-1] == 30.0


def test_what_is_far_ahead_of_all_others_is_a_clock_that_was_set() -> None:
    assert heard(JoinedTimes(), (PICTURE, 1.0), (SOUND, 1.0), (PICTURE, 500.0), (SOUND, 500.0)) == [1.0, 1.0, 1.1, 1.1]


def test_a_hole_of_both_stays_one() -> None:
    assert heard(JoinedTimes(), (PICTURE, 1.0), (SOUND, 1.0), (PICTURE, 9.0), (SOUND, 9.0)) == [1.0, 1.0, 9.0, 9.0]


def test_a_stream_that_comes_in_a_later_part_is_of_that_part() -> None:
    assert heard(JoinedTimes(), (PICTURE, 7.0), (PICTURE, 0.0), (SOUND, 0.0)) == [7.0, 7.1, 7.1]

"""Where the samples of one track lie in a file of several."""

import itertools

import pytest

from media.record.muxed_timeline import MuxedTrackTimeline
from media.record.sample import Sample

HZ = 48_000


def part(second: int, step: int = 960) -> list[Sample]:
    """A second of samples, the recorded timeline beginning at 7 s."""
    start = (7 + second) * HZ
    return [Sample(b"x", start + offset, step, True) for offset in range(0, HZ, step)]


def test_times_are_exact_and_count_from_the_file_s_zero() -> None:
    timeline = MuxedTrackTimeline(HZ, zero_s=100.0)
    placed = [sample for second in range(3) for sample in timeline.place(part(second), 100.25 + second)]
    assert [sample.decode_time for sample in placed] == [12_000 + 960 * index for index in range(150)]
    assert {sample.duration for sample in placed} == {960}
    assert timeline.end_s == pytest.approx(3.25)


@pytest.mark.parametrize("error_s", [0.2, -0.2, 0.03, -0.03])
def test_a_correction_is_followed_by_5_ms_a_second(error_s: float) -> None:
    timeline = MuxedTrackTimeline(HZ, zero_s=0.0)
    placed = timeline.place(part(0), 1.0)
    for second in range(1, 60):
        placed += timeline.place(part(second), 1.0 + second + error_s)
    assert all(a.end_decode_time == b.decode_time for a, b in itertools.pairwise(placed))
    assert all(abs(sample.duration - 960) <= 240 for sample in placed)
    assert timeline.end_s == pytest.approx(61.0 + error_s, abs=0.0051)


def test_a_deviation_nobody_perceives_is_left_alone() -> None:
    timeline = MuxedTrackTimeline(HZ, zero_s=0.0)
    timeline.place(part(0), 0.0)
    assert [sample.duration for sample in timeline.place(part(1), 1.004)] == [960] * 50


def test_after_a_hole_a_track_is_where_it_belongs_at_once() -> None:
    timeline = MuxedTrackTimeline(HZ, zero_s=0.0)
    timeline.place(part(0), 0.0)
    assert timeline.place(part(10), 10.3)[0].decode_time == round(10.3 * HZ)
    # Never back into what is written.
    assert timeline.place(part(20), 5.0)[0].decode_time == round(11.3 * HZ)


def test_a_sender_that_started_anew_is_followed_at_once() -> None:
    timeline = MuxedTrackTimeline(HZ, zero_s=0.0)
    timeline.place(part(0), 0.0)
    assert timeline.place(part(1), 3.0)[0].decode_time == 3 * HZ

"""Which clock mappings a track writes down, and from when on they hold."""

import itertools

import pytest

from media.record.decode_timeline import Anchor
from media.record.entries import RecordingState
from media.record.state import RecordingEvent, next_state
from media.record.track_clock import TrackClock
from media.rtp.clock_mapping import ClockSource, RtpClockMapping

STARTED_AT = 1_000.0
HZ = 48_000


def estimate(rtp: int, unix_s: float, source: ClockSource, uncertainty_ms: float = 5.0) -> RtpClockMapping:
    return RtpClockMapping(rtp, unix_s, 0.0, uncertainty_ms, source)


def started(arrival: float = 1_002.0) -> TrackClock:
    clock = TrackClock(3, HZ, STARTED_AT)
    clock.anchored(Anchor(0, 500_000, arrival, reset=False))
    return clock


def test_it_begins_with_the_arrival_of_its_first_frame() -> None:
    mapping = TrackClock(3, HZ, STARTED_AT).anchored(Anchor(7, 500_000, 1_002.0, reset=False))
    assert (mapping.track, mapping.decode_time, mapping.media_time_s) == (3, 7, 2.0)
    assert mapping.source is ClockSource.ARRIVAL


def test_an_estimate_from_before_the_first_frame_is_kept_for_it() -> None:
    clock = TrackClock(3, HZ, STARTED_AT)
    assert clock.estimated(estimate(500_000, 1_001.9, ClockSource.SENDER_REPORT), 0) is None
    mapping = clock.anchored(Anchor(0, 500_000, 1_002.0, reset=False))
    assert mapping.source is ClockSource.SENDER_REPORT
    assert mapping.media_time_s == pytest.approx(1.9)


def test_a_better_source_holds_from_the_start() -> None:
    clock = started()
    mapping = clock.estimated(estimate(500_000 + 60 * HZ, 1_061.9, ClockSource.SENDER_REPORT), 60 * HZ)
    assert mapping is not None
    assert mapping.decode_time == 0
    assert mapping.media_time_s == pytest.approx(1.9)


def test_a_refinement_holds_from_now_on() -> None:
    clock = started()
    clock.estimated(estimate(500_000, 1_001.9, ClockSource.SENDER_REPORT), 60 * HZ)
    mapping = clock.estimated(estimate(500_000, 1_001.91, ClockSource.SENDER_REPORT), 90 * HZ)
    assert mapping is not None
    assert mapping.decode_time == 90 * HZ
    assert mapping.media_time_s == pytest.approx(91.91)


def test_early_arrivals_still_improve_the_start() -> None:
    clock = started()
    mapping = clock.estimated(estimate(500_000, 1_001.95, ClockSource.ARRIVAL, 20), 3 * HZ)
    assert mapping is not None
    assert mapping.decode_time == 0


def test_after_a_worse_source_a_better_one_reaches_back_only_to_it() -> None:
    clock = started()
    clock.estimated(estimate(500_000, 1_001.9, ClockSource.SENDER_REPORT), 60 * HZ)
    clock.estimated(estimate(500_000, 1_009.0, ClockSource.ARRIVAL), 100 * HZ)
    mapping = clock.estimated(estimate(500_000, 1_009.1, ClockSource.SENDER_REPORT), 150 * HZ)
    assert mapping is not None
    assert mapping.decode_time == 100 * HZ


def test_what_says_nothing_new_is_not_written() -> None:
    clock = started()
    report = estimate(500_000, 1_001.9, ClockSource.SENDER_REPORT)
    assert clock.estimated(report, 60 * HZ) is not None
    assert clock.estimated(report, 61 * HZ) is None
    assert clock.estimated(estimate(500_000, 1_001.9005, ClockSource.SENDER_REPORT), 62 * HZ) is None
    assert clock.estimated(estimate(500_000, 1_001.9, ClockSource.SENDER_REPORT, 1.0), 63 * HZ) is not None


def test_a_reset_begins_anew() -> None:
    clock = started()
    clock.estimated(estimate(500_000, 1_001.9, ClockSource.SENDER_REPORT), 60 * HZ)
    mapping = clock.anchored(Anchor(100 * HZ, 9, 1_111.0, reset=True))
    assert (mapping.decode_time, mapping.media_time_s, mapping.source) == (100 * HZ, 111.0, ClockSource.ARRIVAL)


def test_only_told_transitions_of_a_recording_can_happen() -> None:
    possible = 0
    for state, event in itertools.product(RecordingState, RecordingEvent):
        try:
            next_state(state, event)
        except ValueError:
            continue
        possible += 1
    assert possible == 11
    assert next_state(RecordingState.STORAGE_ERROR, RecordingEvent.STORAGE_ANSWERED) is RecordingState.RECORDING
    with pytest.raises(ValueError, match="cannot be"):
        next_state(RecordingState.COMPLETE, RecordingEvent.CLOSED)


def test_a_line_that_began_within_the_track_holds_from_there_whatever_its_source() -> None:
    """The sender stalled at 50 s of RTP time, which RTP time does not show; it is told at 54 s."""
    clock = started()
    clock.estimated(estimate(500_000, 1_001.9, ClockSource.SENDER_REPORT), 60)
    clock.estimated(estimate(500_000, 1_001.95, ClockSource.ARRIVAL), 52 * HZ)
    since = 500_000 + 50 * HZ
    stalled = RtpClockMapping(since + 4 * HZ, 1_073.9, 0.0, 5.0, ClockSource.ARRIVAL, since)
    mapping = clock.estimated(stalled, 54 * HZ)
    assert mapping is not None
    assert mapping.decode_time == 50 * HZ
    assert mapping.media_time_s == pytest.approx(69.9)
    better = RtpClockMapping(since + 40 * HZ, 1_109.8, 0.0, 5.0, ClockSource.SENDER_REPORT, since)
    mapping = clock.estimated(better, 90 * HZ)
    assert mapping is not None
    assert mapping.decode_time == 50 * HZ
    assert mapping.media_time_s == pytest.approx(69.8)

"""RTP time to recording time: offsets, sender clocks, and audio beside video."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.rtp.clock_mapping import ClockMapper, ClockSource, RtpClockMapping
from media.rtp.minimum_offset import MinimumOffset, NtpOffset
from media.rtp.sender_clock import SenderClock

START = 1_700_000_000.0
# The sender's wall clock is 37 s behind; its RTP clocks start anywhere.
NTP_SKEW_S = -37.0


class Track:
    """A sender's track: frames captured on its clock, arriving after `delay_s` plus queueing."""

    def __init__(self, offset: NtpOffset, clock_rate: int, rtp_base: int, *, drift_ppm: float = 0.0) -> None:
        self.mapper = ClockMapper(clock_rate, offset)
        self.clock_rate = clock_rate
        self.rtp_base = rtp_base
        self.drift = drift_ppm * 1e-6

    def rtp(self, captured: float) -> int:
        return self.rtp_base + round((captured - START) * self.clock_rate * (1 - self.drift))

    def frame(self, captured: float, delay_s: float) -> None:
        self.mapper.observe_frame(self.rtp(captured), captured + delay_s)

    def report(self, at: float, ntp_error_s: float = 0.0) -> bool:
        return self.mapper.observe_sender_report(self.rtp(at), at + NTP_SKEW_S + ntp_error_s)

    def mapping(self) -> RtpClockMapping:
        mapping = self.mapper.mapping()
        assert mapping is not None
        return mapping

    def unix_time(self, captured: float) -> float:
        return self.mapping().unix_time(self.rtp(captured), self.clock_rate)


def test_the_least_delayed_packet_counts() -> None:
    offset = MinimumOffset()
    noise = random.Random(1)
    assert offset.offset_s is None
    for index in range(500):
        offset.observe(5 + noise.expovariate(20), START + index / 50)
    assert offset.offset_s == pytest.approx(5, abs=0.006)
    assert offset.uncertainty_s < 0.01


def test_a_burst_at_the_start_does_not_anchor() -> None:
    """Ten frames queued up for a second arrive at once; the next ones come as they should."""
    offset = MinimumOffset()
    for index in range(10):
        offset.observe(6 - 0.1 * index, START)
    for index in range(20):
        offset.observe(5.02, START + 0.1 + index / 10)
    assert offset.offset_s == pytest.approx(5.02)


def test_once_settled_the_offset_is_slewed() -> None:
    offset = MinimumOffset()
    for index in range(200):
        offset.observe(5, START + index / 20)
    last = offset.offset_s
    assert last == 5
    for index in range(200):
        offset.observe(4.9, START + 10 + index / 20)
        assert offset.offset_s is not None
        assert last is not None
        assert 0 <= last - offset.offset_s <= 0.005
        last = offset.offset_s
    assert offset.offset_s == pytest.approx(4.95, abs=0.004)


def test_a_difference_within_5_ms_is_left_alone() -> None:
    offset = MinimumOffset()
    for index in range(200):
        offset.observe(5, START + index / 20)
    for index in range(200):
        offset.observe(4.996, START + 10 + index / 20)
    assert offset.offset_s == 5


def test_a_step_of_over_half_a_second_is_taken_at_once() -> None:
    offset = MinimumOffset()
    for index in range(200):
        offset.observe(5, START + index / 20)
    offset.observe(4.4, START + 11)
    assert offset.offset_s == 4.4


def test_the_window_follows_clocks_that_drift_apart() -> None:
    offset = MinimumOffset(window_s=10)
    for index in range(6000):
        offset.observe(5 + index / 10 * 100e-6, START + index / 10)
    assert offset.offset_s == pytest.approx(5 + 600 * 100e-6, abs=0.007)


def test_a_sender_clock_works_from_its_first_report_and_says_how_well() -> None:
    clock = SenderClock(48_000)
    assert not clock.ready
    assert clock.ntp_time(0) is None
    uncertainties = [clock.uncertainty_s]
    for index in range(4):
        assert clock.observe(48_000 * index, START + index)
        assert clock.ntp_time(48_000 * 10) == pytest.approx(START + 10, abs=1e-6)
        uncertainties.append(clock.uncertainty_s)
    assert uncertainties == sorted(uncertainties, reverse=True)
    assert uncertainties[0] == float("inf")
    assert 0.005 <= uncertainties[1] <= 0.010
    assert uncertainties[4] <= 0.0005


@pytest.mark.parametrize("second_is_late_by_s", [0.07, -0.07])
def test_of_early_reports_that_contradict_each_other_the_earlier_time_is_right(second_is_late_by_s: float) -> None:
    """A sender that was late with its media has counted too little RTP time when it reports."""
    clock = SenderClock(48_000)
    clock.observe(0, START)
    clock.observe(48_000 * 3, START + 3 + second_is_late_by_s)
    assert clock.ntp_time(48_000 * 6) == pytest.approx(START + 6 + min(0.0, second_is_late_by_s), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.floats(-300, 300), st.sampled_from([48_000, 90_000]), st.integers(0, 2**40))
def test_the_drift_of_a_sender_is_found(drift_ppm: float, clock_rate: int, base: int) -> None:
    clock = SenderClock(clock_rate)
    noise = random.Random(2)
    for index in range(20):
        elapsed = 3.0 * index
        ntp_time = START + elapsed * (1 + drift_ppm * 1e-6) + noise.gauss(0, 50e-6)
        clock.observe(base + round(elapsed * clock_rate), ntp_time)
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=5)
    assert clock.uncertainty_s < 200e-6


def test_a_slope_that_is_not_known_well_stays_nominal() -> None:
    clock = SenderClock(48_000)
    noise = random.Random(3)
    for index in range(5):
        clock.observe(48_000 * index, START + index + noise.gauss(0, 0.002))
    assert clock.drift_ppm == 0
    assert clock.ntp_time(48_000 * 4) == pytest.approx(START + 4, abs=0.005)


def test_outliers_are_set_aside_and_five_in_a_row_build_anew() -> None:
    clock = SenderClock(48_000)
    for index in range(10):
        assert clock.observe(48_000 * index, START + index)
    assert not clock.observe(48_000 * 10, START + 10.3)
    assert clock.observe(48_000 * 11, START + 11)
    assert clock.ntp_time(48_000 * 12) == pytest.approx(START + 12, abs=1e-5)
    for index in range(12, 16):
        assert not clock.observe(48_000 * index, START + index + 18)
    assert clock.ntp_time(48_000 * 16) == pytest.approx(START + 16, abs=1e-5)
    assert clock.observe(48_000 * 16, START + 16 + 18)
    assert clock.ntp_time(48_000 * 17) == pytest.approx(START + 17 + 18, abs=1e-5)


def test_an_error_below_100_us_is_no_outlier() -> None:
    clock = SenderClock(48_000)
    for index in range(10):
        assert clock.observe(48_000 * index, START + index)
    assert clock.observe(48_000 * 10, START + 10 + 0.0003)


def run(track: Track, seconds: float, delay_s: float, start: float = START, interval: float = 0.02) -> None:
    """Frames with up to 30 ms of queueing; the first one of each second has none."""
    noise = random.Random(4)
    per_second = round(1 / interval)
    for index in range(round(seconds / interval)):
        queueing = 0.0 if index % per_second == 0 else 0.03 * noise.random()
        track.frame(start + index * interval, delay_s + queueing)


def test_before_any_report_arrival_places_the_track() -> None:
    track = Track(NtpOffset(), 48_000, 10**9)
    assert track.mapper.mapping() is None
    run(track, 0.1, 0.08)
    assert track.mapping().uncertainty_ms >= 50
    run(track, 5, 0.05)
    mapping = track.mapping()
    assert mapping.source is ClockSource.ARRIVAL
    assert mapping.drift_ppm == 0
    assert track.unix_time(START + 5) == pytest.approx(START + 5.05, abs=0.006)
    assert mapping.uncertainty_ms < 10


def test_with_sender_reports_audio_and_video_share_one_offset() -> None:
    """Video takes 120 ms longer on its way (encoder, pacer); lip sync must not show it."""
    offset = NtpOffset()
    audio = Track(offset, 48_000, 10**9)
    video = Track(offset, 90_000, 5 * 10**9)
    for second in range(6):
        at = START + second
        run(audio, 1, 0.05, at)
        run(video, 1, 0.17, at, 0.04)
        audio.report(at + 0.3)
        video.report(at + 0.7)
    assert audio.mapping().source is ClockSource.SENDER_REPORT
    assert video.mapping().source is ClockSource.SENDER_REPORT
    spoken = START + 7
    assert audio.unix_time(spoken) == pytest.approx(video.unix_time(spoken), abs=0.0055)
    assert audio.unix_time(spoken) == pytest.approx(spoken + 0.05, abs=0.006)
    assert video.mapping().uncertainty_ms < 1


def test_a_mapping_is_the_same_object_while_it_is_right() -> None:
    offset = NtpOffset()
    audio = Track(offset, 48_000, 0)
    for second in range(20):
        run(audio, 1, 0.05, START + second)
        audio.report(START + second + 0.5)
    first = audio.mapping()
    for second in range(20, 40):
        run(audio, 1, 0.052, START + second)
        audio.report(START + second + 0.5)
    assert audio.mapping() is first


def test_a_drifting_sender_stays_placed_for_an_hour() -> None:
    audio = Track(NtpOffset(), 48_000, 0, drift_ppm=80)
    for index in range(1200):
        at = START + 3 * index
        for step in range(5):
            audio.frame(at + step / 5, 0.05)
        audio.report(at + 2.5)
    end = START + 3600
    assert audio.mapping().drift_ppm == pytest.approx(80, abs=5)
    assert audio.unix_time(end) == pytest.approx(end + 0.05, abs=0.011)


def test_reports_that_are_off_by_half_a_second_are_not_believed() -> None:
    offset = NtpOffset()
    audio, video = Track(offset, 48_000, 0), Track(offset, 90_000, 0)
    for second in range(12):
        at = START + second
        run(audio, 1, 0.05, at)
        run(video, 1, 0.08, at, 0.04)
        audio.report(at + 0.5)
        video.report(at + 0.5, ntp_error_s=-0.7)
    assert audio.mapping().source is ClockSource.SENDER_REPORT
    assert video.mapping().source is ClockSource.ARRIVAL
    assert video.unix_time(START + 12) == pytest.approx(START + 12.08, abs=0.006)


def test_a_stall_that_rtp_time_does_not_show_is_seen_by_arrival_and_reports() -> None:
    """The sender stalled 18 s and its RTP time goes on as if nothing had been."""
    audio = Track(NtpOffset(), 48_000, 0)
    for second in range(10):
        run(audio, 1, 0.05, START + second)
        audio.report(START + second + 0.5)
    audio.rtp_base -= 18 * 48_000
    for second in range(28, 45):
        run(audio, 1, 0.05, START + second)
        audio.report(START + second + 0.5)
    assert audio.mapping().source is ClockSource.SENDER_REPORT
    assert audio.unix_time(START + 45) == pytest.approx(START + 45.05, abs=0.01)


def test_a_sender_whose_wall_clock_is_set_back_heals() -> None:
    audio = Track(NtpOffset(), 48_000, 0)
    for second in range(10):
        run(audio, 1, 0.05, START + second)
        audio.report(START + second + 0.5)
    for second in range(10, 90):
        run(audio, 1, 0.05, START + second, 0.1)
        audio.report(START + second + 0.5, ntp_error_s=-3600)
        assert audio.unix_time(START + second) == pytest.approx(START + second + 0.05, abs=0.04)
    assert audio.mapping().source is ClockSource.SENDER_REPORT


def test_capture_times_win_over_reports() -> None:
    audio = Track(NtpOffset(), 48_000, 0)
    for index in range(500):
        captured = START + index / 50
        audio.frame(captured, 0.05)
        # Reports know when frames were sent, 30 ms later than captured.
        audio.mapper.observe_capture_time(audio.rtp(captured), captured + NTP_SKEW_S, captured + 0.05)
        if index % 50 == 0:
            audio.report(captured, ntp_error_s=0.03)
    mapping = audio.mapping()
    assert mapping.source is ClockSource.ABS_CAPTURE_TIME
    assert audio.unix_time(START + 10) == pytest.approx(START + 10.05, abs=0.006)


def test_after_a_reset_nothing_old_counts() -> None:
    audio = Track(NtpOffset(), 48_000, 0)
    for second in range(6):
        run(audio, 1, 0.05, START + second)
        audio.report(START + second + 0.5)
    audio.mapper.reset()
    assert audio.mapper.mapping() is None
    audio.rtp_base += 10**8
    run(audio, 3, 0.05, START + 6)
    assert audio.mapping().source is ClockSource.ARRIVAL
    assert audio.unix_time(START + 9) == pytest.approx(START + 9.05, abs=0.006)


def test_a_cleared_offset_starts_over() -> None:
    offset = MinimumOffset()
    for index in range(200):
        offset.observe(5, START + index / 20)
    offset.clear()
    assert offset.offset_s is None
    offset.observe(5.1, START + 11)
    assert offset.offset_s == 5.1


def test_a_line_with_drift_goes_through_its_points() -> None:
    clock = SenderClock(48_000)
    for index in range(20):
        clock.observe(144_000 * index, START + 3 * index * (1 + 200e-6))
    assert clock.ntp_time(0) == pytest.approx(START, abs=1e-5)
    assert clock.ntp_time(144_000 * 19) == pytest.approx(START + 57 * (1 + 200e-6), abs=1e-5)
    assert clock.ntp_time(144_000 * 200) == pytest.approx(START + 600 * (1 + 200e-6), abs=1e-4)


def test_a_mapping_is_a_line_with_drift() -> None:
    mapping = RtpClockMapping(1000, START, 100.0, 1.0, ClockSource.SENDER_REPORT)
    assert mapping.unix_time(1000, 48_000) == START
    assert mapping.unix_time(1000 + 48_000 * 100, 48_000) == pytest.approx(START + 100.01, abs=1e-5)
    assert mapping.unix_time(1000 - 48_000 * 100, 48_000) == pytest.approx(START - 100.01, abs=1e-5)


def test_a_late_frame_does_not_spoil_a_clock_that_just_got_ready() -> None:
    audio = Track(NtpOffset(), 48_000, 0)
    run(audio, 5, 0.05)
    for second in range(4):
        audio.report(START + second)
    audio.frame(START + 5, 0.05 + 0.2)
    assert audio.mapping().source is ClockSource.SENDER_REPORT
    assert audio.unix_time(START + 5) == pytest.approx(START + 5.05, abs=0.006)


def test_capture_times_of_every_frame_still_show_the_drift() -> None:
    audio = Track(NtpOffset(), 48_000, 0, drift_ppm=150)
    noise = random.Random(5)
    for index in range(1500):
        captured = START + index / 50
        audio.frame(captured, 0.05)
        ntp_time = captured + NTP_SKEW_S + noise.gauss(0, 100e-6)
        audio.mapper.observe_capture_time(audio.rtp(captured), ntp_time, captured + 0.05)
    assert audio.mapping().drift_ppm == pytest.approx(150, abs=20)

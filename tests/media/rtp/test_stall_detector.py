"""A stall against a queue: what sender reports and arrival say together."""

from media.rtp.stall_detector import Stall, StallDetector

USUAL_S = 5.0


def late(detector: StallDetector, by_s: float, start: float, seconds: float) -> Stall | None:
    """Frames every 100 ms that are `by_s` late; RTP timestamps are tenths of seconds."""
    for index in range(round(seconds * 10)):
        now = start + index / 10
        if stall := detector.observe_frame(round(now * 10), USUAL_S + by_s, USUAL_S, now):
            return stall
    return None


def test_frames_on_time_or_a_little_late_are_no_stall() -> None:
    detector = StallDetector()
    assert late(detector, 0.0, 0.0, 10) is None
    assert late(detector, 0.45, 10.0, 10) is None
    assert not detector.late


def test_a_report_that_shows_as_much_time_decides_at_once() -> None:
    detector = StallDetector()
    assert detector.observe_sender_report(18.0, USUAL_S) is None
    assert late(detector, 18.0, 30.0, 0.5) is None
    assert detector.late
    assert detector.observe_sender_report(18.1, USUAL_S) == Stall(300, USUAL_S + 18.0)
    assert not detector.late


def test_without_a_report_arrival_decides_after_four_seconds() -> None:
    detector = StallDetector()
    assert late(detector, 2.0, 30.0, 4.0) is None
    assert late(detector, 2.0, 34.0, 0.2) == Stall(300, USUAL_S + 2.0)


def test_a_report_that_shows_no_stall_means_a_queue() -> None:
    detector = StallDetector()
    late(detector, 0.8, 30.0, 1.0)
    assert detector.observe_sender_report(0.01, USUAL_S) is None
    assert late(detector, 0.8, 31.0, 20.0) is None
    assert late(detector, 0.1, 51.0, 0.1) is None
    assert not detector.late


def test_a_queue_that_lasts_half_a_minute_is_none() -> None:
    detector = StallDetector()
    late(detector, 0.8, 30.0, 1.0)
    detector.observe_sender_report(0.0, USUAL_S)
    assert late(detector, 0.8, 31.0, 30.0) == Stall(300, USUAL_S + 0.8)


def test_a_report_that_fits_neither_decides_nothing() -> None:
    detector = StallDetector()
    late(detector, 2.0, 30.0, 1.0)
    assert detector.observe_sender_report(1.0, USUAL_S) is None
    assert detector.late

"""Queueing delay from abs-send-time, over wraps, drift, longer routes and clocks that are set."""

import pytest

from media.rtp.queueing_delay import QueueingDelay

FRACTION = 1 << 18


def sent_at(seconds: float) -> int:
    return round(seconds * FRACTION) % (1 << 24)


def test_the_least_transit_counts_as_no_queue() -> None:
    delay = QueueingDelay()
    assert delay.observe(sent_at(10.0), 1000.0) == 0
    assert delay.observe(sent_at(10.1), 1000.15) == pytest.approx(0.05, abs=1e-4)
    assert delay.observe(sent_at(10.2), 1000.18) == 0
    assert delay.observe(sent_at(10.3), 1000.3) == pytest.approx(0.02, abs=1e-4)


def test_the_senders_clock_wraps_every_64_seconds() -> None:
    delay = QueueingDelay()
    for step in range(200):
        assert delay.observe(sent_at(60 + step), 5000.0 + step) == pytest.approx(0, abs=1e-4)


def test_packets_out_of_order_are_no_clock_that_was_set() -> None:
    delay = QueueingDelay()
    delay.observe(sent_at(63.99), 100.0)
    assert delay.observe(sent_at(64.01), 100.05) == pytest.approx(0.03, abs=1e-4)
    assert delay.observe(sent_at(64.0), 100.06) == pytest.approx(0.05, abs=1e-4)


def test_a_clock_that_drifts_by_200_ppm_is_followed() -> None:
    delay = QueueingDelay()
    for step in range(6000):
        at = step * 0.1
        assert delay.observe(sent_at(at), at * 1.0002) < 0.01


def test_a_longer_route_is_a_queue_for_half_a_minute_only() -> None:
    delay = QueueingDelay()
    for step in range(100):
        delay.observe(sent_at(step), step)
    assert delay.observe(sent_at(100), 100.05) == pytest.approx(0.05, abs=1e-4)
    seen = [delay.observe(sent_at(100 + step), 100.05 + step) for step in range(1, 40)]
    assert seen[-1] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("change", [-20.0, 20.0])
def test_a_clock_that_was_set_starts_anew(change: float) -> None:
    delay = QueueingDelay()
    for step in range(20):
        delay.observe(sent_at(30 + step / 50), step / 50)
    assert delay.observe(sent_at(30.4 + change), 0.4) == pytest.approx(0, abs=1e-4)
    assert delay.observe(sent_at(30.42 + change), 0.45) == pytest.approx(0.03, abs=1e-4)


@pytest.mark.parametrize("silent_s", [20.0, 31.0, 40.0, 63.7, 70.0, 90.0, 130.0, 600.0])
def test_after_a_silence_of_any_length_there_is_no_queue(silent_s: float) -> None:
    delay = QueueingDelay()
    for step in range(100):
        delay.observe(sent_at(step * 0.1), 1000 + step * 0.1)
    for step in range(100):
        at = 10 + silent_s + step * 0.1
        assert delay.observe(sent_at(at), 1000 + at) == pytest.approx(0, abs=1e-4)
    at = 20 + silent_s
    assert delay.observe(sent_at(at), 1000.2 + at) == pytest.approx(0.2, abs=1e-4), "one that comes then is seen"

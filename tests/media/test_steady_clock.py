"""The steady clock: Unix time that does not follow the wall clock's steps."""

import time

import pytest

from media.clock import SteadyClock


def test_it_starts_at_the_wall_clock_and_never_goes_back() -> None:
    clock = SteadyClock()
    assert clock.now() == pytest.approx(time.time(), abs=5)
    readings = [clock.now() for _ in range(1000)]
    assert readings == sorted(readings)


def test_a_step_of_the_wall_clock_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SteadyClock()
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now() >= before

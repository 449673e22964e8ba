"""When a probe from this end begins, how much it has sent, and what ends it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.capacity_probe import (
    BACKOFF,
    FACTOR,
    INTERVAL_S,
    LENGTH_S,
    MAX_INTERVAL_S,
    STOP_DELAY_S,
    WANTED_FACTOR,
    WORTH_FACTOR,
    CapacityProbe,
    Way,
)

STEP_S = 0.02
NARROW = Way(
    limit_bps=850_000.0,
    full_bps=1_000_000.0,
    rate_bps=450_000.0,
    delay_s=0.0,
    falling=False,
    probed=False,
    loses=False,
    proving=False,
)
PROVING = replace(NARROW, proving=True)
KNOWN_S = 0.5  # after the last was asked for
WANTED_BPS = 1_700_000.0


class Steps:
    """A probe stepped in time, and when it began to ask."""

    def __init__(self) -> None:
        self.probe = CapacityProbe()
        self.now = 0.0
        self.begun: list[float] = []
        self.asked: list[float] = []

    def run(
        self, seconds: float, way: Way, wanted_bps: float = WANTED_BPS, repeatable_octets: float = math.inf
    ) -> list[float]:
        """What is asked for meanwhile, above nothing."""
        asked = []
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now += STEP_S
            more = self.probe.step(self.now, way, wanted_bps, repeatable_octets)
            if more and not (self.asked and self.asked[-1]):
                self.begun.append(self.now)
            self.asked.append(more)
            asked += [more] if more else []
        return asked


@pytest.mark.parametrize(
    ("way", "wanted_bps"),
    [
        (replace(NARROW, limit_bps=None), WANTED_BPS),
        (replace(NARROW, falling=True), WANTED_BPS),
        (replace(NARROW, probed=True), WANTED_BPS),
        (replace(NARROW, loses=True), WANTED_BPS),
        (replace(NARROW, delay_s=0.02), WANTED_BPS),
        (NARROW, 0.0),
        (NARROW, 770_000.0),
    ],
    ids=["no limit known", "it falls", "the server probes", "it loses", "a queue", "nothing wanted", "enough known"],
)
def test_nothing_is_asked_for(way: Way, wanted_bps: float) -> None:
    assert Steps().run(30, way, wanted_bps) == []


def test_what_comes_and_what_is_asked_for_are_a_step_above_what_is_known_for_a_moment() -> None:
    steps = Steps()
    asked = steps.run(LENGTH_S + KNOWN_S, PROVING)
    assert set(asked) == {FACTOR * 1_000_000.0 - 450_000.0}
    assert len(asked) == pytest.approx(LENGTH_S / STEP_S, abs=1)


def test_no_more_is_tried_than_would_be_taken() -> None:
    (asked,) = set(Steps().run(1, NARROW, 900_000.0))
    assert asked == pytest.approx(WANTED_FACTOR * 900_000.0 - 450_000.0)


def test_a_queue_ends_it_at_once_and_the_next_waits_longer_each_time() -> None:
    steps = Steps()
    queue = replace(NARROW, delay_s=STOP_DELAY_S + 0.001)
    for _ in range(6):
        while not steps.asked or not steps.asked[-1]:
            steps.run(STEP_S, NARROW)
        assert steps.run(1.0, queue) == []
    waits = [later - at for at, later in zip(steps.begun, steps.begun[1:], strict=False)]
    expected = [INTERVAL_S, INTERVAL_S * BACKOFF, INTERVAL_S * BACKOFF**2, *[MAX_INTERVAL_S] * 2]
    assert waits == pytest.approx(expected, abs=0.1)


def test_loss_ends_it_too() -> None:
    steps = Steps()
    steps.run(0.1, NARROW)
    assert steps.run(1.0, replace(NARROW, loses=True)) == []


@pytest.mark.parametrize("known_s", [0.1, KNOWN_S, 2.0])
def test_the_next_follows_as_soon_as_it_is_known_to_have_been_proof(known_s: float) -> None:
    steps = Steps()
    assert steps.run(LENGTH_S + known_s, PROVING)
    steps.run(1.0, replace(NARROW, limit_bps=1_400_000.0))
    assert steps.begun[1] - steps.begun[0] == pytest.approx(LENGTH_S + known_s, abs=0.05)


def test_one_that_proved_nothing_waits() -> None:
    steps = Steps()
    steps.run(LENGTH_S + KNOWN_S, PROVING)
    steps.run(6.0, NARROW)
    assert steps.begun[1] - steps.begun[0] == pytest.approx(LENGTH_S + KNOWN_S + INTERVAL_S, abs=0.05)


def test_what_failed_on_a_narrower_way_makes_nobody_wait_once_the_server_has_proved_a_wider_one() -> None:
    steps = Steps()
    for _ in range(3):
        while not steps.asked or not steps.asked[-1]:
            steps.run(STEP_S, NARROW)
        steps.run(1.0, replace(NARROW, delay_s=2 * STOP_DELAY_S))
    assert steps.run(1.0, replace(NARROW, limit_bps=1.09 * 850_000.0)) == []
    assert steps.run(0.1, replace(NARROW, limit_bps=1.11 * 850_000.0)) != []


def test_a_queue_behind_it_may_be_of_what_the_server_sends_by_now_and_what_it_proved_counts() -> None:
    steps = Steps()
    steps.run(LENGTH_S + 0.1, PROVING)
    assert steps.run(0.3, replace(PROVING, delay_s=2 * STOP_DELAY_S)) == []
    assert steps.run(0.3, replace(NARROW, limit_bps=1_400_000.0)) != [], "the next at once"


def test_one_waits_until_there_is_enough_to_send_again_to_prove_something_and_then_asks_for_that() -> None:
    known, rate = 850_000.0, 450_000.0
    enough = (WORTH_FACTOR * known - rate) * LENGTH_S / 8
    steps = Steps()
    assert steps.run(20.0, NARROW, repeatable_octets=0.99 * enough) == [], "it would prove nothing"
    (asked,) = set(steps.run(LENGTH_S, NARROW, repeatable_octets=1.01 * enough))
    assert asked == pytest.approx(1.01 * enough * 8 / LENGTH_S)
    assert asked < FACTOR * 1_000_000.0 - rate


def test_waiting_for_what_can_be_sent_again_counts_for_no_failure() -> None:
    steps = Steps()
    steps.run(20.0, NARROW, repeatable_octets=0.0)
    steps.run(6.0, NARROW)
    assert steps.begun[0] == pytest.approx(20.0, abs=0.05)
    assert steps.begun[1] - steps.begun[0] == pytest.approx(LENGTH_S + INTERVAL_S, abs=0.05)


def test_an_estimate_that_falls_ends_it_and_it_begins_anew_soon() -> None:
    steps = Steps()
    steps.run(0.1, NARROW)
    assert steps.run(3.0, replace(NARROW, falling=True)) == []
    assert steps.run(0.4, NARROW) == []
    assert steps.run(0.4, NARROW) != []


@given(
    st.lists(
        st.builds(
            Way,
            limit_bps=st.none() | st.floats(5e4, 1e8),
            full_bps=st.floats(0, 1e8),
            rate_bps=st.floats(0, 1e8),
            delay_s=st.floats(0, 1),
            falling=st.booleans(),
            probed=st.booleans(),
            loses=st.booleans(),
            proving=st.booleans(),
        ),
        max_size=60,
    ),
    st.floats(0, 1e8),
    st.floats(0, 1e6),
)
def test_it_never_asks_for_less_than_nothing_nor_for_more_than_is_wanted_or_there(
    ways: list[Way], wanted_bps: float, repeatable_octets: float
) -> None:
    probe = CapacityProbe()
    for step, way in enumerate(ways):
        more_bps = probe.step(step * 0.1, way, wanted_bps, repeatable_octets)
        assert 0.0 <= more_bps <= WANTED_FACTOR * wanted_bps
        assert more_bps * LENGTH_S / 8 <= repeatable_octets * (1 + 1e-9)

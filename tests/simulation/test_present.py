"""Somebody who knows what a link carries now, by one policy and by the best of many."""

from functools import partial
from itertools import pairwise

import pytest

from quality.stats import VideoQuality
from tests.simulation.baselines import AlwaysHigh
from tests.simulation.links import constant
from tests.simulation.optimum import capacities
from tests.simulation.present import MOST_SWITCHES, POLICIES, KnowsPresent, Policy, best_of_present
from tests.simulation.rooms import THREE
from tests.simulation.run import run
from tests.simulation.world import EPOCH

LINK = constant(1.1e6, 60)
WIDE_BPS, NARROW_BPS = 4e6, 0.9e6


def asked(links_bps: list[float], policy: Policy) -> list[dict[str, VideoQuality | None]]:
    """What is asked for after each second of such a link."""
    knows = KnowsPresent(THREE, links_bps, policy)
    found = []
    for second in range(1, len(links_bps) + 1):
        knows.decide((), EPOCH + second)
        found.append(dict(knows.asked))
    return found


def test_it_asks_for_less_in_the_second_that_is_narrow_and_for_more_after_some_that_are_wide() -> None:
    seconds = asked([WIDE_BPS, NARROW_BPS, *[WIDE_BPS] * 5], Policy(0.9, raise_s=3))
    assert seconds[0] == {}, "all fits: what the server gives by itself"
    assert all(quality is not VideoQuality.HIGH for quality in seconds[1].values())
    assert seconds[2] == seconds[3] == seconds[1]
    assert VideoQuality.HIGH in seconds[4].values()


@pytest.mark.parametrize(("margin", "lowered"), [(0.9, True), (3.0, False)])
def test_the_margin_is_of_what_the_link_carries(margin: float, lowered: bool) -> None:
    assert bool(asked([NARROW_BPS], Policy(margin, raise_s=1))[0]) is lowered


def test_nothing_is_asked_for_more_than_six_times_a_minute() -> None:
    swinging = [WIDE_BPS, NARROW_BPS] * 25
    seconds = asked(swinging, Policy(0.9, raise_s=1))
    changes = [sum(one.get(sid) != other.get(sid) for one, other in pairwise(seconds)) for sid in seconds[-1]]
    assert max(changes) == MOST_SWITCHES - 1, "the last is kept for a way down"


def test_the_best_policy_is_no_worse_than_any_and_than_the_server_alone() -> None:
    best = sum(best_of_present(LINK, THREE, 100).utilities)
    known = capacities(LINK)
    for policy in (POLICIES[0], POLICIES[-1], Policy()):
        assert best >= sum(run(LINK, THREE, partial(KnowsPresent, capacities_bps=known, policy=policy), 100).utilities)
    assert best > sum(run(LINK, THREE, AlwaysHigh, 100).utilities)


def test_policies_are_all_of_them_different_and_one_is_the_usual() -> None:
    assert len(set(POLICIES)) == len(POLICIES) == 24
    assert Policy() in POLICIES


def test_a_link_that_carries_all_leaves_nothing_to_choose() -> None:
    wide = constant(6e6, 20)
    assert best_of_present(wide, THREE, 100).utilities == run(wide, THREE, AlwaysHigh, 100).utilities

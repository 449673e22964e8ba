"""What a second's packets say: bits behind first packets, and jitter told apart by frames of unlike size."""

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.trains import LEAST_LEFT, NO_JITTER, NO_TRAIN, Jitter, Train, train
from quality.window import Window
from tests.quality.controller_room import HIGH, LOW, window

LARGE, SMALL = 49_000.0, 15_000.0  # bits behind the first packet of a frame, of 720 and of 360 lines


def test_a_train_is_what_came_behind_the_first_packets_in_the_time_that_it_took() -> None:
    seen = replace(window("TR_a", HIGH), packets=200, frames=20, bytes=188_000, frames_assembled=18, assembly_s=0.4)
    assert train(seen) == Train(180 * (940 + 60) * 8, 0.4, 18)


@pytest.mark.parametrize(
    "seen",
    [
        replace(window("TR_a", LOW), packets=20, frames=20, frames_assembled=0),
        replace(window("TR_a", LOW), packets=20, frames=20, frames_assembled=2, assembly_s=0.1),
        replace(window("TR_a", LOW), packets=0, frames=0),
    ],
    ids=["one packet a frame", "no more packets than frames", "nothing came"],
)
def test_frames_of_one_packet_tell_nothing(seen: Window) -> None:
    assert train(seen) is NO_TRAIN


def came(bps: float, jitter_s: float, *sizes: float) -> Jitter:
    """What a second says of videos whose frames have those bits behind their first packets."""
    return NO_JITTER.after(seconds_of(bps, jitter_s, sizes))


def seconds_of(
    bps: float, jitter_s: float, sizes: tuple[float, ...], frames: int = 20, deviations: tuple[float, ...] = ()
) -> tuple[Train, ...]:
    each = deviations or (1.0,) * len(sizes)
    return tuple(
        Train(frames * size, frames * (size / bps * own + jitter_s), frames)
        for size, own in zip(sizes, each, strict=True)
    )


@given(st.floats(5e5, 2e7), st.floats(0.0, 0.05), st.floats(5_000, 30_000), st.floats(1.6, 10.0))
def test_jitter_is_found_whatever_the_way_carries(bps: float, jitter_s: float, size: float, times: float) -> None:
    found = came(bps, jitter_s, size, times * size)
    assert found.weighted_s / found.precision == pytest.approx(jitter_s, abs=1e-6)


ANY_TRAIN = st.builds(Train, st.floats(0.0, 1e8), st.floats(0.0, 1e4), st.integers(0, 1000))


@given(st.lists(st.tuples(ANY_TRAIN, ANY_TRAIN, ANY_TRAIN), max_size=20))
def test_whatever_comes_no_frame_is_held_to_have_come_in_less_than_no_time(seconds: list[tuple[Train, ...]]) -> None:
    jitter = NO_JITTER
    for trains in seconds:
        jitter = jitter.after(trains)
        assert math.isfinite(jitter.seconds)
        assert jitter.seconds >= 0.0
        assert all(0.0 <= item.without(jitter.seconds).seconds <= item.seconds for item in trains)


def test_where_seconds_vary_it_is_found_over_time_and_the_rate_without_it() -> None:
    random, jitter = Random(7), NO_JITTER
    for _ in range(60):
        deviations = tuple(random.gauss(1.0, 0.15) for _ in range(3))
        jitter = jitter.after(seconds_of(4e6, 0.005, (LARGE, SMALL, SMALL), deviations=deviations))
    assert 0.003 < jitter.seconds < 0.005
    seen = Train(20 * SMALL, 20 * (SMALL / 4e6 + 0.005), 20)
    assert seen.bits / seen.seconds < 1.8e6, "looks narrow"
    rest = seen.without(jitter.seconds)
    assert 2.4e6 < rest.bits / rest.seconds < 4e6


def test_one_look_is_not_enough_to_believe_in_a_jitter_that_may_be_none() -> None:
    assert came(1e6, 0.0, LARGE, SMALL).seconds == 0.0
    assert came(1e6, 0.003, LARGE, SMALL).seconds == 0.0, "less than what a second may err by"


def test_a_bucket_of_tokens_lets_frames_come_sooner_which_is_no_jitter() -> None:
    assert came(4e6, -0.003, LARGE, SMALL).seconds == 0.0


@pytest.mark.parametrize(
    "trains",
    [
        (),
        seconds_of(4e6, 0.005, (LARGE,)),
        seconds_of(4e6, 0.005, (LARGE, LARGE * 1.2)),
        (*seconds_of(4e6, 0.005, (LARGE,)), NO_TRAIN),
        (*seconds_of(4e6, 0.005, (LARGE,)), *seconds_of(4e6, 0.005, (SMALL,), frames=2)),
        (*seconds_of(4e6, 0.005, (LARGE,)), Train(0.0, 0.1, 20)),
    ],
    ids=["nothing came", "one video", "frames alike", "frames of one packet", "two frames", "no bits"],
)
def test_what_does_not_tell_it_apart_teaches_nothing(trains: tuple[Train, ...]) -> None:
    known = came(4e6, 0.005, LARGE, SMALL)
    after = known.after(trains)
    assert after.weighted_s / after.precision == pytest.approx(known.weighted_s / known.precision)
    assert after.precision < known.precision, "and it is a second older"
    assert NO_JITTER.after(trains) == NO_JITTER


def test_it_is_forgotten_and_learned_anew() -> None:
    jitter = NO_JITTER
    for _ in range(60):
        jitter = jitter.after(seconds_of(4e6, 0.02, (LARGE, SMALL)))
    assert jitter.seconds > 0.015
    for _ in range(120):
        jitter = jitter.after(seconds_of(4e6, 0.0, (LARGE, SMALL)))
    assert jitter.seconds < 0.002


def test_frames_that_came_sooner_than_jitter_are_not_held_to_have_taken_no_time() -> None:
    assert Train(LARGE, 0.004, 1).without(0.02).seconds == pytest.approx(LEAST_LEFT * 0.004)
    assert NO_TRAIN.without(0.02) == NO_TRAIN

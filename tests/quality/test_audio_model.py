"""The E-model against values that the Recommendation gives, its directions, and burstiness from known chains."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.audio_model import (
    AudioPath,
    burst_ratio,
    codec_impairment,
    delay_impairment,
    judge,
    loss_dispersion,
    loss_impairment,
    one_way_delay_s,
)
from quality.window import Window
from tests.quality.traces import camera_window

delays = st.floats(0.0, 20.0)
ratios = st.floats(0.0, 1.0)
bursts = st.floats(1.0, 8.0)
bitrates = st.none() | st.floats(6_000.0, 510_000.0)
paths = st.builds(AudioPath, delays, ratios, bursts, bitrates, st.booleans(), st.booleans())


def test_a_line_of_defaults_has_the_rating_of_the_recommendation() -> None:
    """G.107 §7.7: with every parameter at its default, R = 93.2; Annex B makes that MOS 4.41."""
    score = judge(AudioPath())
    assert score.r == pytest.approx(93.2, abs=0.05)
    assert score.mos == pytest.approx(4.41, abs=0.005)
    assert score.reasons == ()


@pytest.mark.parametrize(
    ("one_way_ms", "impairment"),
    # Idd alone, from its formula with x = 0, 1, 2: 25 ((1+x^6)^(1/6) - 3 (1+(x/3)^6)^(1/6) + 2).
    [(100.0, 0.0), (200.0, 3.05), (400.0, 24.1)],
)
def test_long_delay_takes_what_the_formula_says_beside_echo(one_way_ms: float, impairment: float) -> None:
    without_echo = replace(AudioPath(), one_way_delay_s=one_way_ms / 1000)
    echo = delay_impairment(one_way_ms) - impairment
    assert 2.0 < echo < 9.0
    assert judge(without_echo).delay_points == pytest.approx(delay_impairment(one_way_ms))


@pytest.mark.parametrize(
    ("path", "low", "high"),
    [
        pytest.param(AudioPath(0.15), 89.0, 91.0, id="G.114's 150 ms: users very satisfied up to about here"),
        pytest.param(AudioPath(0.4), 58.0, 65.0, id="G.114's limit of 400 ms"),
        pytest.param(AudioPath(loss_ratio=0.01), 80.0, 86.0, id="1% at random"),
        pytest.param(AudioPath(loss_ratio=0.1), 40.0, 50.0, id="10% at random"),
        pytest.param(AudioPath(loss_ratio=0.1, burst_ratio=4.0), 10.0, 25.0, id="10% in bursts"),
        pytest.param(AudioPath(loss_ratio=0.1, red=True), 58.0, 66.0, id="10% with RED"),
        pytest.param(AudioPath(loss_ratio=0.1, fec=True), 52.0, 57.0, id="10% with FEC"),
        pytest.param(AudioPath(loss_ratio=0.1, red=True, fec=True), 67.0, 72.0, id="10% with both"),
        pytest.param(AudioPath(loss_ratio=1.0, burst_ratio=8.0), 0.0, 0.0, id="nothing arrives"),
    ],
)
def test_ratings_of_known_paths(path: AudioPath, low: float, high: float) -> None:
    assert low <= judge(path).r <= high


def test_reasons_say_what_costs_how_much() -> None:
    score = judge(AudioPath(one_way_delay_s=0.3, loss_ratio=0.02, burst_ratio=2.0, bitrate_bps=16_000))
    assert score.reasons == (
        "300 ms from mouth to ear: 21 points",
        "Opus at 16 kb/s: 20 points",
        "2.0% of packets lost in bursts (2.0 times as long as by chance): 14 points",
    )
    assert score.r == pytest.approx(93.355 - score.delay_points - score.codec_points - score.loss_points)


def test_codec_impairment_lies_between_published_bitrates() -> None:
    assert codec_impairment(40_000) == pytest.approx(10.67 / 1.48)
    assert codec_impairment(28_000) == pytest.approx((20.21 + 16.83) / 2 / 1.48)
    assert codec_impairment(6_000) == codec_impairment(14_000)
    assert codec_impairment(96_000) == 0.0
    assert codec_impairment(None) == 0.0


@pytest.mark.parametrize(
    ("kbps", "points"),
    [(14, 38.06), (16, 30.16), (19, 23.81), (25, 20.21), (31, 16.83), (40, 10.67), (64, 0.0)],
)
def test_opus_costs_what_was_published_for_each_bitrate(kbps: int, points: float) -> None:
    assert codec_impairment(1000 * kbps) == pytest.approx(points / 1.48)


def test_redundancy_makes_sound_twice_as_tough_and_fec_one_and_a_half_times() -> None:
    """Of losses so small that the formula is nearly straight."""
    plain, red, fec = (
        loss_impairment(replace(AudioPath(loss_ratio=1e-5), **how)) for how in ({}, {"red": True}, {"fec": True})
    )
    assert plain / red == pytest.approx(2.0, rel=1e-3)
    assert plain / fec == pytest.approx(1.5, rel=1e-3)


def test_one_way_delay_adds_halves_of_round_trips_and_what_endpoints_need() -> None:
    assert one_way_delay_s((0.05, 0.03), 0.06) == pytest.approx(0.04 + 0.06 + 0.0265)
    assert one_way_delay_s((), 0.0) == pytest.approx(0.0265)


ECHO_DIP_POINTS = 0.06  # below some ms G.107's formula of talker echo is not quite monotonic; no ear hears it


@given(paths, delays, ratios, bursts)
def test_no_worse_path_is_rated_better(path: AudioPath, delay_s: float, loss_ratio: float, bursty: float) -> None:
    better = judge(path)
    for worse in (
        replace(path, one_way_delay_s=max(path.one_way_delay_s, delay_s)),
        replace(path, loss_ratio=max(path.loss_ratio, loss_ratio)),
        replace(path, burst_ratio=max(path.burst_ratio, bursty)),
        replace(path, red=False),
        replace(path, fec=False),
    ):
        score = judge(worse)
        assert score.r <= better.r + ECHO_DIP_POINTS
        assert score.mos <= better.mos + ECHO_DIP_POINTS


@given(paths)
def test_any_path_stays_on_the_scale_and_lost_points_have_reasons(path: AudioPath) -> None:
    score = judge(path)
    assert 0.0 <= score.r <= 93.3
    assert 1.0 <= score.mos <= 4.5
    assert score.reasons or score.r > 90.0


def markov_windows(seed: int, loss_ratio: float, burstiness: float, seconds: int, packets: int = 50) -> list[Window]:
    """Losses of the two-state chain behind BurstR = 1/(p+q), a window a second."""
    random = Random(seed)
    lost_after_received = loss_ratio / burstiness
    received_after_lost = (1.0 - loss_ratio) / burstiness
    lost = False
    windows = []
    for _ in range(seconds):
        count = 0
        for _ in range(packets):
            lost = random.random() >= received_after_lost if lost else random.random() < lost_after_received
            count += lost
        windows.append(replace(camera_window(packets=packets), packets=packets - count, packets_lost=count))
    return windows


@pytest.mark.parametrize("burstiness", [1.0, 2.0, 4.0])
def test_burst_ratio_is_found_in_chains_of_known_burst_ratio(burstiness: float) -> None:
    estimates = [burst_ratio(markov_windows(seed, 0.05, burstiness, seconds=300)) for seed in range(10)]
    assert sum(estimates) / len(estimates) == pytest.approx(burstiness, rel=0.15)


def test_burst_ratio_is_one_where_nothing_tells() -> None:
    assert burst_ratio([]) == 1.0
    assert burst_ratio([camera_window(loss=0.5)] * 4) == 1.0
    assert loss_dispersion([camera_window()] * 20) is None
    assert loss_dispersion([camera_window(loss=1.0)] * 20) is None


def test_five_windows_tell_of_bursts_and_fewer_do_not() -> None:
    windows = [camera_window(loss=loss) for loss in (0.0, 0.0, 0.0, 0.3)]
    assert loss_dispersion(windows) is None
    assert loss_dispersion([*windows, camera_window()]) is not None
    assert burst_ratio([*windows, camera_window()]) > 4.0

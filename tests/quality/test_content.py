"""Level, silence, clipping, black and still pictures, on arrays with known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quality.content import Content, ContentCounts, level_dbfs
from quality.content_tally import ContentTally, is_black, is_still, sparse


def tone(amplitude: float, samples: int = 4800) -> NDArray[np.int16]:
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(samples) / 48_000)
    return np.clip(np.round(wave), -32_768, 32_767).astype(np.int16)


def heard(samples: NDArray[np.int16]) -> Content:
    """What one stretch of sound says."""
    tally = ContentTally()
    tally.add_sound(samples)
    return tally.counts.content


def level(samples: NDArray[np.int16]) -> float:
    found = heard(samples).level_dbfs
    assert found is not None
    return found


def test_levels_are_decibels_below_a_square_wave_at_full_scale() -> None:
    square = np.tile(np.array([32_767, -32_768], np.int16), 240)
    assert level(square) == pytest.approx(0.0, abs=0.01)
    assert level(tone(32_767)) == pytest.approx(-3.01, abs=0.01)
    assert level(tone(3_276.7)) == pytest.approx(-23.01, abs=0.01)
    assert level(np.zeros(480, np.int16)) == -127.0
    assert heard(np.zeros(0, np.int16)) == Content(silent_ratio=1.0)


@pytest.mark.parametrize(("amplitude", "silent"), [(0, True), (30, True), (60, False), (8_000, False)])
def test_silence_is_60_decibels_below_full_scale(amplitude: float, silent: bool) -> None:
    assert heard(tone(amplitude)).silent_ratio == float(silent)


def test_clipping_is_three_samples_and_more_at_full_scale() -> None:
    assert heard(tone(32_000)).clipped_ratio == 0.0
    assert (heard(tone(60_000)).clipped_ratio or 0.0) > 0.5
    peaks = np.zeros(100, np.int16)
    peaks[10:12] = 32_767
    assert heard(peaks).clipped_ratio == 0.0
    peaks[12] = 32_767
    assert heard(peaks).clipped_ratio == pytest.approx(0.03)
    peaks[-3:] = -32_768
    assert heard(peaks).clipped_ratio == pytest.approx(0.06)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=300), st.floats(0, 1))
def test_figures_stay_in_their_ranges_and_less_sound_is_never_louder(values: list[int], gain: float) -> None:
    samples = np.array(values, np.int16)
    assert -127.0 <= level((samples * gain).astype(np.int16)) <= level(samples) <= 0.0
    clipped = heard(samples).clipped_ratio
    assert clipped is not None
    assert 0.0 <= clipped <= 1.0


def test_a_picture_is_black_when_nearly_all_of_it_is() -> None:
    picture = np.full((90, 160), 16, np.uint8)
    assert is_black(picture)
    picture[:1, :] = 200
    assert is_black(picture), "a line of text is no picture"
    picture[:9, :] = 200
    assert not is_black(picture)
    assert not is_black(np.zeros((0, 0), np.uint8))


def test_a_picture_is_still_when_only_coding_noise_differs() -> None:
    before = np.random.default_rng(1).integers(16, 235, (90, 160)).astype(np.uint8)
    noisy = before.copy()
    noisy[::10, ::10] += 1
    assert is_still(before, before)
    assert is_still(noisy, before)
    assert not is_still(np.roll(before, 1, axis=1), before)
    assert not is_still(before[:45], before)


def test_counts_tell_what_came_between_two_moments() -> None:
    tally = ContentTally()
    assert tally.counts.content == Content()
    tally.add_sound(tone(8_000))
    tally.add_sound(np.zeros(4800, np.int16))
    moving = np.random.default_rng(2).integers(16, 235, (180, 320)).astype(np.uint8)
    for picture in (moving, moving, np.full((180, 320), 16, np.uint8)):
        tally.add_picture(picture)
    before, content = tally.counts, tally.counts.content
    assert (content.silent_ratio, content.clipped_ratio, content.still_ratio) == (0.5, 0.0, 0.5)
    assert content.black_ratio == pytest.approx(1 / 3)
    assert content.level_dbfs == pytest.approx(level_dbfs(8_000**2 / 4), abs=0.01)
    tally.add_picture(np.full((180, 320), 16, np.uint8))
    gained = tally.counts.since(before)
    assert gained.content == Content(black_ratio=1.0, still_ratio=1.0), "the last picture is still known"
    assert before.plus(gained) == tally.counts


def test_counting_that_began_anew_is_told_from_its_begin() -> None:
    before, tally = ContentCounts(sounds=10, silent=10, samples=4_800), ContentTally()
    tally.add_sound(tone(8_000, 480))
    assert tally.counts.since(before) == tally.counts


def test_silence_without_samples_has_no_level() -> None:
    tally = ContentTally()
    tally.add_sound(np.zeros(0, np.int16))
    assert tally.counts.content == Content(silent_ratio=1.0)


def test_sparse_pictures_keep_black_and_still() -> None:
    assert sparse(np.zeros((720, 1280), np.uint8)).shape == (180, 320)

"""The pictures of a live source: the newest, not too many, and the last one again."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InvalidSettings
from agent.room.live_pictures import (
    PictureQueue,
    Pixels,
    Shown,
    check_format,
    checked_pixels,
    i420_of,
    no_sound,
)
from media.sources.pacer import Wait
from media.sources.source import VideoFormat

FORMAT = VideoFormat(16, 16, 10.0)


def picture(number: int) -> Pixels:
    return np.full((24, 16), number % 256, np.uint8)


def number_of(shown: Shown | Wait | None) -> int:
    assert isinstance(shown, Shown)
    return int(shown.pixels[0, 0])


def test_before_the_first_picture_nothing_is_shown() -> None:
    assert PictureQueue(FORMAT).take(100.0, no_sound) == Wait(math.inf)


def test_the_newest_is_shown_at_once_and_who_pushed_too_much_is_told() -> None:
    queue = PictureQueue(FORMAT)
    assert queue.push(picture(1))
    assert not queue.push(picture(2))
    shown = queue.take(5.0, no_sound)
    assert number_of(shown) == 2
    assert isinstance(shown, Shown)
    assert (shown.pts_s, shown.anew) == (5.0, True)


def test_the_last_one_comes_again_until_there_is_another() -> None:
    queue = PictureQueue(FORMAT)
    queue.push(picture(1))
    queue.take(5.0, no_sound)
    waited = queue.take(5.1, no_sound)
    assert isinstance(waited, Wait)
    assert waited.delay_s == pytest.approx(0.1)
    again = queue.take(5.2, no_sound)
    assert isinstance(again, Shown)
    assert (number_of(again), again.pts_s, again.anew) == (1, 5.2, False)
    queue.push(picture(2))
    assert number_of(queue.take(5.3, no_sound)) == 2


def test_with_sound_they_wait_for_it_and_keep_its_times() -> None:
    queue, known = PictureQueue(FORMAT), {0: 1.0}
    for number in range(5):
        assert queue.push_with_sound(picture(number), number * 100)
    assert number_of(queue.take(0.9, known.get)) == 0
    assert isinstance(queue.take(0.95, known.get), Wait)
    known |= {100: 1.1, 200: 1.12, 300: 1.13, 400: 1.25}
    assert [number_of(queue.take(1.05, known.get)) for _ in range(2)] == [1, 2]
    shown = queue.take(1.2, known.get)  # the fourth is more than the format has
    assert number_of(shown) == 4
    assert isinstance(shown, Shown)
    assert shown.pts_s == 1.25


def test_too_many_that_wait_for_sound_are_refused_and_cleared() -> None:
    queue = PictureQueue(FORMAT)
    assert [queue.push_with_sound(picture(0), 0) for _ in range(16)] == [True] * 15 + [False]
    queue.push(picture(1))
    queue.clear()
    assert queue.push_with_sound(picture(0), 0)
    assert queue.take(0.0, no_sound) == Wait(math.inf)


def test_at_its_end_what_is_left_is_shown() -> None:
    queue = PictureQueue(FORMAT)
    queue.push(picture(7))
    assert number_of(queue.take(0.0, no_sound, ended=True)) == 7
    assert queue.take(0.0, no_sound, ended=True) is None


@given(st.lists(st.tuples(st.floats(0.0, 0.5), st.booleans()), min_size=1, max_size=60), st.integers(1, 60))
def test_never_more_than_the_format_has_in_order_and_the_newest_is_not_forgotten(
    steps: list[tuple[float, bool]], fps: int
) -> None:
    """Whenever it is asked, and whatever is pushed in between."""
    queue, now, pushed, shown = PictureQueue(VideoFormat(16, 16, fps)), 0.0, 0, []
    for delay_s, push in steps:
        now += delay_s
        if push:
            pushed += 1
            queue.push(picture(pushed))
        while isinstance(item := queue.take(now, no_sound), Shown):
            shown.append(item)
    if pushed:
        while isinstance(item := queue.take(now + 1, no_sound), Shown):
            shown.append(item)
        assert number_of(shown[-1]) == pushed
        assert len(shown) <= (now + 1) * fps * 1.2 + 3
    numbers = [number_of(item) for item in shown]
    assert numbers == sorted(numbers)
    times = [item.pts_s for item in shown]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((16, 16, 3), np.float32), "float32"),
        (np.zeros((16, 16, 4), np.uint8), r"\(16, 16, 3\) for RGB"),
        (np.zeros((32, 16, 3), np.uint8), r"\(24, 16\) for I420"),
        ([[0]], "list"),
    ],
)
def test_pictures_of_another_kind_or_size_are_refused_with_what_to_give(given: object, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        checked_pixels(given, FORMAT)


@pytest.mark.parametrize("video", [VideoFormat(15, 16, 10), VideoFormat(16, 9_000, 10), VideoFormat(16, 16, math.nan)])
def test_formats_that_cannot_be_sent_are_refused(video: VideoFormat) -> None:
    with pytest.raises(InvalidSettings, match="give"):
        check_format(video)


def test_rgb_becomes_i420_in_limited_range() -> None:
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:, :, 0] = 255
    planes = np.frombuffer(i420_of(checked_pixels(rgb[:, ::-1], FORMAT)), np.uint8)
    luma, blue, red = planes[:256], planes[256:320], planes[320:]
    assert [int(plane.mean()) for plane in (luma, blue, red)] == pytest.approx([81, 90, 240], abs=2)
    assert i420_of(picture(9)) == bytes([9]) * 384

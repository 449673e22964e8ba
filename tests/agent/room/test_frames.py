"""What waits for who reads: the newest picture, and sound that is never dropped unsaid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.room.frames import KEPT_S, NewestPicture, SoundBacklog, even_i420

RATE = 8_000


def test_who_is_slow_gets_the_newest_picture_and_how_many_were_left_out() -> None:
    waiting = NewestPicture()
    assert [waiting.push("TR_1", bytes([n]) * 24, 4, 4, float(n)) for n in range(3)] == [True, False, False]
    frame = waiting.pop()
    assert frame is not None
    assert (frame.track_sid, frame.width, frame.height, frame.at, frame.skipped) == ("TR_1", 4, 4, 2.0, 2)
    assert frame.i420.tolist() == [[2] * 4] * 6
    assert waiting.pop() is None
    waiting.push("TR_1", bytes(24), 4, 4, 3.0)
    again = waiting.pop()
    assert again is not None
    assert again.skipped == 0


def test_a_picture_is_rgb_too() -> None:
    waiting = NewestPicture()
    waiting.push("TR_1", bytes([81]) * 256 + bytes([90]) * 64 + bytes([240]) * 64, 16, 16, 0.0)
    frame = waiting.pop()
    assert frame is not None
    assert frame.rgb().shape == (16, 16, 3)
    assert [int(frame.rgb()[:, :, each].mean()) for each in range(3)] == pytest.approx([255, 0, 0], abs=3)


@given(st.integers(2, 9), st.integers(2, 9))
def test_odd_sides_lose_their_last_line(width: int, height: int) -> None:
    half = ((height + 1) // 2, (width + 1) // 2)
    luma = np.arange(height * width).reshape(height, width)
    blue, red = (np.arange(half[0] * half[1]).reshape(half) + first for first in (100, 200))
    data = b"".join(plane.astype(np.uint8).tobytes() for plane in (luma, blue, red))
    planes = even_i420(data, width, height)
    rows, columns = height // 2 * 2, width // 2 * 2
    assert planes.shape == (rows * 3 // 2, columns)
    assert planes[:rows].tolist() == luma[:rows, :columns].tolist()
    chroma = planes[rows:].ravel().reshape(2, rows // 2, columns // 2)
    assert chroma[0].tolist() == blue[: rows // 2, : columns // 2].tolist()
    assert chroma[1].tolist() == red[: rows // 2, : columns // 2].tolist()


@given(st.lists(st.one_of(st.integers(1, 30_000), st.none()), max_size=30), st.sampled_from([1, 2]))
def test_each_sample_is_heard_or_missed(steps: list[int | None], channels: int) -> None:
    """None stands for somebody who takes what is there."""
    backlog, pushed, told = SoundBacklog(RATE, channels), 0, 0
    for step in (*steps, None):
        if step is not None:
            values = np.repeat(np.arange(pushed, pushed + step)[:, np.newaxis], channels, axis=1)
            fits = backlog.push("TR_1", (values % 30_000).astype(np.int16).tobytes(), 1.0)
            pushed += step
            assert fits or pushed - told > KEPT_S * RATE
        elif (frame := backlog.pop()) is not None:
            told += frame.missed
            expected = np.arange(told, told + len(frame.samples)) % 30_000
            assert frame.samples.tolist() == [[value] * channels for value in expected.tolist()]
            told += len(frame.samples)
            assert len(frame.samples) <= KEPT_S * RATE
    assert told == pushed

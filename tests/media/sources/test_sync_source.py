"""Flashes and beeps: at the same time to the sample, and readable at any size."""

import numpy as np
import pytest

from media.errors import SourceUnreadable
from media.sources.open import open_source
from media.sources.source import AudioFormat, VideoFormat
from media.sources.sync import DEFAULT_VIDEO, Mark, SyncSource, parse_sync, read_mark, read_white

SMALL = VideoFormat(320, 180, 20.0)


def luma_of(data: bytes, video: VideoFormat) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8)[: video.width * video.height].reshape(video.height, video.width)


def test_each_second_begins_white_and_loud_and_the_rest_is_black_and_silent() -> None:
    source = SyncSource(SMALL, AudioFormat(48_000, 2), first_second=70_000)
    white, marks = [], []
    for _ in range(60):
        frame = source.read_video()
        assert frame is not None
        luma = luma_of(frame.data, SMALL)
        marks.append(read_mark(luma))
        if read_white(luma) > 0.5:
            white.append(frame.pts_s)
    sound: list[np.ndarray[tuple[int], np.dtype[np.int16]]] = []
    while len(sound) < 150:
        chunk = source.read_audio()
        assert chunk is not None
        sound.append(np.frombuffer(chunk.data, np.int16)[::2])
    loud = np.flatnonzero(np.abs(np.concatenate(sound)) > 8000)
    onsets = [int(at) for index, at in enumerate(loud) if index == 0 or at - loud[index - 1] > 4800]
    assert white == [0.0, 0.05, 1.0, 1.05, 2.0, 2.05]
    assert onsets == [0, 48_000, 96_000]
    assert marks == [Mark((70_000 + index // 20) % 65_536, index % 20) for index in range(60)]


def test_a_mark_survives_scaling_and_noise_and_a_damaged_one_is_refused() -> None:
    frame = SyncSource(VideoFormat(960, 540, 25.0), first_second=0xABCD).read_video()
    assert frame is not None
    luma = luma_of(frame.data, VideoFormat(960, 540, 25.0))[1::3, 1::3].astype(np.int16)
    noisy = np.clip(luma + np.random.default_rng(1).integers(-30, 31, luma.shape), 0, 255).astype(np.uint8)
    assert read_mark(noisy) == Mark(0xABCD, 0)
    cell = noisy.shape[1] // 28
    noisy[:, 6 * cell : 7 * cell] = 255 - noisy[:, 6 * cell : 7 * cell]
    assert read_mark(noisy) is None
    assert read_mark(np.full((180, 320), 16, np.uint8)) is None
    assert read_mark(np.full((8, 8), 16, np.uint8)) is None


def test_specs() -> None:
    assert parse_sync("sync") == DEFAULT_VIDEO
    assert parse_sync("sync:1280x720@50") == VideoFormat(1280, 720, 50.0)
    source = open_source("sync:320x180@20")
    assert source.video == SMALL
    assert source.audio == AudioFormat()
    source.close()
    assert source.read_video() is None
    assert source.read_audio() is None


@pytest.mark.parametrize("spec", ["sync:", "sync:10x10", "sync:640x360@29.97", "sync:640x360@5", "sync:99999x720"])
def test_a_bad_spec_says_what_to_give(spec: str) -> None:
    with pytest.raises(SourceUnreadable, match="sync"):
        parse_sync(spec)


def test_pictures_that_come_too_late_are_not_painted() -> None:
    source = SyncSource(VideoFormat(320, 180, 20.0), first_second=7)
    source.leave_out_video(1.04)
    frame = source.read_video()
    assert frame is not None
    assert frame.pts_s == pytest.approx(1.05)
    luma = np.frombuffer(frame.data, np.uint8)[: 320 * 180].reshape(180, 320)
    assert read_mark(luma) == Mark(8, 1)

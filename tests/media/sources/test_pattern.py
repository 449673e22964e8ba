"""The pattern can be read back from what a receiver gets, at any of its layers."""

import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import SourceUnreadable
from media.sources.pattern import (
    DEFAULT_VIDEO,
    PatternPainter,
    PatternSource,
    beep_level,
    parse_pattern,
    read_flash,
    read_frame_number,
)
from media.sources.source import AudioFormat, VideoFormat

PAINTER = PatternPainter(DEFAULT_VIDEO)


def scaled_luma(i420: bytes, video: VideoFormat, width: int, height: int) -> npt.NDArray[np.uint8]:
    planes = np.frombuffer(i420, np.uint8).reshape(video.height * 3 // 2, video.width)
    picture = VideoFrame.from_ndarray(planes, format="yuv420p").reformat(width=width, height=height)
    return picture.to_ndarray()[:height, :width].astype(np.uint8)


@given(
    number=st.integers(min_value=0, max_value=2**16 - 1), size=st.sampled_from([(1280, 720), (640, 360), (320, 180)])
)
@settings(max_examples=50, deadline=None)
def test_frame_number_is_readable_at_each_simulcast_layer(number: int, size: tuple[int, int]) -> None:
    luma = scaled_luma(PAINTER.paint(number), DEFAULT_VIDEO, *size)
    assert read_frame_number(luma) == number


def test_a_picture_that_is_no_pattern_has_no_frame_number() -> None:
    noise = np.random.default_rng(3).integers(0, 256, size=(180, 320), dtype=np.uint8)
    assert read_frame_number(noise) is None
    assert read_frame_number(np.full((180, 320), 128, np.uint8)) is None
    assert read_frame_number(np.full((8, 8), 16, np.uint8)) is None


def test_a_damaged_strip_is_refused_rather_than_misread() -> None:
    luma = scaled_luma(PAINTER.paint(0x1234), DEFAULT_VIDEO, 320, 180).copy()
    cell = 320 // 24
    luma[:20, 8 * cell : 9 * cell] = 251 - luma[:20, 8 * cell : 9 * cell]
    assert read_frame_number(luma) is None


@pytest.mark.parametrize(
    "video", [VideoFormat(640, 480, 30.0), VideoFormat(98, 66, 5.0), VideoFormat(1920, 1080, 25.0)]
)
def test_other_formats_have_the_right_size_and_can_be_read(video: VideoFormat) -> None:
    frame = PatternSource(video, None).read_video()
    assert frame is not None
    assert len(frame.data) == video.width * video.height * 3 // 2
    luma = np.frombuffer(frame.data, np.uint8)[: video.width * video.height].reshape(video.height, video.width)
    assert read_frame_number(luma) == 0


def test_flash_and_beep_come_together_each_second() -> None:
    source = PatternSource(VideoFormat(320, 180, 25.0), AudioFormat(48_000, 2))
    flashes, beeps = [], []
    for _ in range(75):
        frame = source.read_video()
        assert frame is not None
        luma = np.frombuffer(frame.data, np.uint8)[: 320 * 180].reshape(180, 320)
        if read_flash(luma):
            flashes.append(frame.pts_s)
    for _ in range(150):
        chunk = source.read_audio()
        assert chunk is not None
        left = np.frombuffer(chunk.data, np.int16).reshape(-1, 2)[:, 0]
        if beep_level(left, chunk.sample_rate) > 0.2:
            beeps.append(chunk.pts_s)
    assert flashes == [0.0, 0.04, 1.0, 1.04, 2.0, 2.04]
    assert [start for start in beeps if start % 1 == 0] == [0.0, 1.0, 2.0]
    assert len(beeps) == 12


def test_the_clock_changes_each_second_and_only_then() -> None:
    pictures = [scaled_luma(PAINTER.paint(number), DEFAULT_VIDEO, 1280, 720) for number in (30, 49, 50)]
    first, same, next_second = (picture[240:296, 160:424] for picture in pictures)
    assert np.array_equal(first, same)
    assert not np.array_equal(same, next_second)


def test_duration_ends_both_and_close_ends_reading() -> None:
    source = PatternSource(VideoFormat(64, 64, 10.0), AudioFormat(), duration_s=0.5)
    assert sum(1 for _ in iter(source.read_video, None)) == 5
    assert sum(chunk.samples for chunk in iter(source.read_audio, None)) == 24_000
    endless = PatternSource()
    endless.close()
    assert endless.read_video() is None
    assert endless.read_audio() is None


def test_spec() -> None:
    assert parse_pattern("pattern") == DEFAULT_VIDEO
    assert parse_pattern("pattern:1920x1080@29.97") == VideoFormat(1920, 1080, 29.97)
    assert parse_pattern("pattern:641x361") == VideoFormat(640, 360, 25.0)


@pytest.mark.parametrize(
    "spec", ["pattern:", "pattern:10x10", "pattern:640x360@0.5", "pattern:99999x720", "pattern:axb"]
)
def test_bad_spec_says_what_to_give(spec: str) -> None:
    with pytest.raises(SourceUnreadable, match="pattern"):
        parse_pattern(spec)


def test_pictures_that_come_too_late_are_not_drawn() -> None:
    source = PatternSource(VideoFormat(320, 180, 25.0), duration_s=2.0)
    for before_s, number in ((0.0, 0), (0.5, 13), (0.2, 14), (1.0, 25)):
        source.leave_out_video(before_s)
        frame = source.read_video()
        assert frame is not None
        assert frame.pts_s == number / 25
    source.leave_out_video(2.0)
    assert source.read_video() is None
    PatternSource(None).leave_out_video(1.0)

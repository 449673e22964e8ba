"""Pictures made smaller: what they show stays, and their time."""

import numpy as np

from media.sources.pattern import PatternSource, read_frame_number
from media.sources.scale import scaled
from media.sources.source import VideoFormat


def test_a_smaller_picture_shows_the_same() -> None:
    source = PatternSource(VideoFormat(1280, 720, 25.0))
    frames = [source.read_video() for _ in range(3)]
    frame = frames[2]
    assert frame is not None
    small = scaled(frame, 640, 360)
    assert (small.width, small.height, small.pts_s, len(small.data)) == (640, 360, frame.pts_s, 640 * 360 * 3 // 2)
    luma = np.frombuffer(small.data, np.uint8)[: 640 * 360].reshape(360, 640)
    assert read_frame_number(luma) == 2
    assert scaled(frame, 1280, 720) is frame

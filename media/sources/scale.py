"""Pictures made smaller before they are encoded."""

import numpy as np
from av.video.frame import VideoFrame

from media.sources.source import DecodedVideoFrame


def scaled(frame: DecodedVideoFrame, width: int, height: int) -> DecodedVideoFrame:
    """`frame` at another size, both sides even. Takes some 2 ms for 720p; call it in a thread."""
    if (frame.width, frame.height) == (width, height):
        return frame
    rows = np.frombuffer(frame.data, np.uint8).reshape(frame.height * 3 // 2, frame.width)
    picture = VideoFrame.from_ndarray(rows, format="yuv420p").reformat(width=width, height=height, interpolation="AREA")
    return DecodedVideoFrame(width, height, picture.to_ndarray().tobytes(), frame.pts_s)

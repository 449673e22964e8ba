"""A native source that takes encoded frames, and the feed of a file's video into it, frame by frame."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from livekit import rtc

from agent.room.pre_encoded_feed import PreEncodedFeed
from agent.room.publish_options import PublishOptions, plan_pre_encoded
from media.sources.source import AccessUnit, VideoFormat

KEY = rtc.EncodedFrameType.ENCODED_FRAME_KEY
DELTA = rtc.EncodedFrameType.ENCODED_FRAME_DELTA
PLAN = plan_pre_encoded(PublishOptions(), VideoFormat(1280, 720, 25.0), "h264", 1e6)


class PassThrough:
    """The SDK's source: what it took is in `taken`."""

    def __init__(self) -> None:
        self.taken: list[rtc.EncodedFrameType.ValueType] = []

    def take_feedback(self) -> object:
        return SimpleNamespace(rate_control=None, keyframe_requested=False)

    def capture_frame(self, frame: rtc.EncodedVideoFrame) -> bool:
        self.taken.append(frame.frame_type)
        return True


def feed_into(native: PassThrough) -> PreEncodedFeed:
    source = SimpleNamespace(read_access_unit=lambda: None)
    return PreEncodedFeed(PLAN, cast("Any", source), cast("Any", native), start=0.0)


async def give(feed: PreEncodedFeed, *, key: bool = False) -> None:
    """The source has a frame that is due now."""
    await feed._send(AccessUnit(1280, 720, b"frame", 0.0, key), asyncio.get_running_loop().time())

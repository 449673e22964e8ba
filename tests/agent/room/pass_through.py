"""A native source that takes encoded frames, and the feed of a file's video into it, frame by frame."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from livekit import rtc

from agent.room.pre_encoded_feed import PreEncodedFeed
from agent.room.publish_options import PublishOptions, plan_pre_encoded
from media.sources.source import AccessUnit, VideoFormat
from quality.pre_encoded import Encoded

KEY = rtc.EncodedFrameType.ENCODED_FRAME_KEY
DELTA = rtc.EncodedFrameType.ENCODED_FRAME_DELTA
PLAN = plan_pre_encoded(PublishOptions(), VideoFormat(1280, 720, 25.0), "h264", 1e6)


class PassThrough:
    """The SDK's source: what it took is in `taken`, of which what came while it `drops` is not encoded."""

    def __init__(self) -> None:
        self.taken: list[rtc.EncodedFrameType.ValueType] = []
        self.drops = False
        self.silent = False
        self.asked: Callable[[], None] = lambda: None
        self._encoded = Encoded(0, 0)

    def take_feedback(self) -> object:
        return SimpleNamespace(rate_control=None, keyframe_requested=False)

    def capture_frame(self, frame: rtc.EncodedVideoFrame) -> bool:
        self.taken.append(frame.frame_type)
        if not self.drops:
            self._encoded = Encoded(self._encoded.frames + 1, self._encoded.key_frames + (frame.frame_type == KEY))
        return True

    async def encoded(self) -> Encoded:
        self.asked()
        if self.silent:
            raise RuntimeError("no statistics")
        return self._encoded


def feed_into(native: PassThrough, encoded: Callable[[], Awaitable[Encoded]] | None = None) -> PreEncodedFeed:
    """What was encoded is told by `native`, unless by `encoded`."""
    source = SimpleNamespace(read_access_unit=lambda: None)
    return PreEncodedFeed(PLAN, cast("Any", source), cast("Any", native), start=0.0, encoded=encoded or native.encoded)


async def give(feed: PreEncodedFeed, count: int = 1, *, key: bool = False) -> None:
    """The source has frames that are due now."""
    for _ in range(count):
        await feed._send(AccessUnit(1280, 720, b"frame", 0.0, key), asyncio.get_running_loop().time())

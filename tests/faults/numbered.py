"""A publisher whose every picture says which one it is, and when each left: the truth that gaps are held against."""

import asyncio
import time
from typing import Any, Self

from livekit import rtc

from agent.credentials import Credentials
from media.sources.pattern import PatternPainter
from media.sources.source import VideoFormat
from tests.integration.publishing import FPS, Publisher

FRAME_S = 1 / FPS


class NumberedPublisher(Publisher):
    """As `Publisher`, with the test pattern for a picture. `captured`: Unix time of each frame number."""

    def __init__(self, server: Credentials, room: str, *, width: int = 320, height: int = 180, **options: Any) -> None:
        super().__init__(server, room, width=width, height=height, **options)
        self._painter = PatternPainter(VideoFormat(width, height, float(FPS)))
        self.captured: dict[int, float] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def _send_video(self) -> None:
        width, height = self._size
        started = time.monotonic()
        while True:
            picture = await asyncio.to_thread(self._painter.paint, self.video_frames)
            self.captured[self.video_frames] = time.time()
            self._video.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, picture))
            self.video_frames += 1
            await asyncio.sleep(max(0.0, started + self.video_frames / FPS - time.monotonic()))

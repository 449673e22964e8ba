"""A camera whose every picture says which one it is, and what of it a browser shows: glass to glass."""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from agent.credentials import Credentials
from media.sources.pattern import PatternPainter, read_frame_number
from media.sources.source import VideoFormat
from tests.integration.publishing import FPS, Publisher
from tests.interop.chromium import Page

_SHOWN_AT = """
new Promise((resolve) => {
  const video = document.querySelector("video");
  video.requestVideoFrameCallback((now, frame) => {
    const canvas = new OffscreenCanvas(640, 360).getContext("2d", { willReadFrequently: true });
    canvas.drawImage(video, 0, 0, 640, 360);
    const pixels = canvas.getImageData(0, 0, 640, 360 / 9).data;
    let text = "";
    for (let at = 1; at < pixels.length; at += 4) text += String.fromCharCode(pixels[at]);
    const shown = performance.timeOrigin + frame.expectedDisplayTime;
    resolve([shown / 1000, btoa(text), video.currentTime, video.videoWidth, video.videoHeight]);
  });
})
"""


class NumberedCamera(Publisher):
    """Publishes the test pattern; `captured_at` is the Unix time at which each picture was handed to the encoder."""

    def __init__(self, server: Credentials, room: str, **options: Any) -> None:
        super().__init__(server, room, **options)
        self.captured_at: dict[int, float] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    def _moving_pictures(self) -> Iterator[bytes]:
        width, height = self._size
        painter = PatternPainter(VideoFormat(width, height, FPS))
        number = 0
        while True:
            picture = painter.paint(number)
            self.captured_at[number] = time.time()
            yield picture
            number += 1


@dataclass(frozen=True)
class Shown:
    """A picture on the screen: which, when (Unix time), where in the player's timeline, and its size."""

    number: int | None
    at: float
    position_s: float
    size: tuple[int, int]


async def look(page: Page) -> Shown:
    """The next picture that the page's video shows."""
    at, text, position_s, width, height = await page.evaluate(_SHOWN_AT)
    strip = np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 640)
    # The rest of the picture is of no use, but the reader measures the strip by the whole height.
    luma = np.full((360, 640), 128, np.uint8)
    luma[: len(strip)] = strip
    return Shown(read_frame_number(luma), at, position_s, (width, height))


class Numbered(Protocol):
    """Whatever says when its pictures were taken."""

    @property
    def captured_at(self) -> dict[int, float]:
        """Unix time by the picture's number."""


def latency_s(camera: Numbered, shown: Shown) -> float:
    """From the camera to the screen."""
    assert shown.number is not None, "the picture cannot be read"
    return shown.at - camera.captured_at[shown.number]

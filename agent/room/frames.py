"""Decoded media of others as a program gets them, and what waits for it. Pure."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame as AvFrame

KEPT_S = 10.0  # speech recognition that takes a breath; 16 bits at 48 kHz are 1 MB in that time


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One picture. `i420`: uint8, (height * 3 // 2, width), the planes Y, U and V one after the other.

    Both sides are even: of an odd one the last line is left out. `at`: Unix seconds when it was decoded. `skipped`:
    pictures since the last one that were not taken in time.
    """

    track_sid: str
    width: int
    height: int
    i420: npt.NDArray[np.uint8]
    at: float
    skipped: int = 0

    def rgb(self) -> npt.NDArray[np.uint8]:
        """As (height, width, 3), uint8. Takes some 2 ms for 720p."""
        picture = AvFrame.from_ndarray(self.i420, format="yuv420p").to_ndarray(format="rgb24")
        return picture.astype(np.uint8, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class AudioFrame:
    """Sound: int16, (samples, channels). `at`: Unix seconds when the last of it was decoded.

    `missed`: samples of each channel right before it that were dropped, as they were not taken in time.
    """

    track_sid: str
    sample_rate: int
    channels: int
    samples: npt.NDArray[np.int16]
    at: float
    missed: int = 0


def even_i420(data: bytes | bytearray, width: int, height: int) -> npt.NDArray[np.uint8]:
    """I420 of any size as one array with even sides."""
    pixels = np.frombuffer(data, np.uint8)
    if width % 2 == 0 and height % 2 == 0:
        return pixels.reshape(height * 3 // 2, width)
    half = ((height + 1) // 2, (width + 1) // 2)
    luma, *chroma = np.split(pixels, (height * width, height * width + half[0] * half[1]))
    planes = [luma.reshape(height, width)[: height // 2 * 2, : width // 2 * 2]]
    planes += [plane.reshape(half)[: height // 2, : width // 2] for plane in chroma]
    return np.concatenate([plane.ravel() for plane in planes]).reshape(height // 2 * 3, width // 2 * 2)


class NewestPicture:
    """Room for one picture: who is slow gets the newest."""

    def __init__(self) -> None:
        self._frame: VideoFrame | None = None
        self._skipped = 0

    def push(self, track_sid: str, data: bytes | bytearray, width: int, height: int, at: float) -> bool:
        """Keep a picture; whether none before it was dropped for that."""
        fits = self._frame is None
        self._skipped += not fits
        i420 = even_i420(data, width, height)
        self._frame = VideoFrame(track_sid, i420.shape[1], i420.shape[0] * 2 // 3, i420, at, self._skipped)
        return fits

    def pop(self) -> VideoFrame | None:
        """The newest picture, once."""
        frame, self._frame, self._skipped = self._frame, None, 0
        return frame


class SoundBacklog:
    """All that is heard since it was taken last, the latest ten seconds at most."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate, self._channels = sample_rate, channels
        self._parts: deque[npt.NDArray[np.int16]] = deque()
        self._samples = 0
        self._missed = 0
        self._last = ("", 0.0)

    def push(self, track_sid: str, data: bytes, at: float) -> bool:
        """Keep a stretch of sound; whether none before it was dropped for that."""
        self._parts.append(np.frombuffer(data, np.int16).reshape(-1, self._channels))
        self._samples += len(self._parts[-1])
        self._last = (track_sid, at)
        fits = True
        while self._samples > KEPT_S * self._rate:
            dropped = len(self._parts.popleft())
            self._samples -= dropped
            self._missed += dropped
            fits = False
        return fits

    def pop(self) -> AudioFrame | None:
        """All of it, once."""
        if not self._parts:
            return None
        track_sid, at = self._last
        samples = np.concatenate(self._parts)
        frame = AudioFrame(track_sid, self._rate, self._channels, samples, at, self._missed)
        self._parts.clear()
        self._samples = self._missed = 0
        return frame

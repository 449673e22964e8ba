"""Pictures that a program makes while they are published: which one is shown next, and when. Pure."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from agent.errors import InvalidSettings
from agent.room.live_sound import CAPACITY_S
from media.sources.pacer import Wait
from media.sources.source import VideoFormat

# Frame intervals. Who makes pictures in real time may miss a beat; who joins sees nothing before the next one, and a
# receiver takes what comes at less than a third of its pace for frozen.
REPEAT_AFTER = 2.0
_AHEAD = 1.5  # more pictures than sound may wait: they are pushed before their sound
_TOLERANCE = 0.1  # of an interval, as the pacer has
_MINIMUM_SIDE, _MAXIMUM_SIDE, _MAXIMUM_FPS = 16, 8192, 120

Pixels = npt.NDArray[np.uint8]
"""RGB: rows by columns by 3. I420: rows and a half by columns, the planes Y, U and V one after the other."""


def check_format(video: VideoFormat) -> None:
    """Raises InvalidSettings for what cannot be sent."""
    sides = (video.width, video.height)
    if any(side % 2 or not _MINIMUM_SIDE <= side <= _MAXIMUM_SIDE for side in sides):
        raise InvalidSettings(
            f"the picture is to be {video.width}x{video.height}; give even sides of {_MINIMUM_SIDE} to {_MAXIMUM_SIDE}"
        )
    if not 1 <= video.fps <= _MAXIMUM_FPS:
        raise InvalidSettings(f"fps is {video.fps}; give 1 to {_MAXIMUM_FPS}")


def checked_pixels(picture: object, video: VideoFormat) -> Pixels:
    """A copy of `picture`. Raises InvalidSettings where it is not of that format."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        given = f"an array of {picture.dtype}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise InvalidSettings(f"the picture is {given}; give a numpy array of uint8")
    rgb, i420 = (video.height, video.width, 3), (video.height * 3 // 2, video.width)
    if picture.shape not in {rgb, i420}:
        raise InvalidSettings(f"the picture has the shape {picture.shape}; give {rgb} for RGB or {i420} for I420")
    return np.array(picture, np.uint8, order="C")


def i420_of(pixels: Pixels) -> bytes:
    """As I420, in limited range (BT.601). Takes some 2 ms for RGB of 720p; call it in a thread."""
    if pixels.ndim == 2:
        return pixels.tobytes()
    return VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p").to_ndarray().tobytes()


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture to be shown now; `anew` where it is not the one before."""

    pixels: Pixels
    pts_s: float
    anew: bool


class PictureQueue:
    """One picture for at once, the newest, and some that wait for their sound; the last one comes again and again.

    Not more come than the format has. `now` is in seconds since the first `take`.
    """

    def __init__(self, video: VideoFormat) -> None:
        self._interval_s = 1.0 / video.fps
        self._capacity = math.ceil(video.fps * CAPACITY_S * _AHEAD)
        self._at_once: Pixels | None = None
        self._with_sound: deque[tuple[Pixels, int]] = deque()
        self._last: Shown | None = None
        self._next_s = -math.inf

    def push(self, pixels: Pixels) -> bool:
        """Show it at once; False where it takes the place of one that was not shown yet."""
        free = self._at_once is None
        self._at_once = pixels
        return free

    def push_with_sound(self, pixels: Pixels, mark: int) -> bool:
        """Show it with the sample after the first `mark`; False where it is dropped, as too many wait."""
        if len(self._with_sound) >= self._capacity:
            return False
        self._with_sound.append((pixels, mark))
        return True

    def clear(self) -> None:
        """Drop what was not shown yet."""
        self._at_once = None
        self._with_sound.clear()

    def take(self, now: float, time_of: Callable[[int], float | None], *, ended: bool = False) -> Shown | Wait | None:
        """The next picture, or when to ask again unless something is pushed; None where it `ended` and all is shown.

        `time_of` says when the sound after a mark is heard, where that is known.
        """
        while self._with_sound and (at := time_of(self._with_sound[0][1])) is not None:
            pixels, _ = self._with_sound.popleft()
            if at >= self._next_s - self._interval_s * _TOLERANCE:
                return self._show(pixels, at)
        if self._at_once is not None:
            if now < self._next_s - self._interval_s * _TOLERANCE:
                return Wait(self._next_s - now)
            pixels, self._at_once = self._at_once, None
            return self._show(pixels, now)
        if ended:
            return None
        if self._last is None:
            return Wait(math.inf)
        again_s = self._last.pts_s + REPEAT_AFTER * self._interval_s
        return Wait(again_s - now) if now < again_s else self._show(self._last.pixels, now, anew=False)

    def _show(self, pixels: Pixels, pts_s: float, *, anew: bool = True) -> Shown:
        if self._last is not None:
            pts_s = max(pts_s, self._last.pts_s)
        self._next_s = max(self._next_s, pts_s - self._interval_s) + self._interval_s
        self._last = Shown(pixels, pts_s, anew)
        return self._last


def no_sound(_mark: int) -> float | None:
    """`time_of` where there is no sound."""
    return None

"""Flashes and beeps that begin at exactly the same time: what lip sync is measured with.

Each second of the source begins with a white picture and a 1 kHz tone, both for a tenth of a second; between them it is
black and silent. The tone begins at full level at its very sample. Cells across the lower part of the picture spell a
second (the wall clock's at the source's start, plus those since) and the frame's number in it, so a flash whose first
frame was dropped is known for what it is, and two participants' recordings can be compared (`read_mark`).
"""

import math
import re
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from media.errors import SourceUnreadable
from media.sources.source import AUDIO_CHUNK_S, AudioFormat, DecodedAudio, DecodedVideoFrame, VideoFormat

DEFAULT_VIDEO = VideoFormat(640, 360, 25.0)
DEFAULT_AUDIO = AudioFormat()
FLASH_S = 0.1
BEEP_HZ = 1000
BEEP_LEVEL = 0.5

SECOND_BITS = 16
FRAME_BITS = 7
_MARK_BITS = SECOND_BITS + FRAME_BITS
_GUARD = (1, 0)
_PARITY_BITS = 1
_CELLS = _MARK_BITS + _PARITY_BITS + 2 * len(_GUARD)
_STRIP_TOP = 3 / 4  # of the picture: below it are the cells, above it all is flash
_BLACK, _WHITE, _GRAY = 16, 235, 128  # limited-range luma (BT.601)
_MINIMUM_CONTRAST = 60
_SPEC = re.compile(r"sync(?::(\d+)x(\d+)(?:@(\d+))?)?")
_MINIMUM_SIDE, _MAXIMUM_SIDE, _MAXIMUM_FPS = 160, 4096, 120

Luma = npt.NDArray[np.uint8]


def parse_sync(spec: str) -> VideoFormat:
    """`sync` or `sync:WIDTHxHEIGHT[@FPS]`, whole frames per second. Raises SourceUnreadable that says what is wrong."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise SourceUnreadable(f"{spec!r} is no sync source; give sync or sync:WIDTHxHEIGHT@FPS, FPS a whole number")
    if match[1] is None:
        return DEFAULT_VIDEO
    width, height, fps = int(match[1]) & ~1, int(match[2]) & ~1, int(match[3] or DEFAULT_VIDEO.fps)
    fits = all(_MINIMUM_SIDE <= side <= _MAXIMUM_SIDE for side in (width, height)) and 10 <= fps <= _MAXIMUM_FPS
    if not fits:
        raise SourceUnreadable(
            f"{spec!r} is out of range; sides go from {_MINIMUM_SIDE} to {_MAXIMUM_SIDE} pixels, "
            f"frames per second from 10 to {_MAXIMUM_FPS}"
        )
    return VideoFormat(width, height, float(fps))


class SyncSource:
    """Endless flashes and beeps. `first_second` is what the first flash spells; None: the wall clock's second."""

    def __init__(
        self,
        video: VideoFormat = DEFAULT_VIDEO,
        audio: AudioFormat = DEFAULT_AUDIO,
        *,
        first_second: int | None = None,
    ) -> None:
        self._video = video
        self._audio = audio
        self._first_second = int(time.time()) if first_second is None else first_second
        self._beep = _one_second_of_sound(audio)
        self._frames = 0
        self._samples = 0
        self._closed = False

    @property
    def video(self) -> VideoFormat:
        """As given."""
        return self._video

    @property
    def audio(self) -> AudioFormat:
        """As given."""
        return self._audio

    def read_video(self) -> DecodedVideoFrame | None:
        """The next picture."""
        if self._closed:
            return None
        video, number = self._video, self._frames
        self._frames += 1
        second, into = divmod(number, round(video.fps))
        white = into < FLASH_S * video.fps
        picture = paint(video, Mark((self._first_second + second) % (1 << SECOND_BITS), into), white=white)
        return DecodedVideoFrame(video.width, video.height, picture, number / video.fps)

    def leave_out_video(self, before_s: float) -> None:
        """Paint nothing of what comes before that."""
        self._frames = max(self._frames, math.ceil(before_s * self._video.fps))

    def read_audio(self) -> DecodedAudio | None:
        """The next 20 ms of sound."""
        if self._closed:
            return None
        rate, first = self._audio.sample_rate, self._samples
        count = int(rate * AUDIO_CHUNK_S)
        self._samples += count
        chunk = self._beep[first % rate : first % rate + count]
        return DecodedAudio(rate, self._audio.channels, count, chunk.tobytes(), first / rate)

    def close(self) -> None:
        """Further reads return None."""
        self._closed = True


class Mark(NamedTuple):
    """What a picture spells: a second modulo 2**16, and the number of the frame within it."""

    second: int
    frame: int


def paint(video: VideoFormat, mark: Mark, *, white: bool) -> bytes:
    """A picture as I420: white or black, the mark's cells below, and a bar that moves so that no two are alike."""
    luma = np.full((video.height, video.width), _WHITE if white else _BLACK, np.uint8)
    top = round(video.height * _STRIP_TOP)
    edges = _cell_edges(video.width)
    for cell, bit in enumerate(_cells(mark)):
        luma[top:, edges[cell] : edges[cell + 1]] = _WHITE if bit else _BLACK
    left = (mark.second * 56 + mark.frame * 8) % (video.width - 8)
    luma[:8, left : left + 8] = _GRAY
    return luma.tobytes() + bytes([_GRAY]) * (video.width * video.height // 2)


def read_white(luma: Luma) -> float:
    """How white the flashing part of a received picture's Y plane is, 0 to 1."""
    area = luma[luma.shape[0] // 8 : round(luma.shape[0] * (_STRIP_TOP - 0.1))]
    return float(np.clip((area.mean() - _BLACK) / (_WHITE - _BLACK), 0, 1))


def read_mark(luma: Luma) -> Mark | None:
    """What a received picture's Y plane spells, at any size; None if it cannot be read."""
    height, width = luma.shape
    if width < _MINIMUM_SIDE or height < _MINIMUM_SIDE // 2:
        return None
    band = luma[round(height * 0.83) : round(height * 0.95)].astype(np.float32).mean(axis=0)
    edges = _cell_edges(width)
    levels = []
    for cell in range(_CELLS):
        left, right = edges[cell], edges[cell + 1]
        margin = (right - left) // 4
        levels.append(float(band[left + margin : right - margin].mean()))
    white, black = (levels[0] + levels[-1]) / 2, (levels[1] + levels[-2]) / 2
    if white - black < _MINIMUM_CONTRAST:
        return None
    bits = tuple(int(level > (white + black) / 2) for level in levels)
    value = sum(bit << place for place, bit in enumerate(reversed(bits[len(_GUARD) : len(_GUARD) + _MARK_BITS])))
    mark = Mark(value >> FRAME_BITS, value % (1 << FRAME_BITS))
    return mark if _cells(mark) == bits else None


def _cells(mark: Mark) -> tuple[int, ...]:
    value = mark.second << FRAME_BITS | mark.frame
    bits = [value >> place & 1 for place in range(_MARK_BITS - 1, -1, -1)]
    return (*_GUARD, *bits, sum(bits) % 2, *reversed(_GUARD))


def _cell_edges(width: int) -> list[int]:
    return [round(width * cell / _CELLS) for cell in range(_CELLS + 1)]


def _one_second_of_sound(audio: AudioFormat) -> npt.NDArray[np.int16]:
    """Samples by channels. A cosine: its first sample is the loudest, so the onset is one sample sharp."""
    at = np.arange(audio.sample_rate) / audio.sample_rate
    sound = np.where(at < FLASH_S, BEEP_LEVEL * np.cos(2 * np.pi * BEEP_HZ * at), 0.0)
    mono = np.round(sound * 32767).astype(np.int16)
    return np.repeat(mono[:, np.newaxis], audio.channels, axis=1)

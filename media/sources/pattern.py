"""A test pattern whose every frame says which one it is, in picture and in sound.

The picture: color bars and a texture that scrolls, a clock, a strip of black and white cells that
spells the frame number, and a square that flashes white at each full second. The sound: soft
speech-like tones and a beep at each full second. So a receiver can tell which frames it got, at
any resolution, and how far sound and picture are apart.
"""

import math
import re

import numpy as np
import numpy.typing as npt

from media.errors import SourceUnreadable
from media.sources.source import AUDIO_CHUNK_S, AudioFormat, DecodedAudio, DecodedVideoFrame, VideoFormat

DEFAULT_VIDEO = VideoFormat(1280, 720, 25.0)
DEFAULT_AUDIO = AudioFormat()

FRAME_NUMBER_BITS = 16
FLASH_S = 0.08  # the beep is as long, so both ends can be told from noise
BEEP_HZ = 1000

_GUARD = (1, 0)  # white, black: where the strip starts; reversed at its end
_CHECK_BITS = 4
_CELLS = len(_GUARD) * 2 + FRAME_NUMBER_BITS + _CHECK_BITS
_STRIP_HEIGHT = 1 / 9  # of the picture's: 20 lines of the 180 of the lowest usual layer
_FLASH_BOX = (7 / 9, 1.0, 3 / 4, 1.0)  # top, bottom, left, right as parts of the picture
_BLACK, _WHITE, _GRAY = 16, 235, 128  # limited-range luma (BT.601)
_MINIMUM_CONTRAST = 60  # of 219 between a strip's white and black cells; less is no strip
_SCROLL_PIXELS = 4  # a frame
_TEXTURE_CELL = 8  # pixels: survives downscaling to 320x180 and costs the encoder real bits
_SIZE = re.compile(r"pattern:(\d+)x(\d+)(?:@(\d+(?:\.\d+)?))?")
_MINIMUM_SIDE, _MAXIMUM_SIDE, _MAXIMUM_FPS = 64, 4096, 120

Luma = npt.NDArray[np.uint8]

# 3x5 dots of each digit and the colon, one row per number, highest bit left.
_GLYPHS = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 1, 1, 1),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
    ":": (0, 2, 0, 2, 0),
}


def parse_pattern(spec: str) -> VideoFormat:
    """`pattern` or `pattern:WIDTHxHEIGHT[@FPS]`; SourceUnreadable says what is wrong with another."""
    if spec == "pattern":
        return DEFAULT_VIDEO
    match = _SIZE.fullmatch(spec)
    if match is None:
        raise SourceUnreadable(f"{spec!r} is no pattern; give pattern or pattern:WIDTHxHEIGHT@FPS")
    width, height = int(match[1]) & ~1, int(match[2]) & ~1
    fps = float(match[3] or DEFAULT_VIDEO.fps)
    sides_fit = all(_MINIMUM_SIDE <= side <= _MAXIMUM_SIDE for side in (width, height))
    if not sides_fit or not 1 <= fps <= _MAXIMUM_FPS:
        raise SourceUnreadable(
            f"{spec!r} is out of range; sides go from {_MINIMUM_SIDE} to {_MAXIMUM_SIDE} pixels, "
            f"frames per second from 1 to {_MAXIMUM_FPS}"
        )
    return VideoFormat(width, height, fps)


class PatternSource:
    """Endless, or `duration_s` long. Frame k has pts k / fps and carries k modulo 2**16."""

    def __init__(
        self,
        video: VideoFormat | None = DEFAULT_VIDEO,
        audio: AudioFormat | None = DEFAULT_AUDIO,
        *,
        duration_s: float = float("inf"),
    ) -> None:
        self._video = video
        self._audio = audio
        self._duration_s = duration_s
        self._painter = PatternPainter(video) if video else None
        self._second = _one_second_of_sound(audio) if audio else None
        self._frame_number = 0
        self._samples_read = 0
        self._closed = False

    @property
    def video(self) -> VideoFormat | None:
        """As given."""
        return self._video

    @property
    def audio(self) -> AudioFormat | None:
        """As given."""
        return self._audio

    def read_video(self) -> DecodedVideoFrame | None:
        """The next picture."""
        if self._closed or self._video is None or self._painter is None:
            return None
        number, fps = self._frame_number, self._video.fps
        if number / fps >= self._duration_s:
            return None
        self._frame_number += 1
        return DecodedVideoFrame(self._video.width, self._video.height, self._painter.paint(number), number / fps)

    def leave_out_video(self, before_s: float) -> None:
        """Draw nothing of what comes before that."""
        if self._video:
            self._frame_number = max(self._frame_number, math.ceil(before_s * self._video.fps))

    def read_audio(self) -> DecodedAudio | None:
        """The next 20 ms of sound."""
        if self._closed or self._audio is None or self._second is None:
            return None
        rate, channels = self._audio.sample_rate, self._audio.channels
        first = self._samples_read
        if first / rate >= self._duration_s:
            return None
        count = int(rate * AUDIO_CHUNK_S)
        self._samples_read += count
        offset = first % rate
        chunk = self._second[offset : offset + count]
        return DecodedAudio(rate, channels, count, chunk.tobytes(), first / rate)

    def close(self) -> None:
        """Further reads return None."""
        self._closed = True


class PatternPainter:
    """Draws frames of one format; the still parts are drawn once."""

    def __init__(self, video: VideoFormat) -> None:
        self._video = video
        width, height = video.width, video.height
        self._scroll = _scrolling_luma(width, height)
        self._chroma = _color_bars(width, height)
        self._frame = np.empty(width * height + self._chroma.size, dtype=np.uint8)
        self._frame[width * height :] = self._chroma
        self._luma = self._frame[: width * height].reshape(height, width)
        self._edges = _cell_edges(width)
        self._strip_lines = round(height * _STRIP_HEIGHT)
        self._flash = _region(height, width, _FLASH_BOX)
        self._dot = max(2, height // 90)

    def paint(self, number: int) -> bytes:
        """Frame `number` as I420."""
        shift = number * _SCROLL_PIXELS % self._video.width
        np.copyto(self._luma, self._scroll[:, shift : shift + self._video.width])
        for cell, bit in enumerate(_strip_bits(number)):
            self._luma[: self._strip_lines, self._edges[cell] : self._edges[cell + 1]] = _WHITE if bit else _BLACK
        pts_s = number / self._video.fps
        self._luma[self._flash] = _WHITE if pts_s % 1.0 < FLASH_S else _BLACK
        self._draw_clock(int(pts_s))
        return self._frame.tobytes()

    def _draw_clock(self, seconds: int) -> None:
        text = f"{seconds // 3600 % 100:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        dot, top, left = self._dot, self._video.height // 3, self._video.width // 8
        board = self._luma[top : top + 7 * dot, left : left + (len(text) * 4 + 1) * dot]
        board[:] = _BLACK
        for place, character in enumerate(text):
            for row, dots in enumerate(_GLYPHS[character]):
                for column in range(3):
                    if dots & (4 >> column):
                        y, x = (row + 1) * dot, (place * 4 + column + 1) * dot
                        board[y : y + dot, x : x + dot] = _WHITE


def read_frame_number(luma: Luma) -> int | None:
    """The frame number in a received picture's Y plane (rows, columns), of any size; None if unreadable."""
    height, width = luma.shape
    if width < _MINIMUM_SIDE or height < _MINIMUM_SIDE // 2:
        return None
    lines = round(height * _STRIP_HEIGHT)
    band = luma[lines // 3 : max(lines // 3 + 1, lines * 2 // 3)].astype(np.float32).mean(axis=0)
    edges = _cell_edges(width)
    levels = [_middle(band, edges[cell], edges[cell + 1]) for cell in range(_CELLS)]
    white, black = (levels[0] + levels[-1]) / 2, (levels[1] + levels[-2]) / 2
    if white - black < _MINIMUM_CONTRAST:
        return None
    bits = [level > (white + black) / 2 for level in levels]
    number = sum(bit << place for place, bit in enumerate(reversed(bits[2 : 2 + FRAME_NUMBER_BITS])))
    return number if tuple(map(int, bits)) == _strip_bits(number) else None


def read_flash(luma: Luma) -> bool:
    """Whether the square flashes in a received picture's Y plane."""
    height, width = luma.shape
    rows, columns = _region(height, width, _FLASH_BOX)
    box = luma[rows, columns]
    # Away from the edges, which scaling and compression blur.
    inner = box[box.shape[0] // 4 : -(box.shape[0] // 4) or None, box.shape[1] // 4 : -(box.shape[1] // 4) or None]
    return bool(inner.mean() > _GRAY)


def beep_level(samples: npt.NDArray[np.int16], sample_rate: int) -> float:
    """Amplitude of the beep's tone in mono `samples`, 0 to 1; about 0.5 while it beeps, under 0.05 between."""
    phase = 2 * np.pi * BEEP_HZ / sample_rate * np.arange(samples.size)
    signal = samples.astype(np.float64) / 32768
    return float(2 * np.hypot(signal @ np.cos(phase), signal @ np.sin(phase)) / max(1, samples.size))


def _strip_bits(number: int) -> tuple[int, ...]:
    value = number % (1 << FRAME_NUMBER_BITS)
    check = (value ^ value >> 4 ^ value >> 8 ^ value >> 12) & 0xF ^ 0b1010
    coded = value << _CHECK_BITS | check
    places = range(FRAME_NUMBER_BITS + _CHECK_BITS - 1, -1, -1)
    return (*_GUARD, *(coded >> place & 1 for place in places), *reversed(_GUARD))


def _cell_edges(width: int) -> list[int]:
    return [round(width * cell / _CELLS) for cell in range(_CELLS + 1)]


def _middle(band: npt.NDArray[np.float32], left: int, right: int) -> float:
    margin = (right - left) // 4
    return float(band[left + margin : max(right - margin, left + margin + 1)].mean())


def _region(height: int, width: int, box: tuple[float, float, float, float]) -> tuple[slice, slice]:
    top, bottom, left, right = box
    return slice(round(height * top), round(height * bottom)), slice(round(width * left), round(width * right))


def _scrolling_luma(width: int, height: int) -> Luma:
    """A gradient with texture, twice as wide as the picture, whose two halves are alike."""
    random = np.random.default_rng(1)
    rows, columns = -(-height // _TEXTURE_CELL), -(-width // _TEXTURE_CELL)
    texture = random.integers(-24, 25, size=(rows, columns))
    texture = texture.repeat(_TEXTURE_CELL, axis=0).repeat(_TEXTURE_CELL, axis=1)[:height, :width]
    gradient = _GRAY + 70 * np.sin(2 * np.pi * np.arange(width) / width)
    luma = np.clip(gradient + texture, _BLACK, _WHITE).astype(np.uint8)
    return np.concatenate((luma, luma), axis=1)


def _color_bars(width: int, height: int) -> Luma:
    """U and V planes: eight bars around the color circle, colorless behind strip and flash."""
    columns, rows = width // 2, height // 2
    angle = 2 * np.pi * (np.arange(columns) * 8 // columns) / 8
    planes = []
    for wave in (np.cos(angle), np.sin(angle)):
        plane = np.tile((_GRAY + 60 * wave).astype(np.uint8), (rows, 1))
        plane[: round(rows * _STRIP_HEIGHT)] = _GRAY
        plane[_region(rows, columns, _FLASH_BOX)] = _GRAY
        planes.append(plane.ravel())
    return np.concatenate(planes)


def _one_second_of_sound(audio: AudioFormat) -> npt.NDArray[np.int16]:
    """Samples by channels. All tones are whole numbers of periods a second, so seconds join without a click."""
    time = np.arange(audio.sample_rate) / audio.sample_rate
    syllables = (0.5 - 0.5 * np.cos(2 * np.pi * 4 * time)) ** 2  # speech has about four a second
    voice = sum(level * np.sin(2 * np.pi * pitch * time) for pitch, level in ((130, 0.5), (260, 0.3), (650, 0.2)))
    sound = 0.1 * syllables * voice
    beep = time < FLASH_S
    ramp = np.minimum(1, np.minimum(time, np.maximum(FLASH_S - time, 0)) / 0.005)
    sound = np.where(beep, 0.5 * ramp * np.sin(2 * np.pi * BEEP_HZ * time), sound)
    mono = np.round(sound * 32767).astype(np.int16)
    return np.repeat(mono[:, np.newaxis], audio.channels, axis=1)

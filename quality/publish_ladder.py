"""What a sent video may be published as: settings, what each step down changes, and what fits into a bandwidth. Pure.

The SDK makes three simulcast layers of a picture from 960 pixels on, the lower two with fixed bitrates, and its
libwebrtc enables the highest layer from some 30 kb/s on (measured: a 720p layer of 1 to 15 frames a second at the worst
quantizer, between 0.65 and 1.2 Mb/s). A smaller picture fits there whole.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from quality import presets
from quality.video_model import VideoCodec

LOWER_LAYERS_BPS = (160_000.0, 450_000.0)  # LiveKit's presets for the lower layers, lowest first
# Least that libwebrtc's own simulcast table gives a layer, by its lines (video/config/simulcast.cc).
_LEAST_BPS = (
    (180, 30_000.0),
    (270, 150_000.0),
    (360, 150_000.0),
    (540, 350_000.0),
    (720, 600_000.0),
    (1080, 800_000.0),
)
_LINES = (1080, 720, 540, 360)  # what a picture is made smaller to: below, libwebrtc does it by itself
_THREE_LAYERS_FROM_PIXELS = 960 * 540  # below, libwebrtc sends two layers; below 480x270 one
_TWO_LAYERS_FROM_PIXELS = 480 * 270
_LEAST_FPS = 5.0


class Limit(StrEnum):
    """What keeps a video from being sent as published; names of W3C `RTCQualityLimitationReason`."""

    CPU = "cpu"
    BANDWIDTH = "bandwidth"


class Move(StrEnum):
    """What is changed: frames a second, lines of the picture; the codec, one layer in place of simulcast layers, or the
    bitrate of that layer.
    """

    FPS = "fps"
    LINES = "lines"
    CODEC = "codec"
    SIMULCAST = "simulcast"
    BITRATE = "bitrate"

    @property
    def republishes(self) -> bool:
        """Whether the track has to be published anew for it."""
        return self in {Move.CODEC, Move.SIMULCAST, Move.BITRATE}


@dataclass(frozen=True, slots=True)
class Published:
    """A video as its publisher wants it. `layered`: in simulcast layers; `screen`: its size is not to be changed."""

    width: int
    height: int
    fps: float
    codec: VideoCodec = VideoCodec.VP8
    layered: bool = True
    screen: bool = False

    @property
    def lines(self) -> int:
        """The shorter side."""
        return min(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is changed of a publication; None is as published. `lines` are those of the shorter side.

    `simulcast` False: one layer in place of several, with `max_bitrate_bps` at most.
    """

    max_fps: float | None = None
    lines: int | None = None
    codec: VideoCodec | None = None
    simulcast: Literal[False] | None = None
    max_bitrate_bps: int | None = None

    @property
    def track(self) -> tuple[VideoCodec | None, Literal[False] | None, int | None]:
        """What no track that is published can be changed to: it takes another one."""
        return self.codec, self.simulcast, self.max_bitrate_bps


@dataclass(frozen=True, slots=True)
class Rung:
    """One step down."""

    move: Move
    settings: Settings


def one_layer(published: Published) -> Rung:
    """One layer in place of several.

    It begins small, not to be made smaller still by libwebrtc in the moment in which both tracks share the way.
    """
    lines = min(smaller_lines(published), default=None)
    return Rung(Move.SIMULCAST, Settings(lines=lines, simulcast=False))


def rungs(published: Published, limit: Limit) -> tuple[Rung, ...]:
    """The steps down against `limit`, cheapest for who watches first."""
    thinner = [
        Rung(Move.FPS, Settings(max_fps=max(_LEAST_FPS, round(published.fps * share, 1)))) for share in (2 / 3, 1 / 2)
    ]
    smaller = [Rung(Move.LINES, Settings(lines=lines)) for lines in smaller_lines(published)]
    if limit is Limit.CPU:
        cheaper = (
            [Rung(Move.CODEC, Settings(codec=VideoCodec.VP8))]
            if published.codec in {VideoCodec.VP9, VideoCodec.AV1}
            else []
        )
        return (*thinner, *smaller[:1], *cheaper, *smaller[1:])
    alone = (one_layer(published),) if published.layered else ()
    if published.screen:
        return (*thinner, Rung(Move.FPS, Settings(max_fps=max(_LEAST_FPS, round(published.fps / 4, 1)))), *alone)
    # A single layer is made smaller by libwebrtc itself, and an SVC encoder's layers are.
    return (*smaller, *alone) if published.layered else ()


def yields(published: Published) -> tuple[Rung, ...]:
    """What leaves the way to a screen of ours, least first; none for a screen.

    It is then as the lower layers are. A smaller picture alone would not do: an encoder fills the bitrate that it was
    published with.
    """
    return tuple(
        Rung(
            Move.BITRATE,
            Settings(lines=lines if lines < published.lines else None, simulcast=False, max_bitrate_bps=round(bps)),
        )
        for lines, bps in reversed(tuple(zip(presets.LINES, LOWER_LAYERS_BPS, strict=True)))
        if lines <= published.lines and not published.screen
    )


def smaller_lines(published: Published) -> tuple[int, ...]:
    """The sizes below that of `published`, largest first; none for a screen, whose text must stay readable."""
    return () if published.screen else tuple(lines for lines in _LINES if lines < published.lines)


def combined(applied: tuple[Rung, ...]) -> Settings:
    """All of `applied` together: the lowest of each."""
    every = [rung.settings for rung in applied]
    return Settings(
        max_fps=min((each.max_fps for each in every if each.max_fps is not None), default=None),
        lines=min((each.lines for each in every if each.lines is not None), default=None),
        codec=next((each.codec for each in every if each.codec is not None), None),
        simulcast=next((each.simulcast for each in every if each.simulcast is not None), None),
        max_bitrate_bps=min((each.max_bitrate_bps for each in every if each.max_bitrate_bps is not None), default=None),
    )


def least_bps(lines: int) -> float:
    """Bits per second below which a layer of so many lines is no picture to watch."""
    smallest, largest = _LEAST_BPS[0], _LEAST_BPS[-1]
    if lines <= smallest[0]:
        return smallest[1]
    for (fewer, low), (more, high) in pairwise(_LEAST_BPS):
        if lines <= more:
            return low + (high - low) * (lines - fewer) / (more - fewer)
    return largest[1] * (lines / largest[0]) ** 2


def needed_bps(published: Published, lines: int, *, margin: float = 1.0) -> float:
    """What all simulcast layers of that picture need; `margin` times the least for the highest."""
    pixels = published.width * published.height * (lines / published.lines) ** 2
    lower: tuple[float, ...] = LOWER_LAYERS_BPS if pixels >= _THREE_LAYERS_FROM_PIXELS else LOWER_LAYERS_BPS[1:]
    if pixels < _TWO_LAYERS_FROM_PIXELS:
        lower = ()
    return sum(lower) + margin * least_bps(lines)


def fitting_lines(published: Published, available_bps: float, *, margin: float = 1.0) -> int | None:
    """The largest picture, as published included, whose layers fit; None where even the smallest does not."""
    sizes = (published.lines, *smaller_lines(published))
    return next((lines for lines in sizes if needed_bps(published, lines, margin=margin) <= available_bps), None)


def scaled_size(width: int, height: int, lines: int | None) -> tuple[int, int]:
    """The even sides of a picture whose shorter side is `lines`; unchanged where that is no smaller."""
    shorter = min(width, height)
    if lines is None or lines >= shorter or shorter <= 0:
        return width, height
    return max(2, round(width * lines / shorter) & ~1), max(2, round(height * lines / shorter) & ~1)

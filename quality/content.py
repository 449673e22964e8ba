"""What decoded sound and pictures show by themselves: level, silence and clipping; black and still pictures.

`quality.content_tally` counts it.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Self

FULL_SCALE = 32_768.0
DIGITAL_SILENCE_DBFS = -127.0  # the least that RFC 6464 can say


@dataclass(frozen=True, slots=True)
class Content:
    """What was seen and heard of a track over some time; None for what it does not have, or was not looked at.

    `level_dbfs` is the RMS of all sound together, 0 for a square wave at full scale (as RFC 6464's dBov), -127 to 0.
    The ratios are shares of the stretches of sound (for `clipped_ratio`, of their samples those in runs of three and
    more at full scale) or of the pictures. `still_ratio`: pictures that are like the one looked at before.
    """

    level_dbfs: float | None = None
    silent_ratio: float | None = None
    clipped_ratio: float | None = None
    black_ratio: float | None = None
    still_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class ContentCounts:
    """What was looked at since a track began, or between two moments; all of it only grows.

    `sounds` are stretches of sound, `silent` those of them that nobody would hear; `samples` is how many samples they
    had, `clipped` how many of these were in runs at full scale and `energy` the sum of their squares (16 bits each).
    `compared` pictures had one before them, `still` ones were like it.
    """

    sounds: int = 0
    silent: int = 0
    samples: int = 0
    clipped: int = 0
    energy: float = 0.0
    pictures: int = 0
    black: int = 0
    compared: int = 0
    still: int = 0

    def plus(self, other: Self) -> Self:
        """Both together."""
        return type(self)(
            self.sounds + other.sounds,
            self.silent + other.silent,
            self.samples + other.samples,
            self.clipped + other.clipped,
            self.energy + other.energy,
            self.pictures + other.pictures,
            self.black + other.black,
            self.compared + other.compared,
            self.still + other.still,
        )

    def since(self, before: Self) -> Self:
        """What came after `before`; all of it where counting began anew in between."""
        gained = {name: getattr(self, name) - getattr(before, name) for name in _COUNTS}
        return self if min(gained.values()) < 0 else replace(self, **gained)

    @property
    def content(self) -> Content:
        """What these counts say."""
        return Content(
            level_dbfs=level_dbfs(self.energy / self.samples) if self.samples else None,
            silent_ratio=self.silent / self.sounds if self.sounds else None,
            clipped_ratio=self.clipped / self.samples if self.samples else None,
            black_ratio=self.black / self.pictures if self.pictures else None,
            still_ratio=self.still / self.compared if self.compared else None,
        )


_COUNTS = tuple(each.name for each in fields(ContentCounts))
NOTHING_SEEN = ContentCounts()


def level_dbfs(mean_square: float) -> float:
    """Decibels of full scale for the mean square of 16-bit samples."""
    if mean_square <= 0.0:
        return DIGITAL_SILENCE_DBFS
    return min(0.0, max(DIGITAL_SILENCE_DBFS, 10.0 * math.log10(mean_square / FULL_SCALE**2)))

"""What decoded sound and pictures show by themselves: level, silence and clipping; black and still pictures.

Pure functions over numpy arrays. Thresholds are those of the tools that people check files with: FFmpeg's silencedetect
(-60 dB), blackdetect (a tenth of the luma range, 98% of the picture) and freezedetect (-60 dB of difference), and
Audacity's "Find Clipping" (three samples in a row).
"""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32_768.0
DIGITAL_SILENCE_DBFS = -127.0  # the least that RFC 6464 can say
SILENCE_DBFS = -60.0
CLIPPED_SAMPLE = 32_700  # Opus does not keep a clipped top quite flat: within 0.02 dB of full scale
CLIPPED_RUN = 3
BLACK_LUMA = 38  # 16 + a tenth of 219: WebRTC's I420 has the limited range of BT.601
BLACK_SHARE = 0.98
STILL_DIFFERENCE = 0.001  # mean absolute difference of luma, of its whole range
SPARSE_STEP = 4  # every fourth pixel each way tells black and still as well


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


def is_black(luma: NDArray[np.uint8]) -> bool:
    """Whether nearly all of a picture is black; `luma` of any shape, limited range."""
    return luma.size > 0 and float(np.mean(luma <= BLACK_LUMA)) >= BLACK_SHARE


def is_still(luma: NDArray[np.uint8], before: NDArray[np.uint8]) -> bool:
    """Whether a picture is the same as the one `before` but for coding noise; of another size it is not."""
    if luma.shape != before.shape or luma.size == 0:
        return False
    difference = np.abs(luma.astype(np.int16) - before)
    return float(np.mean(difference)) / 255.0 <= STILL_DIFFERENCE


def sparse(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every fourth pixel of every fourth row, as a copy of its own."""
    return luma[::SPARSE_STEP, ::SPARSE_STEP].copy()


def _energy(samples: NDArray[np.int16]) -> float:
    """The sum of squares."""
    exact = samples.astype(np.float64)
    return float(np.dot(exact, exact))


def _clipped(samples: NDArray[np.int16]) -> int:
    if samples.max() < CLIPPED_SAMPLE and samples.min() > -CLIPPED_SAMPLE:
        return 0  # as nearly all sound: the rest takes longer
    full = np.abs(samples.astype(np.int32)) >= CLIPPED_SAMPLE
    edges = np.flatnonzero(np.diff(np.concatenate(([0], full.view(np.int8), [0]))))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= CLIPPED_RUN].sum())


@dataclass(slots=True)
class ContentTally:
    """Counts what sounds and pictures of one track show; `counts` is all since it began."""

    counts: ContentCounts = field(default_factory=ContentCounts)
    _before: NDArray[np.uint8] | None = field(default=None, repr=False)

    def add_sound(self, samples: NDArray[np.int16]) -> None:
        """Look at a stretch of sound. One without samples is silent and has no level."""
        size, energy = samples.size, _energy(samples)
        clipped = _clipped(samples) if size else 0
        silent = size == 0 or level_dbfs(energy / size) <= SILENCE_DBFS
        self.counts = self.counts.plus(ContentCounts(1, int(silent), size, clipped, energy))

    def add_picture(self, luma: NDArray[np.uint8]) -> None:
        """Look at a picture's luma, rows by columns."""
        seen, before = sparse(luma), self._before
        compared, still = (0, 0) if before is None else (1, int(is_still(seen, before)))
        self.counts = self.counts.plus(
            ContentCounts(pictures=1, black=int(is_black(seen)), compared=compared, still=still)
        )
        self._before = seen

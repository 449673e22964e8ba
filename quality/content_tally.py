"""Looks at decoded sound and pictures, and counts what they show by themselves.

Pure functions over numpy arrays. Thresholds are those of the tools that people check files with: FFmpeg's silencedetect
(-60 dB), blackdetect (a tenth of the luma range, 98% of the picture) and freezedetect (-60 dB of difference), and
Audacity's "Find Clipping" (three samples in a row).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quality.content import ContentCounts, level_dbfs

SILENCE_DBFS = -60.0
CLIPPED_SAMPLE = 32_700  # Opus does not keep a clipped top quite flat: within 0.02 dB of full scale
CLIPPED_RUN = 3
BLACK_LUMA = 38  # 16 + a tenth of 219: WebRTC's I420 has the limited range of BT.601
BLACK_SHARE = 0.98
STILL_DIFFERENCE = 0.001  # mean absolute difference of luma, of its whole range
SPARSE_STEP = 4  # every fourth pixel each way tells black and still as well


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

"""Where flashes and beeps are in a file, and how far apart: lip sync measured from what a player would decode.

Reads what `media.sources.sync` publishes, in MP4 and HLS. A flash is at the presentation time of its first frame; one
whose first frame was dropped by the sender's encoder is left out, which its mark shows. A beep is at the first sample
that is loud, on the timeline of the decoded samples. Opus delays sound by the encoder's look-ahead
(`OPUS_LOOKAHEAD_S`); that constant is the sender's, and is taken off here.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from media.sources.sync import Mark, read_mark, read_white

OPUS_LOOKAHEAD_S = 312 / 48_000
"""libopus looks ahead 6.5 ms at 48 kHz: 2.5 ms of CELT overlap and 4 ms of delay compensation (opus_encoder.c)."""

_LOUD = 0.12
_SILENCE_S = 0.2
_PAIRED_WITHIN_S = 0.45


@dataclass(frozen=True)
class Marks:
    """Flashes by the second they spell, and beeps, in seconds of the file; and how many pictures could be read."""

    flashes: dict[int, float]
    beeps: tuple[float, ...]
    pictures: int
    unreadable: int

    def beep_of(self, second: int) -> float | None:
        """The beep that goes with a flash."""
        flash = self.flashes[second]
        nearest = min(self.beeps, key=lambda beep: abs(beep - flash), default=None)
        return nearest if nearest is not None and abs(nearest - flash) < _PAIRED_WITHIN_S else None

    def offsets_ms(self) -> dict[int, float]:
        """By second, how much later the sound comes than the picture; seconds without one of the two are left out."""
        pairs = ((second, self.beep_of(second)) for second in self.flashes)
        return {second: 1000 * (beep - self.flashes[second]) for second, beep in pairs if beep is not None}


@dataclass(frozen=True)
class Spread:
    """Quantiles of the absolute values of some differences, in milliseconds, and their signed mean."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def __str__(self) -> str:
        return (
            f"n={self.count} mean={self.mean_ms:+.1f} p50={self.p50_ms:.1f} p95={self.p95_ms:.1f} "
            f"p99={self.p99_ms:.1f} max={self.max_ms:.1f} ms"
        )


def spread(differences_ms: list[float]) -> Spread:
    """Of at least one difference."""
    sizes = np.abs(differences_ms)
    p50, p95, p99 = np.percentile(sizes, [50, 95, 99])
    return Spread(len(sizes), float(np.mean(differences_ms)), float(p50), float(p95), float(p99), float(sizes.max()))


def find_marks(entry: Path) -> Marks:
    """The flashes and beeps of a file or HLS presentation, all of it decoded."""
    flashes: dict[int, float] = {}
    beeps: list[float] = []
    pictures = unreadable = 0
    loud_until_s = -1.0
    with av.open(str(entry), "r") as container:
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    mark = _flash(frame)
                    pictures += 1
                    unreadable += mark is None
                    # HLS shows the first picture from zero on, however late it came.
                    if mark is not None and mark.frame == 0 and pictures > 1:
                        flashes[mark.second] = frame.time
                elif isinstance(frame, av.AudioFrame) and frame.time is not None:
                    samples = np.abs(frame.to_ndarray()[0].astype(np.float64))
                    for index in np.flatnonzero(samples > _LOUD):
                        at_s = frame.time + float(index) / frame.sample_rate - OPUS_LOOKAHEAD_S
                        if at_s - loud_until_s > _SILENCE_S:
                            beeps.append(at_s)
                        loud_until_s = at_s
    return Marks(flashes, tuple(beeps), pictures, unreadable)


def _flash(frame: av.VideoFrame) -> Mark | None:
    """The mark of a picture; None when it cannot be read or when mark and brightness contradict each other."""
    luma = frame.to_ndarray(format="gray").astype(np.uint8, copy=False)
    mark = read_mark(luma)
    if mark is None or (mark.frame == 0) > (read_white(luma) > 0.5):
        return None
    return mark

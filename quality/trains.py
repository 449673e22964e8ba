"""How long the packets of a video's frames take to come: by their bits on the narrowest link, and by jitter besides.

The packets of a frame leave the server back to back, and the narrowest link of the way spaces them by the time that it
takes for each (packet trains: Dovrolis, Ramanathan and Moore, "Packet-Dispersion Techniques and a Capacity-Estimation
Methodology", 2004). W3C's `totalAssemblyTime` is the time from a frame's first packet to its last, added up. Jitter
adds to it, by about as much for a short frame as for a long one: a wide way would look narrow. What it adds is told
apart by videos whose frames are of unlike size: seconds a frame are bits a frame over the rate, plus the jitter.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from quality.window import Window

HEADER_BYTES = 60  # of RTP with its extensions, SRTP, UDP and IP: W3C's bytes leave them out
LEAST_FRAMES = 3  # fewer tell nothing of what a frame takes
UNLIKE = 1.5  # times the bits of another video's frames: jitter can be told apart
DEVIATION = 0.15  # of a second's mean, as seen on a real link
LEAST_BITS = 100_000.0  # behind first packets: fewer say nothing
RESOLUTION_S = 0.0003  # of a second's mean: the counter has milliseconds, of many frames
KEPT = 0.98  # of what was learned, a second: half of it is of the last 35
LEAST_LEFT = 0.2  # of the seconds, without jitter: what is left is as uncertain as the jitter


@dataclass(frozen=True, slots=True)
class Train:
    """Bits behind the first packets of frames, the seconds in which they arrived, and how many frames those were."""

    bits: float = 0.0
    seconds: float = 0.0
    frames: int = 0

    def plus(self, other: "Train") -> "Train":
        """Both."""
        return Train(self.bits + other.bits, self.seconds + other.seconds, self.frames + other.frames)

    def without(self, jitter_s: float) -> "Train":
        """This as it would have come without so much jitter in each frame."""
        return Train(self.bits, max(LEAST_LEFT * self.seconds, self.seconds - jitter_s * self.frames), self.frames)

    def is_closer_than(self, bps: float) -> bool:
        """Whether enough came, and closer than a way of that width would space it."""
        return self.bits >= max(LEAST_BITS, bps * self.seconds)


NO_TRAIN = Train()


def total(trains: Iterable[Train]) -> Train:
    """All of them together."""
    return reduce(Train.plus, trains, NO_TRAIN)


def train(window: Window) -> Train:
    """What a second of a received video tells; nothing where no frame had more than one packet."""
    behind = window.packets - window.frames
    if not window.frames_assembled or behind <= 0:
        return NO_TRAIN
    bits = behind * (window.bytes / window.packets + HEADER_BYTES) * 8
    return Train(bits, window.assembly_s, window.frames_assembled)


@dataclass(frozen=True, slots=True)
class Jitter:
    """What was learned of jitter so far. Begin with `NO_JITTER`.

    `precision` is one over the variance of what was found, `weighted_s` what was found times that.
    """

    precision: float = 0.0
    weighted_s: float = 0.0

    def after(self, trains: tuple[Train, ...]) -> "Jitter":
        """With a second more in which nothing was lost, of all videos: weighted least squares over their frames."""
        kept = Jitter(KEPT * self.precision, KEPT * self.weighted_s)
        points = [(item.bits / item.frames, item.seconds / item.frames) for item in trains if _tells(item)]
        sizes = [bits for bits, _ in points]
        if len(points) < 2 or max(sizes) < UNLIKE * min(sizes):
            return kept
        weighted = [((DEVIATION * seconds + RESOLUTION_S) ** -2, bits, seconds) for bits, seconds in points]
        weights = math.fsum(weight for weight, _, _ in weighted)
        mean_bits = math.fsum(weight * bits for weight, bits, _ in weighted) / weights
        mean_s = math.fsum(weight * seconds for weight, _, seconds in weighted) / weights
        spread = math.fsum(weight * (bits - mean_bits) ** 2 for weight, bits, _ in weighted)
        together = math.fsum(weight * (bits - mean_bits) * seconds for weight, bits, seconds in weighted)
        found_s = mean_s - together / spread * mean_bits
        precision = 1.0 / (1.0 / weights + mean_bits**2 / spread)
        return Jitter(kept.precision + precision, kept.weighted_s + precision * found_s)

    @property
    def seconds(self) -> float:
        """What jitter adds to a frame at least: what was found, less what it may err by."""
        if not self.precision:
            return 0.0
        return max(0.0, self.weighted_s / self.precision - math.sqrt(1.0 / self.precision))


NO_JITTER = Jitter()


def _tells(item: Train) -> bool:
    return item.frames >= LEAST_FRAMES and item.bits >= item.frames

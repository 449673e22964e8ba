"""A subscribed video in the simulated world: what is forwarded of it, and what came of it so far."""

import math
from dataclasses import dataclass, field
from functools import cache
from random import Random

from quality.allocation import Layer, Subscription
from quality.stats import VideoQuality
from tests.simulation.server import TEMPORAL_BITS, TEMPORAL_FRAMES, TEMPORAL_LAYERS, rungs

LARGEST_PACKET_BITS = 1200 * 8
PLI_THROTTLE_S = 1.0  # the server asks a publisher for key frames no oftener
REPEATS = 3  # of a lost packet, by the server
NOTHING_AGAIN = (0.0,) * REPEATS

FrameSize = tuple[float, float, int]  # of the frames of a temporal layer: their share, their bits, their packets


@cache
def usual_frames(item: Subscription, quality: VideoQuality | None, temporal: int) -> tuple[tuple[float, float], ...]:
    """Of a layer with so many temporal layers: each one's share of the frames, and the bits of one."""
    whole = next(layer for layer in item.layers if layer.quality is quality)
    found = []
    below_bits = below_frames = 0.0
    for bits, frames in zip(TEMPORAL_BITS[: temporal + 1], TEMPORAL_FRAMES[: temporal + 1], strict=True):
        size = (bits - below_bits) * whole.bitrate_bps / ((frames - below_frames) * whole.fps)
        share = (frames - below_frames) / TEMPORAL_FRAMES[temporal]
        found.append((share, size))
        below_bits, below_frames = bits, frames
    return tuple(found)


@dataclass(slots=True)
class Track:
    """A subscribed track's state in the world."""

    subscription: Subscription
    random: Random
    forwarded: VideoQuality | None = VideoQuality.HIGH
    switch_to: VideoQuality | None = VideoQuality.HIGH
    temporal: int = TEMPORAL_LAYERS - 1
    key_frame_bits: float = 0.0
    switch_at: float | None = None
    scene: float = 0.0
    key_frame: bool = True
    broken_until: float | None = None
    broken_since: float = 0.0
    asked_key_frame: bool = False
    asked_key_frame_at: float = -PLI_THROTTLE_S
    requested: VideoQuality = VideoQuality.HIGH
    again_bits: tuple[float, ...] = NOTHING_AGAIN  # sent for the second time, the third and the last
    packets: float = 0.0
    lost: float = 0.0
    bytes: float = 0.0
    frames: float = 0.0
    freezes: int = 0
    frozen_s: float = 0.0
    buffer_s: float = 0.0
    pli: int = 0
    assembled: float = 0.0
    assembly_s: float = 0.0
    measuring: Random = field(default_factory=Random)
    measured: float = 1.0

    @property
    def activity(self) -> float:
        """Of the scene: times the usual bits."""
        return max(0.5, 1.0 + self.scene)

    def layer(self) -> Layer | None:
        """What is forwarded, with the bits and frames of its temporal layers."""
        if self.forwarded is None:
            return None
        return [layer for layer in rungs(self.subscription) if layer.quality is self.forwarded][self.temporal]

    def frame_sizes(self) -> tuple[FrameSize, ...]:
        """Of the frames that are forwarded, as active as the scene is."""
        usual = usual_frames(self.subscription, self.forwarded, self.temporal)
        sizes = [(share, bits * self.activity) for share, bits in usual]
        return tuple((share, bits, math.ceil(bits / LARGEST_PACKET_BITS)) for share, bits in sizes)

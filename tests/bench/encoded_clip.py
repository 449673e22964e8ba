"""A short H.264 clip to publish again and again without an encoder: moving noise at an exact bitrate."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 25
CLIP_S = 2
KEYFRAME_S = 2  # a receiver that asks for a key frame gets the next one by jumping to it
_NOISE = 40


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """Access units in Annex B; `keyframes` are the indices of those that start with an IDR picture."""

    width: int
    height: int
    units: tuple[bytes, ...]
    keyframes: tuple[int, ...]

    def keyframe_after(self, index: int) -> int:
        """The next key frame at or after `index`, around the end."""
        return next((number for number in self.keyframes if number >= index), self.keyframes[0])


def encode_clip(path: Path, width: int, height: int, bitrate_bps: int) -> None:
    """Encode `CLIP_S` seconds of noise with x264 at constant bitrate into an Annex B file."""
    random = np.random.default_rng(1)
    picture = random.integers(60, 190, (height * 3 // 2, width), np.uint8)
    grains = [random.integers(0, _NOISE, picture.shape, np.uint8) for _ in range(5)]
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", bitrate_bps
        stream.time_base = Fraction(1, FPS)
        stream.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "x264-params": f"keyint={KEYFRAME_S * FPS}:scenecut=0:nal-hrd=cbr:repeat-headers=1",
            "maxrate": str(bitrate_bps),
            "bufsize": str(bitrate_bps // 4),
        }
        for index in range(CLIP_S * FPS):
            moved = np.roll(picture, index * 4, axis=1)
            frame = av.VideoFrame.from_ndarray(moved + grains[index % len(grains)], "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_clip(path: Path) -> EncodedClip:
    """Read what `encode_clip` wrote."""
    units: list[bytes] = []
    keyframes: list[int] = []
    with av.open(str(path), format="h264") as container:
        stream = container.streams.video[0]
        width, height = stream.width, stream.height
        for packet in container.demux(stream):
            if packet.size:
                if packet.is_keyframe:
                    keyframes.append(len(units))
                units.append(bytes(packet))
    return EncodedClip(width, height, tuple(units), tuple(keyframes))

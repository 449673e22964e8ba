"""What somebody who plays an output sees and hears: it is decoded, and the marks of `recordings` are looked for."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np


@dataclass(frozen=True)
class Playback:
    """Seconds from the output's zero at which the picture turns white and the tone begins, and what else was seen."""

    flashes: tuple[float, ...]
    tones: tuple[float, ...]
    frames: int
    sizes: frozenset[tuple[int, int]]
    audio_s: float


def play(entry: Path) -> Playback:
    """Decode all of a file or HLS presentation."""
    flashes: list[float] = []
    tones: list[float] = []
    sizes: set[tuple[int, int]] = set()
    frames = 0
    white = sounding = False
    silent_since_s = audio_s = 0.0
    with av.open(str(entry), "r") as container:
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    frames += 1
                    sizes.add((frame.width, frame.height))
                    luma = frame.to_ndarray(format="gray")
                    was, white = white, bool(luma[luma.shape[0] * 3 // 4 :].mean() > 140)
                    if white and not was and frame.time is not None:
                        flashes.append(round(frame.time, 3))
                elif isinstance(frame, av.AudioFrame):
                    assert frame.time is not None
                    samples = np.abs(frame.to_ndarray()[0].astype(np.float64))
                    audio_s += frame.samples / frame.sample_rate
                    for index in np.flatnonzero(samples > 0.1):
                        time_s = frame.time + index / frame.sample_rate
                        # The tone swings through zero; only a pause of 50 ms ends it.
                        if not sounding or time_s - silent_since_s > 0.05:
                            tones.append(round(float(time_s), 3))
                        sounding, silent_since_s = True, time_s
    return Playback(tuple(flashes), tuple(tones), frames, frozenset(sizes), round(audio_s, 3))

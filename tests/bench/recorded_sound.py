"""What it costs to listen to recorded sound: CPU time of a track, from its RTP packets to the file, with and without.

Run: python -m tests.bench.recorded_sound [seconds]. Packets come as fast as they can be taken, so that nothing but the
work is measured; judging once a second is in it. Listening is timed within, as runs differ by more than it takes. Each
figure is the least and the median of seven runs.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import structlog
from numpy.typing import NDArray

from agent.room.recorded_sound import RecordedSound
from media.frames import EncodedFrame
from tests.agent.room.fed_tap import FedRecording
from tests.media.opus_sounds import HZ, PACKETS_PER_S, encode, tone

RUNS = 7


class Timed(RecordedSound):
    """Counts the CPU seconds that listening takes."""

    def __init__(self) -> None:
        super().__init__()
        self.used_s = 0.0

    def take(self, track_sid: str, frames: Sequence[EncodedFrame]) -> None:
        """Listen, by the clock."""
        began = time.thread_time()
        super().take(track_sid, frames)
        self.used_s += time.thread_time() - began


def costs_ms(folder: Path, packets: Sequence[bytes]) -> tuple[float, float]:
    """CPU milliseconds of one second of a track without listening, the writer thread's included, and of listening."""
    recorded = FedRecording(folder)
    recorded.tracks.sound = sound = Timed()
    began = time.process_time()
    recorded.play(packets)
    recorded.recording.close(recorded.fed.now, "requested")
    seconds = len(packets) / PACKETS_PER_S
    return (time.process_time() - began - sound.used_s) / seconds * 1000, sound.used_s / seconds * 1000


def speech(seconds: int) -> NDArray[np.int16]:
    """As hard to code as speech: noise of some hundred hertz that comes and goes three times a second."""
    rough = np.random.default_rng(1).normal(0, 1, seconds * HZ)
    smooth = np.convolve(rough, np.hanning(60), "same") * (1 + np.sin(6 * np.pi * np.arange(rough.size) / HZ))
    samples: NDArray[np.int16] = (smooth / smooth.std() * 3000).clip(-32_768, 32_767).astype(np.int16)
    return samples


def main(seconds: int = 60) -> None:
    """Print a line for each kind of sound."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    loads = {
        "speech, mono": encode(speech(seconds)),
        "speech, stereo": encode(speech(seconds), stereo=True),
        "tone, mono": encode(tone(seconds)),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, packets in loads.items():
            runs = [costs_ms(Path(folder) / f"{name}-{run}", packets) for run in range(RUNS)]
            without, listening = zip(*runs, strict=True)
            print(
                f"{name:16} without {min(without):4.2f} to {median(without):4.2f} ms a second; "
                f"listening {min(listening) / 10:.3f} to {median(listening) / 10:.3f}% of a core"
            )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))

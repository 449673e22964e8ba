"""Sound that a program makes while it is published: a queue with a clock, of which something always comes. Pure."""

from collections import deque

import numpy as np
import numpy.typing as npt

from agent.errors import InvalidSettings
from media.sources.pacer import Wait
from media.sources.source import AUDIO_CHUNK_S, AudioFormat, DecodedAudio

CAPACITY_S = 1.0  # as LiveKit's own source has: a sentence that is cut short is soon over
# Who makes sound in real time is never exactly on time; what is later than this is heard as a gap.
GRACE_S = 0.04
SAMPLE_RATES, CHANNELS = range(8_000, 192_001, 100), (1, 2)  # the native layer takes whole 10 ms
UNTAKEN_S = 1.0  # one chunk in 20 ms is taken of sound that is published

Samples = npt.NDArray[np.int16]
"""Samples by channels."""


def check_format(audio: AudioFormat) -> None:
    """Raises InvalidSettings for what cannot be sent."""
    if audio.sample_rate not in SAMPLE_RATES:
        raise InvalidSettings(
            f"sample_rate is {audio.sample_rate}; give a multiple of 100 from 8000 to 192000, and resample to it"
        )
    if audio.channels not in CHANNELS:
        raise InvalidSettings(f"channels is {audio.channels}; give 1 or 2")


def checked_samples(samples: object, audio: AudioFormat) -> Samples:
    """A copy of `samples`, by channels. Raises InvalidSettings where they are not of that format."""
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16:
        given = f"an array of {samples.dtype}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise InvalidSettings(f"the sound is {given}; give a numpy array of int16")
    if samples.ndim == 1 and audio.channels == 1:
        samples = samples[:, np.newaxis]
    if samples.ndim != 2 or samples.shape[1] != audio.channels:
        wanted = "(samples,) or (samples, 1)" if audio.channels == 1 else f"(samples, {audio.channels})"
        raise InvalidSettings(f"the sound has the shape {samples.shape}; give {wanted}")
    return np.array(samples, np.int16, order="C")


class SoundQueue:
    """What is pushed, cut to chunks of 20 ms whose times follow the clock: `now` is in seconds since the first `take`.

    Where there is nothing, there is silence; sound that comes after it begins there and then. What is pushed is never
    left out to catch up: where it was not taken in time, it comes later.
    """

    def __init__(self, audio: AudioFormat) -> None:
        self._audio = audio
        self._chunk = int(audio.sample_rate * AUDIO_CHUNK_S)
        self._capacity = int(audio.sample_rate * CAPACITY_S)
        self._parts: deque[Samples] = deque()
        self._queued = 0
        self._pushed = 0
        self._position_s = 0.0
        self._resting = True
        self._taken_at = 0.0

    @property
    def pushed(self) -> int:
        """Samples of each channel that were taken in so far."""
        return self._pushed

    @property
    def passed(self) -> int:
        """Those of them that were given out, or dropped."""
        return self._pushed - self._queued

    def push(self, samples: Samples, now: float) -> int:
        """Take in as many of `samples` as there is room for; how many."""
        taken = samples[: self._capacity - self._queued]
        if len(taken):
            if self._resting and not self._queued:
                self._position_s = max(self._position_s, now)
            self._parts.append(taken)
            self._queued += len(taken)
            self._pushed += len(taken)
        return len(taken)

    def clear(self) -> None:
        """Drop what is queued."""
        self._parts.clear()
        self._queued = 0

    def take(self, now: float, *, ended: bool = False) -> DecodedAudio | Wait | None:
        """The next chunk, or when to ask again unless something is pushed; None where it `ended` and all is given."""
        self._taken_at = now
        late_s = now - self._position_s
        if ended and not self._queued:
            return None
        if self._queued >= self._chunk or ended:
            if late_s > GRACE_S:
                self._position_s = now
            return self._give()
        if late_s < GRACE_S:
            return Wait(GRACE_S - late_s)
        self._position_s = now - GRACE_S
        return self._give()

    def is_over(self, now: float) -> bool:
        """Whether all is given that anybody takes."""
        return not self._queued or self.untaken_s(now) > UNTAKEN_S

    def untaken_s(self, now: float) -> float:
        """For how long nobody has asked for a chunk."""
        return now - self._taken_at

    def time_of(self, mark: int) -> float | None:
        """When the sample after the first `mark` of those pushed is heard; None while that is not known."""
        return None if mark > self.passed else self._position_s - (self.passed - mark) / self._audio.sample_rate

    def _give(self) -> DecodedAudio:
        chunk = np.zeros((self._chunk, self._audio.channels), np.int16)
        filled = 0
        while self._parts and filled < self._chunk:
            part = self._parts.popleft()
            used = part[: self._chunk - filled]
            chunk[filled : filled + len(used)] = used
            filled += len(used)
            if len(used) < len(part):
                self._parts.appendleft(part[len(used) :])
        self._queued -= filled
        self._resting = filled < self._chunk
        pts_s = self._position_s
        self._position_s += self._chunk / self._audio.sample_rate
        return DecodedAudio(self._audio.sample_rate, self._audio.channels, self._chunk, chunk.tobytes(), pts_s)

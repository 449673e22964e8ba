"""Sound in chunks of one length, each where its time says: a pure core that takes samples and gives chunks."""

from collections.abc import Iterator

from media.sources.source import AUDIO_CHUNK_S, AudioFormat, DecodedAudio

JUMP_S = 0.05  # times are this far off the counted ones without meaning it: rounding in containers, padding of codecs
BACK_LIMIT_S = 1.0  # more is no overlap: files put one behind the other, whose times begin anew
LENGTH_TOLERANCE_S = 1.0  # lengths in headers are rounded, and estimated for some formats
SAMPLE_BYTES = 2


class SoundLine:
    """Counts the samples of one stream, so that chunks join; holes become silence, and what overlaps is left out.

    `length_s` is how long the stream is said to be, 0 where nothing says so: times behind that are not believed.
    """

    def __init__(self, audio: AudioFormat, length_s: float = 0.0) -> None:
        self._audio = audio
        self._length_s = length_s
        self._chunk = int(audio.sample_rate * AUDIO_CHUNK_S)
        self._width = SAMPLE_BYTES * audio.channels
        self._begun = False
        self._begin_s = 0.0
        self._next_s = 0.0
        self._moved_s = 0.0  # the line is so much later than the stream's times since those began anew
        self._given = 0
        self._left_out = 0
        self._held = bytearray()

    def jump_s(self, time_s: float | None, duration_s: float) -> float:
        """How far from the end of what came before the next `duration_s` of sound belong, by the stream's `time_s`.

        0 where they join, less than 0 where they overlap. To be called once for all sound, in order.
        """
        jump_s = 0.0
        if time_s is not None:
            if not self._begun:
                self._begin_s = self._next_s = max(0.0, time_s)
            jump_s = self._believed_s(time_s)
        self._begun = True
        self._next_s += jump_s + duration_s
        return jump_s

    def _believed_s(self, time_s: float) -> float:
        jump_s = time_s + self._moved_s - self._next_s
        if not self._begun:
            return jump_s
        if abs(jump_s) <= JUMP_S:
            return 0.0
        behind = self._length_s and time_s + self._moved_s > self._length_s + LENGTH_TOLERANCE_S
        if behind or jump_s < -BACK_LIMIT_S:
            self._moved_s -= jump_s
            return 0.0
        return jump_s

    def jump(self, jump_s: float) -> Iterator[DecodedAudio]:
        """Silence for a hole of so many seconds; less than 0: leave so much of what is added next out."""
        samples = round(jump_s * self._audio.sample_rate)
        self._left_out += max(0, -samples)
        while samples > 0:
            part = min(samples, self._chunk)
            samples -= part
            yield from self._joined(bytes(part * self._width))

    def add(self, data: bytes) -> Iterator[DecodedAudio]:
        """Whole chunks with these samples."""
        left_out = min(self._left_out, len(data) // self._width)
        self._left_out -= left_out
        yield from self._joined(data[left_out * self._width :])

    def rest(self) -> Iterator[DecodedAudio]:
        """What is left at the end: less than a chunk, or nothing."""
        if self._held:
            yield self._take(len(self._held) // self._width)

    def _joined(self, data: bytes) -> Iterator[DecodedAudio]:
        self._held += data
        while len(self._held) >= self._chunk * self._width:
            yield self._take(self._chunk)

    def _take(self, samples: int) -> DecodedAudio:
        rate, size = self._audio.sample_rate, samples * self._width
        data, pts_s = bytes(self._held[:size]), self._begin_s + self._given / rate
        del self._held[:size]
        self._given += samples
        return DecodedAudio(rate, self._audio.channels, samples, data, pts_s)

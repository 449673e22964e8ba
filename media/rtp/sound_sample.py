"""Which of a track's Opus packets to decode, so that a little of its sound is heard for a little CPU.

Of each 0.9 s a run of packets that follow each other, 160 ms long: the first half brings a decoder into step, the other
is to be listened to. All times are those of the media, so that a burst of late packets is no more to decode.
"""

from dataclasses import dataclass

from media.errors import RtpError
from media.frames import EncodedFrame
from media.rtp.depacketise.opus import opus_duration

HZ = 48_000
INTERVAL = HZ * 9 // 10  # below a second: each look at a track's statistics has one, and what beats in seconds is heard
SETTLING = HZ * 8 // 100  # RFC 7845 section 4.6; after 60 ms a tone is still 1.2 dB too soft, then 0.5
LISTENED = HZ * 8 // 100
DTX_BYTES = 2  # need not be transmitted, says opus_encoder.h: the first ones of a pause come all the same


@dataclass(frozen=True, slots=True)
class SoundRun:
    """Decode `packets` one after the other, from a fresh state; what the first `settling` of them give does not count.

    Without packets it is a pause: the sender's encoder found nothing worth sending (DTX).
    """

    packets: tuple[bytes, ...] = ()
    settling: int = 0

    @property
    def is_pause(self) -> bool:
        """Whether there is nothing to decode, as there was nothing to say."""
        return not self.packets


class SoundSampler:
    """Give it all Opus packets of one track in order; it keeps one run at most."""

    def __init__(self) -> None:
        self._due = 0
        self._next = 0
        self._run: list[tuple[bytes, int]] = []

    def take(self, frame: EncodedFrame) -> SoundRun | None:
        """The next packet; a run when it is the last of one."""
        at = frame.rtp_timestamp
        if at < self._due:
            return None
        if len(frame.data) <= DTX_BYTES:
            return self._done(at, SoundRun())
        if frame.discontinuity or at != self._next:
            self._run.clear()
        samples = _samples(frame.data)
        if samples == 0:
            self._run.clear()
            return None
        self._run.append((frame.data, samples))
        self._next = at + samples
        total = sum(each for _, each in self._run)
        if total < SETTLING + LISTENED:
            return None
        return self._done(self._next - total, SoundRun(tuple(data for data, _ in self._run), self._settling()))

    def _settling(self) -> int:
        """How many packets reach `SETTLING`; one at least is left."""
        passed = 0
        for count, (_, samples) in enumerate(self._run[:-1]):
            if passed >= SETTLING:
                return count
            passed += samples
        return len(self._run) - 1

    def _done(self, began: int, run: SoundRun) -> SoundRun:
        self._run.clear()
        self._due = began + INTERVAL
        return run


def _samples(packet: bytes) -> int:
    """How long a packet is; 0 where it is none."""
    try:
        return opus_duration(packet)
    except RtpError:
        return 0

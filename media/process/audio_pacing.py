"""Keeping copied Opus on the output's timeline without touching a packet (pure).

A packet lasts as long as it decodes to (as Opus in ISO media is meant), and players count samples whatever a file says.
So the packets of an output follow one another, and where the sender's sound card runs slow or fast against the
recording's clock, whole packets make up for it: silence goes in, or a packet is left out, before the sound is 15 ms
off. It is done where it is not heard, in a pause, if one comes in time.
"""

from dataclasses import dataclass

# CELT-only, full band, mono, one frame of 20, 10, 5 and 2.5 ms that decodes to silence (RFC 6716 section 3.1).
SILENCE = ((960, b"\xf8\xff\xfe"), (480, b"\xf0\xff\xfe"), (240, b"\xe8\xff\xfe"), (120, b"\xe0\xff\xfe"))
SILENCE_PACKETS = frozenset(packet for _, packet in SILENCE)

# From 10 ms on silence brings the sound nearer to where it belongs; from 12 ms on it does not wait for a pause.
_FILL_IN_PAUSE = 480
_FILL = 576
# Parts of a packet by which sound may be ahead before one is left out. What is then missing must stay below a fill.
_SKIP_IN_PAUSE = 0.6
_SKIP = 0.75
# A packet this small against the usual one is a pause in speech.
_PAUSE = 0.5
_USUAL_OF = 50


@dataclass(frozen=True, slots=True)
class Placement:
    """Silence first (each packet with its samples), then the packet at `time`, unless it is `skipped`."""

    time: int
    silence: tuple[tuple[int, bytes], ...] = ()
    skipped: bool = False


class AudioPacer:
    """Decides for one output track, packet by packet. Times are 48 kHz samples from the output's zero."""

    def __init__(self) -> None:
        self._end = 0
        self._usual_bytes = 0.0

    def place(self, time: int, duration: int, size_bytes: int) -> Placement:
        """Where the packet goes that belongs at `time` and decodes to `duration` samples."""
        pause = size_bytes <= _PAUSE * self._usual_bytes
        self._usual_bytes += (size_bytes - self._usual_bytes) / _USUAL_OF
        behind = time - self._end
        if -behind >= (_SKIP_IN_PAUSE if pause else _SKIP) * duration:
            return Placement(self._end, skipped=True)
        silence = _silence(behind) if behind >= (_FILL_IN_PAUSE if pause else _FILL) else ()
        start = self._end + sum(samples for samples, _ in silence)
        self._end = start + duration
        return Placement(start, silence)

    def fill(self, time: int) -> Placement:
        """Silence up to `time`, after all packets; where the sound has come to that already, none."""
        silence = _silence(max(0, time - self._end))
        self._end += sum(samples for samples, _ in silence)
        return Placement(self._end, silence)


def _silence(samples: int) -> tuple[tuple[int, bytes], ...]:
    """Packets that fill `samples` to within 2.5 ms, the longest first."""
    packets: list[tuple[int, bytes]] = []
    for length, packet in SILENCE:
        count, samples = divmod(samples, length)
        packets += [(length, packet)] * count
    return tuple(packets)

"""Sequence numbers and timestamps that wrap, as integers that do not."""

# A sender that restarts picks a new random number; a gap this wide is that or an outage so long
# that nothing before it can still be repaired. Ten seconds at 300 packets per second.
SEQUENCE_JUMP = 3000

_TIMESTAMP_HALF = 1 << 31
_TIMESTAMP_MASK = (1 << 32) - 1


class SequenceUnwrapper:
    """Extends 16-bit RTP sequence numbers (RFC 3550 appendix A.1).

    The first number lies one cycle up, so that packets reordered around the start stay positive.
    """

    __slots__ = ("highest",)

    def __init__(self) -> None:
        self.highest = -1
        """The highest extended number so far; -1 before the first."""

    def locate(self, sequence_number: int) -> int:
        """The extended number nearest to the highest; nothing is remembered."""
        highest = self.highest
        if highest < 0:
            return 0x10000 | sequence_number
        return highest + (((sequence_number - highest + 0x8000) & 0xFFFF) - 0x8000)

    def unwrap(self, sequence_number: int) -> int:
        """The extended number nearest to the highest, which it may become."""
        extended = self.locate(sequence_number)
        self.highest = max(self.highest, extended)
        return extended

    def is_jump(self, sequence_number: int) -> bool:
        """Whether a number is more than `SEQUENCE_JUMP` away from the highest, in either direction."""
        return self.highest >= 0 and abs(self.locate(sequence_number) - self.highest) > SEQUENCE_JUMP

    def restart(self, sequence_number: int) -> int:
        """Go on at a number that has no relation to those before: it becomes the highest.

        The extended number still grows, by at most one cycle, and keeps its lower 16 bits.
        """
        self.highest += (sequence_number - self.highest) & 0xFFFF
        return self.highest


class TimestampUnwrapper:
    """Extends 32-bit RTP timestamps to the value nearest to the last one; may go back."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: int | None = None
        """The last unwrapped timestamp; None before the first."""

    def locate(self, timestamp: int) -> int:
        """The unwrapped value nearest to the last one; nothing is remembered."""
        last = self.last
        if last is None:
            return timestamp
        return last + (((timestamp - last + _TIMESTAMP_HALF) & _TIMESTAMP_MASK) - _TIMESTAMP_HALF)

    def unwrap(self, timestamp: int) -> int:
        """The unwrapped value nearest to the last one, which it becomes."""
        self.last = self.locate(timestamp)
        return self.last

    def skip_cycles(self, cycles: int) -> None:
        """Count whole cycles of 2**32 that passed while no packet came."""
        if self.last is not None:
            self.last += cycles << 32

"""Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from struct import Struct

_HEADER = Struct("!BBH")
_FEEDBACK = Struct("!IIHHI")
_TRANSPORT_FEEDBACK = 205
_TRANSPORT_WIDE = 15
_DELTA_TICKS_PER_S = 4000  # 250 us
_REFERENCE_TICKS = 256  # of those; 64 ms
_NOT_RECEIVED, _SMALL_DELTA, _LARGE_DELTA = range(3)
_RUN_MAX = (1 << 13) - 1
_VECTOR_LENGTH = 7  # two-bit symbols in a 14-bit vector
# A receiver that was silent for longer starts anew: numbers in between are not worth their chunks.
_STATUS_MAX = 4096
_TOLD_MOST = 400  # at 2.3 bytes each at most
_INTERVAL_S = 0.1  # within the draft's 50 to 250 ms


def build_transport_feedback(
    sender_ssrc: int, media_ssrc: int, base: int, arrivals: dict[int, float], feedback_count: int
) -> bytes:
    """One feedback packet (section 3.1) for at least one packet.

    `arrivals`: extended transport-wide sequence number to arrival in seconds; numbers from `base` to the
    highest that are not there are told as not received.
    """
    numbers = sorted(arrivals)
    count = numbers[-1] - base + 1
    ticks = round(arrivals[numbers[0]] * _DELTA_TICKS_PER_S)
    reference = ticks // _REFERENCE_TICKS
    at = reference * _REFERENCE_TICKS
    symbols = [_NOT_RECEIVED] * count
    deltas = bytearray()
    for number in numbers:
        delta = max(-32768, min(32767, round(arrivals[number] * _DELTA_TICKS_PER_S) - at))
        at += delta
        small = 0 <= delta <= 255
        symbols[number - base] = _SMALL_DELTA if small else _LARGE_DELTA
        deltas += delta.to_bytes(1) if small else delta.to_bytes(2, signed=True)
    body = _FEEDBACK.pack(
        sender_ssrc, media_ssrc, base & 0xFFFF, count, (reference & 0xFF_FFFF) << 8 | feedback_count & 0xFF
    )
    body += b"".join(chunk.to_bytes(2) for chunk in _pack_chunks(symbols)) + deltas
    padding = -len(body) % 4
    if padding:
        body += bytes(padding - 1) + bytes((padding,))
    first = 0x80 | (0x20 if padding else 0) | _TRANSPORT_WIDE
    return _HEADER.pack(first, _TRANSPORT_FEEDBACK, len(body) // 4) + body


def _pack_chunks(symbols: list[int]) -> Iterator[int]:
    """Status chunks (sections 3.1.3 and 3.1.4): runs where they pay, else vectors of seven."""
    runs = [(symbol, len(list(items))) for symbol, items in groupby(symbols)]
    at = run = into = 0
    while at < len(symbols):
        symbol, length = runs[run]
        left = length - into
        if left >= _VECTOR_LENGTH or at + left == len(symbols):
            taken = min(left, _RUN_MAX)
            yield symbol << 13 | taken
        else:
            chosen = symbols[at : at + _VECTOR_LENGTH]
            taken = len(chosen)
            chosen += [_NOT_RECEIVED] * (_VECTOR_LENGTH - taken)
            yield 0xC000 | sum(item << 2 * (_VECTOR_LENGTH - 1 - place) for place, item in enumerate(chosen))
        at += taken
        into += taken
        while run < len(runs) and into >= runs[run][1]:
            into -= runs[run][1]
            run += 1


@dataclass(slots=True)
class ArrivalRecorder:
    """Remembers arrivals by transport-wide sequence number and gives them when feedback is due."""

    _arrivals: dict[int, float] = field(default_factory=dict)
    _highest: int = -1
    _next: int = 0
    _due: float = 0.0

    def receive(self, sequence_number: int, arrival_time: float) -> None:
        """Take a packet's 16-bit number."""
        if self._highest < 0:
            extended = self._next = 0x10000 | sequence_number
        else:
            extended = self._highest + ((sequence_number - self._highest + 0x8000 & 0xFFFF) - 0x8000)
        self._highest = max(self._highest, extended)
        self._arrivals.setdefault(extended, arrival_time)

    def take_due(self, now: float) -> list[tuple[int, dict[int, float]]]:
        """What `build_transport_feedback` needs since the last time, for each packet of it; nothing within 100 ms.

        Numbers missing after the last feedback's are told with this one. A packet tells of so few that it passes
        everywhere, also where all that came while the process stood still is told at once.
        """
        if now < self._due or not self._arrivals:
            return []
        self._due = now + _INTERVAL_S
        oldest = self._highest - _STATUS_MAX
        arrivals = {number: at for number, at in self._arrivals.items() if number > oldest}
        base = max(oldest + 1, min(self._next, *arrivals, self._highest))
        self._arrivals = {}
        self._next = self._highest + 1
        told = []
        while arrivals:
            part = {number: at for number, at in arrivals.items() if number < base + _TOLD_MOST}
            arrivals = {number: at for number, at in arrivals.items() if number >= base + _TOLD_MOST}
            if part:
                told.append((base, part))
            base += _TOLD_MOST
        return told

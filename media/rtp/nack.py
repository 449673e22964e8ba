"""Which missing packets to ask for again, and when (RFC 4585 section 6.2.1)."""

from collections import deque
from dataclasses import dataclass

# Weight of a new sample in the smoothed round-trip time (RFC 6298 section 2).
_RTT_GAIN = 1 / 8
# So many answers in a row to packets that were asked for more than once are no chance.
_UNCLEAR = 4


@dataclass(frozen=True, slots=True)
class NackConfig:
    """When to ask.

    `reorder_tolerance_s`: a packet may just be late. `min_interval_s`: livekit-server ignores what it
    is asked again within 100 ms, so asking sooner is wasted. `rtt_factor` and `backoff` spread the
    asks over `max_age_s`: the server answers three per packet, and a burst of loss may eat the first.
    `max_missing`: the oldest are forgotten beyond it. `max_per_poll`: keeps a NACK below 1200 bytes.
    """

    reorder_tolerance_s: float = 0.02
    min_interval_s: float = 0.11
    rtt_factor: float = 1.5
    backoff: float = 1.5
    max_asks: int = 10
    max_age_s: float = 2.0
    max_missing: int = 1000
    max_per_poll: int = 250


class _Missing:
    __slots__ = ("asks", "due", "first_asked_at", "noticed_at")

    def __init__(self, noticed_at: float, due: float) -> None:
        self.noticed_at = noticed_at
        self.due = due
        self.asks = 0
        self.first_asked_at = 0.0


class NackTracker:
    """Keeps the missing extended sequence numbers of one stream and says which are due."""

    __slots__ = ("_asked", "_config", "_missing", "_next_due", "_rtt_s", "_unclear", "packets_recovered")

    def __init__(self, config: NackConfig | None = None) -> None:
        self._config = config or NackConfig()
        self._missing: dict[int, _Missing] = {}
        self._asked: dict[int, None] = {}  # as an ordered set
        self._next_due = float("inf")
        self._rtt_s = 0.0
        self._unclear: deque[float] = deque(maxlen=2 * _UNCLEAR)
        self.packets_recovered = 0
        """Packets that came after they were asked for."""

    @property
    def missing(self) -> tuple[int, ...]:
        """The extended sequence numbers that are missed, in the order in which they were noticed."""
        return tuple(self._missing)

    @property
    def deadline(self) -> float | None:
        """When `poll` has something to do; None when nothing is missing."""
        return self._next_due if self._missing else None

    @property
    def round_trip_time_s(self) -> float | None:
        """From asking for a packet to its arrival, smoothed; None before the first that was asked for once came."""
        return self._rtt_s or None

    def gap(self, first: int, end: int, now: float) -> None:
        """The extended sequence numbers from `first` to before `end` were skipped."""
        missing = self._missing
        due = now + self._config.reorder_tolerance_s
        for sequence in range(max(first, end - self._config.max_missing), end):
            missing[sequence] = _Missing(now, due)
        if len(missing) > self._config.max_missing:
            for sequence in list(missing)[: len(missing) - self._config.max_missing]:
                del missing[sequence]
        self._next_due = min(self._next_due, due)

    def arrived(self, sequence: int, now: float, *, answers: bool = True) -> bool:
        """A packet came that was not the next in order, by whatever way; whether it was missed and asked for.

        `answers`: it may have been sent for that, and is not just late.
        """
        entry = self._missing.pop(sequence, None)
        if entry is None or not entry.asks:
            return False
        self.packets_recovered += 1
        took_s = now - entry.first_asked_at
        if not answers:
            return True
        if entry.asks == 1:
            self._rtt_s += (took_s - self._rtt_s) * (_RTT_GAIN if self._rtt_s else 1.0)
            self._unclear.clear()
        else:
            # After a second ask it is open which of them was answered (Karn's rule).
            self._unclear.append(took_s)
        return True

    def _patience_s(self) -> float:
        """What a round trip may take that is so long that every packet is asked for again before an answer can come.

        Nothing would ever tell how long that is, and each would come twice. A lost answer alone says nothing of it.
        """
        return min(self._unclear) if len(self._unclear) >= _UNCLEAR else 0.0

    def was_asked(self, sequence: int) -> bool:
        """Whether it is among the last of those that were asked for, so that a copy of it may well come late."""
        return sequence in self._asked

    def forget_before(self, sequence: int) -> None:
        """Stop asking for what the jitter buffer gave up: everything below `sequence`."""
        if self._missing:
            for old in [missing for missing in self._missing if missing < sequence]:
                del self._missing[old]

    def clear(self) -> None:
        """Forget everything missing: the sender counts anew."""
        self._missing.clear()
        self._asked.clear()
        self._next_due = float("inf")

    def poll(self, now: float) -> tuple[int, ...]:
        """The extended sequence numbers to ask for now, ascending; they count as asked."""
        if now < self._next_due:
            return ()
        config = self._config
        asked: list[int] = []
        next_due = float("inf")
        interval = max(config.min_interval_s, config.rtt_factor * max(self._rtt_s, self._patience_s()))
        for sequence, entry in list(self._missing.items()):
            if now - entry.noticed_at >= config.max_age_s or entry.asks >= config.max_asks:
                del self._missing[sequence]
                continue
            if entry.due <= now and len(asked) < config.max_per_poll:
                entry.due = now + interval * config.backoff**entry.asks
                entry.first_asked_at = entry.first_asked_at if entry.asks else now
                entry.asks += 1
                asked.append(sequence)
                self._asked[sequence] = None
            next_due = min(next_due, entry.due)
        self._next_due = next_due
        while len(self._asked) > config.max_missing:
            del self._asked[next(iter(self._asked))]
        return tuple(sorted(asked))

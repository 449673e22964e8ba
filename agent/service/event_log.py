"""The last events of all rooms, in one bounded ring that every listener reads at its own pace (pure)."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

RING_EVENTS = 4096  # about 10 minutes of a busy service; some MB


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that happened. `room` is empty where it is about no room; `at` is Unix seconds."""

    sequence: int
    event: str
    room: str
    at: float
    fields: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events after a cursor. `missed` counts those that had left the ring before they were read."""

    events: tuple[ServiceEvent, ...]
    missed: int
    cursor: int


class EventLog:
    """Keeps the newest `capacity` events. A reader that falls behind loses the oldest, and is told how many.

    `epoch` tells this log from the one of an earlier run: sequences of another epoch mean nothing here.
    """

    def __init__(self, epoch: str, capacity: int = RING_EVENTS) -> None:
        self.epoch = epoch
        self._ring: deque[ServiceEvent] = deque(maxlen=capacity)
        self._next = 1
        self._listeners: list[Callable[[], None]] = []
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether no more events will come."""
        return self._closed

    def close(self) -> None:
        """Say that no more events will come, and wake the listeners."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    @property
    def cursor(self) -> int:
        """The sequence of the newest event; 0 when there was none."""
        return self._next - 1

    def append(self, event: str, room: str, at: float, fields: dict[str, JsonValue] | None = None) -> ServiceEvent:
        """Add an event, and wake the listeners."""
        entry = ServiceEvent(self._next, event, room, at, fields or {})
        self._next += 1
        self._ring.append(entry)
        self._wake()
        return entry

    def read_after(self, cursor: int, limit: int = 256) -> Batch:
        """Up to `limit` events after `cursor`, oldest first."""
        oldest = self._next - len(self._ring)
        start = max(cursor + 1, oldest)
        first = start - oldest
        events = tuple(self._ring[index] for index in range(first, min(first + limit, len(self._ring))))
        missed = start - (cursor + 1)
        return Batch(events, missed, events[-1].sequence if events else max(cursor, start - 1))

    def event_id(self, entry: ServiceEvent) -> str:
        """The id that a listener gives back as `Last-Event-ID`."""
        return f"{self.epoch}-{entry.sequence}"

    def cursor_of(self, event_id: str) -> int | None:
        """The cursor for an id from `event_id`; None when it is of another epoch or no id at all."""
        epoch, _, number = event_id.rpartition("-")
        if epoch != self.epoch or not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        return min(int(number), self.cursor)

    def add_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each event; returns what takes it off again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

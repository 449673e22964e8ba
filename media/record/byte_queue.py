"""A queue between the event loop and a writer thread, bounded by the bytes it holds."""

import threading
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

_LINGER_S = 0.1
"""How long a consumer lets items gather. Waking a thread for each frame costs more than writing the frame."""


class ByteQueue(Generic[ItemT]):
    """Producers never wait: `put` says no when the queue is full, and what then happens is theirs to say.

    Items count until the consumer released them, so that a consumer stuck in the disk fills the queue.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: list[tuple[ItemT, int]] = []
        self._changed = threading.Condition()
        self._urgent = False

    @property
    def held_bytes(self) -> int:
        """What it holds, taken and not yet released items included."""
        return self._bytes

    def has_room(self, size_bytes: int) -> bool:
        """Whether `put` of that size would work; with one producer it then does."""
        with self._changed:
            return self._bytes + size_bytes <= self._max_bytes

    def put(self, item: ItemT, size_bytes: int) -> bool:
        """Add an item; False when it has no room."""
        with self._changed:
            if self._bytes + size_bytes > self._max_bytes:
                return False
            self._add(item, size_bytes)
        return True

    def put_always(self, item: ItemT, *, urgent: bool = False) -> None:
        """Add an item that is small and must not be lost; `urgent` ones wake the consumer at once."""
        with self._changed:
            self._urgent = self._urgent or urgent
            self._add(item, 0)

    def take(self) -> list[tuple[ItemT, int]]:
        """Wait for items and take all there are, in order, each with its size."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items))
            self._changed.wait_for(lambda: self._urgent, timeout=_LINGER_S)
            items, self._items = self._items, []
            self._urgent = False
            return items

    def release(self, size_bytes: int) -> None:
        """The consumer is done with an item of that size."""
        with self._changed:
            self._bytes -= size_bytes

    def _add(self, item: ItemT, size_bytes: int) -> None:
        self._items.append((item, size_bytes))
        self._bytes += size_bytes
        if len(self._items) == 1 or self._urgent:
            self._changed.notify()

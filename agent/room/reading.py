"""Reading what blocks, in a thread of its own."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Reader(Generic[T]):
    """Calls `read`, which blocks, in a thread of its own whenever it is asked to; one at a time.

    Threads that all share would be taken up by sources that wait for a program. It never keeps a process from ending.
    """

    def __init__(self, read: Callable[[], T | None], *, name: str) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._asked: queue.SimpleQueue[asyncio.Future[T | None] | None] = queue.SimpleQueue()
        self._answer: asyncio.Future[T | None] | None = None
        self._closed = False
        threading.Thread(target=self._run, name=f"read-{name}", daemon=True).start()

    def read(self) -> asyncio.Future[T | None]:
        """What the next call gives, or raises; None once this is closed."""
        self._answer = self._loop.create_future()
        if self._closed:
            self._answer.set_result(None)
        else:
            self._asked.put(self._answer)
        return self._answer

    def close(self) -> None:
        """Call it no more: who waits gets None at once, and what a call in progress gives is dropped. Idempotent."""
        self._closed = True
        self._asked.put(None)
        if self._answer and not self._answer.done():
            self._answer.set_result(None)

    def _run(self) -> None:
        while answer := self._asked.get():
            item: T | None = None
            error: Exception | None = None
            try:
                item = self._read()
            except Exception as raised:  # noqa: BLE001 - whatever a source raises is for who asked
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                self._loop.call_soon_threadsafe(_answer, answer, item, error)


def _answer(answer: asyncio.Future[T | None], item: T | None, error: Exception | None) -> None:
    if answer.done():
        return
    if isinstance(error, StopIteration):  # no future takes one
        answer.set_exception(RuntimeError("a source's read raised StopIteration; at the end it returns None"))
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(item)

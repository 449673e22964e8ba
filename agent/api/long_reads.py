"""Reads of whole recordings: a few at a time, in threads that nobody else waits for."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from agent.api.errors import ServiceUnavailable

T = TypeVar("T")

AT_ONCE = 2
MOST_ASKED = 20  # who asks again before the answer has come leaves one behind each time


class LongReads:
    """Takes seconds off the threads that rooms and the other requests share, and off the process's end.

    A read that nobody waits for any more goes on to its own end, and counts until then.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._asked = 0

    async def run(self, read: Callable[[], T]) -> T:
        """What `read` gives, or raises. ServiceUnavailable while `MOST_ASKED` are asked for already."""
        if self._asked >= MOST_ASKED:
            raise ServiceUnavailable(
                "too_many_reads", f"{self._asked} recordings are being read from end to end; try again in a minute"
            )
        self._asked += 1
        try:
            await self._places.acquire()
        except BaseException:
            self._asked -= 1
            raise
        return await self._in_thread(read)

    def _in_thread(self, read: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            self._asked -= 1
            self._places.release()
            if answer.done():
                return  # nobody waits any more
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]  # T where there is no error

        def work() -> None:
            result, error = None, None
            try:
                result = read()
            except BaseException as raised:  # noqa: BLE001 - it is raised where the answer is awaited
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=work, name="long-read", daemon=True).start()
        return answer

"""One tree of named tasks: nothing runs that nobody awaits."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def to_the_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await `coroutine` to its end, for what must not be left half done; a cancellation is raised after it."""
    task = asyncio.ensure_future(coroutine)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as cancellation:
            cancelled = cancellation
    if cancelled is None:
        return task.result()
    raise cancelled from None if task.cancelled() else task.exception()


def asked_to_end() -> bool:
    """Whether the current task was cancelled, rather than something that it awaits."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


class Tasks:
    """Owns the background tasks of one component.

    A task that fails is logged once with its name. `aclose`
    cancels what still runs and awaits it; it is idempotent, and safe under cancellation.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(
        self, coroutine: Coroutine[Any, Any, T], *, name: str, expected: type[Exception] | tuple[()] = ()
    ) -> asyncio.Task[T]:
        """Run `coroutine` as a kept task named `<owner>.<name>`; after `aclose` this is an error.

        An error that is `expected` is not logged: whoever awaits the task is told of it.
        """
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"{self._owner} is closed; {name} cannot start")
        task = asyncio.create_task(coroutine, name=f"{self._owner}.{name}")
        self._running.add(task)
        task.add_done_callback(partial(self._finished, expected=expected))
        return task

    def _finished(self, task: asyncio.Task[Any], *, expected: type[Exception] | tuple[()]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, expected):
            log.error("task_failed", task=task.get_name(), exc_info=error)

    async def aclose(self) -> None:
        """Cancel all running tasks and wait until each has ended."""
        self._closed = True
        current = asyncio.current_task()
        while others := [task for task in self._running if task is not current]:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

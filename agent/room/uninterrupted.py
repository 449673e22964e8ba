"""Running what must not be cut off half-way, in a world where any await can be cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish(task: asyncio.Task[T]) -> T:
    """Await `task` to its end even if the caller is cancelled meanwhile.

    The cancellation is raised afterwards in place of the result; an error of `task` wins over it.
    Only for what ends by itself in a known time: nothing can stop it.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


async def uninterrupted(coroutine: Coroutine[Any, Any, T], *, name: str) -> T:
    """`finish` a new task named `name` that runs `coroutine`."""
    return await finish(asyncio.create_task(coroutine, name=name))

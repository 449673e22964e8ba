"""Changing what the server says of us, and knowing that it does.

The SDK says that a change is done also where it gave up waiting for the server after 5 s, and waits as long for
an attribute that is removed (livekit 1.2.1); what it shows of us is what the server told.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from agent.errors import ConnectionLost
from agent.tasks import Tasks

LOOK_EVERY_S = 0.02
TOLD_AFTER_S = 1.0  # what the server tells of us comes on a way of its own, some milliseconds later


async def changed(tasks: Tasks, change: Callable[[], Coroutine[Any, Any, None]], holds: Callable[[], bool]) -> None:
    """Have the SDK do `change`; returns as soon as what it shows of us `holds`. Raises ConnectionLost."""
    held = holds()
    asking = tasks.start(change(), name="change")
    while not asking.done():
        await asyncio.wait({asking}, timeout=LOOK_EVERY_S)
        if holds() and not held:
            return
    for _ in range(int(TOLD_AFTER_S / LOOK_EVERY_S)):
        if holds():
            return
        await asyncio.sleep(LOOK_EVERY_S)
    raise ConnectionLost("the server did not confirm the change; try again once the connection is restored")

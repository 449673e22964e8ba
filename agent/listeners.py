"""Telling several listeners of one thing, so that the fault of one keeps no other from it."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, TypeVarTuple

import structlog

from agent.errors import InvalidSettings

log = structlog.get_logger(__name__)

L = TypeVar("L", bound=Callable[..., object])
Ts = TypeVarTuple("Ts")


def listen(listeners: list[L], listener: L) -> Callable[[], None]:
    """Add `listener`; the result, called once or more often, ends this listening and no other.

    Raises InvalidSettings for what cannot be called, and for a coroutine function, which would never run.
    """
    if not callable(listener):
        raise InvalidSettings(f"the listener is {type(listener).__name__}; give a function of one argument, the event")
    if makes_coroutines(listener):
        raise InvalidSettings(
            "the listener is an async function, which nothing would await; give a plain one that starts a task "
            "(asyncio.create_task) or puts the event into an asyncio.Queue"
        )
    # Equal functions may listen more than once: which of them is to go is told by identity.
    own: Any = functools.partial(listener)
    listeners.append(own)

    def stop() -> None:
        listeners[:] = [each for each in listeners if each is not own]

    return stop


def makes_coroutines(function: Callable[..., object]) -> bool:
    """Whether it is an async function, or an object or partial that is called like one."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def tell_all(listeners: Iterable[Callable[[*Ts], object]], *what: *Ts, fault: str, **about: str) -> None:
    """Call each with `what`. One that raises is logged as `fault`, with `about`; listeners may be added meanwhile."""
    for listener in tuple(listeners):
        try:
            listener(*what)
        except (Exception, asyncio.CancelledError):
            # A cancellation is the listener's own fault (the result of a cancelled future): nothing is awaited here.
            # Who records, restarts or publishes, and the SDK's own bookkeeping, must not fail with another one.
            log.exception(fault, **about)

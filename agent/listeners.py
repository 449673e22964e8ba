"""Telling several listeners of one thing, so that the fault of one keeps no other from it."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVarTuple

import structlog

log = structlog.get_logger(__name__)

Ts = TypeVarTuple("Ts")


def tell_all(listeners: Iterable[Callable[[*Ts], object]], *what: *Ts, fault: str, **about: str) -> None:
    """Call each with `what`. One that raises is logged as `fault`, with `about`; listeners may be added meanwhile."""
    for listener in tuple(listeners):
        try:
            listener(*what)
        except (Exception, asyncio.CancelledError):
            # A cancellation is the listener's own fault (the result of a cancelled future): nothing is awaited here.
            # Who records, restarts or publishes, and the SDK's own bookkeeping, must not fail with another one.
            log.exception(fault, **about)

"""What one listener does wrong keeps no other from being told."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from agent.errors import InvalidSettings
from agent.listeners import listen, tell_all


@pytest.mark.parametrize("fault", [ValueError("broken"), asyncio.CancelledError()], ids=["error", "cancelled"])
def test_the_fault_of_a_listener_is_logged_and_the_others_are_told(
    fault: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    def fails(_: str) -> None:
        raise fault

    tell_all([fails, told.append], "news", fault="listener_failed")
    assert told == ["news"]
    assert "listener_failed" in capsys.readouterr().out


async def waits(_: str) -> None:
    """A listener that nobody would await."""


class Waits:
    """Another one."""

    async def __call__(self, _: str) -> None:
        """It would have to be awaited."""


@pytest.mark.parametrize(
    ("listener", "said"),
    [
        (waits, "an async function"),
        (functools.partial(waits), "an async function"),
        (Waits(), "an async function"),
        (functools.partial(functools.partial(Waits()), "x"), "an async function"),
        ("waits", "the listener is str"),
    ],
)
def test_a_listener_that_would_never_run_is_refused(listener: Any, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        listen([], listener)


def test_who_listens_twice_and_stops_twice_still_listens_once() -> None:
    listeners: list[Callable[[str], None]] = []
    told: list[str] = []
    stop = listen(listeners, told.append)
    listen(listeners, told.append)
    stop()
    stop()
    tell_all(listeners, "news", fault="listener_failed")
    assert told == ["news"]

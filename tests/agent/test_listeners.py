"""What one listener does wrong keeps no other from being told."""

import asyncio

import pytest

from agent.listeners import tell_all


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

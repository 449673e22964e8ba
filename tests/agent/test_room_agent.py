"""An agent that has joined no server: what it refuses by itself, and that it leaves."""

import asyncio
from pathlib import Path

import pytest

from agent import Credentials, RoomAgent, RoomRequest, load_settings
from agent.room_recordings import RoomRecordings

CREDENTIALS = Credentials("ws://127.0.0.1:1", "APIkey", "a-secret-of-at-least-32-characters")


def agent_in(folder: Path, request: RoomRequest | None = None) -> RoomAgent:
    settings = load_settings().model_copy(update={"recordings_dir": folder})
    return RoomAgent(CREDENTIALS, request or RoomRequest("room"), settings)


def left_by(agent: RoomAgent) -> list[str]:
    """What gets a word in it as soon as the agent leaves its room."""
    left: list[str] = []

    async def step() -> None:
        left.append("the room")

    agent._session.before_leaving("test", step)
    return left


async def test_a_room_is_left_also_where_closing_is_cancelled_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    async def slow_close(_: RoomRecordings) -> None:
        await asyncio.sleep(0.1)
        closed.append("the recording")

    monkeypatch.setattr(RoomRecordings, "aclose", slow_close)
    agent = agent_in(tmp_path)
    left = left_by(agent)
    closing = asyncio.create_task(agent.aclose())
    for _ in range(2):
        await asyncio.sleep(0.01)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert (closed, left) == (["the recording"], ["the room"])


async def test_a_room_is_left_whatever_closing_its_recording_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: RoomRecordings) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(RoomRecordings, "aclose", fails)
    agent = agent_in(tmp_path)
    left = left_by(agent)
    with pytest.raises(OSError, match="the disk is gone"):
        await agent.aclose()
    assert left == ["the room"]

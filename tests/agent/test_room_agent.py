"""An agent that has joined no server: what it refuses by itself, and that it leaves."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import Credentials, RoomAgent, RoomRequest, load_settings
from agent.errors import ConnectionLost, InvalidSettings
from agent.room_recordings import RoomRecordings
from agent.tokens import ParticipantTokenRequest, check_join_token, mint_participant_token
from media.tap.tap import TapOptions

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


@pytest.mark.parametrize("given", [RoomRequest(""), RoomRequest("standup"), RoomRequest("standup", "ada")])
async def test_room_and_identity_are_those_of_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: RoomRequest
) -> None:
    taps: list[TapOptions] = []
    really = RoomRecordings.__init__

    def made(recordings: RoomRecordings, *arguments: Any) -> None:
        taps.extend(each for each in arguments if isinstance(each, TapOptions))
        really(recordings, *arguments)

    monkeypatch.setattr(RoomRecordings, "__init__", made)
    token = mint_participant_token(CREDENTIALS, ParticipantTokenRequest("standup", "ada"))
    agent = agent_in(tmp_path, replace(given, token=token))
    assert (agent.state().room, agent.state().identity) == ("standup", "ada")
    (tap,) = taps
    assert check_join_token(tap.token(), now=0) == ("standup", "ada-tap")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (RoomRequest("other"), "for room 'standup', not for 'other'"),
        (RoomRequest("standup", "bob"), "for identity 'ada', not for 'bob'"),
    ],
)
async def test_a_request_that_says_other_than_its_token_is_refused(
    tmp_path: Path, given: RoomRequest, said: str
) -> None:
    token = mint_participant_token(CREDENTIALS, ParticipantTokenRequest("standup", "ada"))
    with pytest.raises(InvalidSettings, match=said):
        agent_in(tmp_path, replace(given, token=token))


async def test_async_listeners_are_refused_and_plain_ones_stop_but_once(tmp_path: Path) -> None:
    agent = agent_in(tmp_path)
    told: list[object] = []

    async def waits(_: object) -> None:
        """Nobody would await it."""

    with pytest.raises(InvalidSettings, match="async"):
        agent.add_listener(waits)  # type: ignore[arg-type]  # that it is refused is what is tested
    stop = agent.add_listener(told.append)
    agent.add_listener(told.append)
    stop()
    stop()
    agent._tell("news")
    assert told == ["news"]


async def test_a_recording_before_the_room_is_joined_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    agent = agent_in(tmp_path)
    with pytest.raises(ConnectionLost, match="join it first"):
        await agent.start_recording()
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
    assert agent.state().recording is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (RoomRequest("room", text_topics="notes"), "text_topics is str; give a list"),  # type: ignore[arg-type]
        (RoomRequest("room", text_topics=("",)), "one of text_topics is empty"),
        (RoomRequest("room", data_tracks="tele*"), "data_tracks is str; give a list"),  # type: ignore[arg-type]
    ],
)
async def test_topics_and_patterns_are_lists(tmp_path: Path, asked: RoomRequest, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        agent_in(tmp_path, asked)

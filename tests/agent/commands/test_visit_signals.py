"""SIGUSR1 to a room in the foreground: it pauses and goes on, and never ends the process."""

import asyncio
import sys
from pathlib import Path
from typing import cast

import pytest

from agent.bot import RoomAgent
from agent.commands.output import Output
from agent.commands.visit import Chatter, Visit
from agent.config import load_settings
from agent.request import RoomRequest
from agent.room.state import ConnectionState, RecordingStatus, RoomState
from tests.integration.publishing import eventually

# The first thing that takes time is opening the export queue; here the signal comes while it does.
SIGNALLED_EARLY = """
import asyncio, os, signal
from agent.commands import visit
from agent.commands.output import Output
from agent.config import load_settings
from agent.errors import InvalidSettings
from agent.request import RoomRequest

def open_queue(settings):
    os.kill(os.getpid(), signal.SIGUSR1)
    raise InvalidSettings("the queue was being opened")

visit._open_queue = open_queue
request = RoomRequest("room", record=True)
try:
    asyncio.run(visit.Visit(load_settings(), request, Output(as_json=True), visit.Chatter()).run(1.0))
except InvalidSettings as error:
    print(error)
"""


async def test_the_signal_ends_nothing_while_the_room_is_not_joined_yet(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SIGNALLED_EARLY,
        env={
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "LIVEKIT_URL": "ws://127.0.0.1:1",
            "LIVEKIT_API_KEY": "key",
            "LIVEKIT_API_SECRET": "s" * 32,
        },
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert "the queue was being opened" in out.decode()


class PausableAgent:
    """An agent whose recording's disk refuses, paused or not."""

    def __init__(self, *, paused: bool) -> None:
        self.status = RecordingStatus("one", "/recs/one", "storage_error", 0.0, 0, 0, 0, 0, 0, paused=paused)
        self.calls: list[str] = []

    def state(self) -> RoomState:
        return RoomState("room", "RM", "roomhand", ConnectionState.CONNECTED, 0.0, recording=self.status)

    async def pause_recording(self) -> RecordingStatus:
        self.calls.append("pause")
        return self.status

    async def resume_recording(self) -> RecordingStatus:
        self.calls.append("resume")
        return self.status


@pytest.mark.parametrize(("paused", "call"), [(True, "resume"), (False, "pause")])
async def test_it_toggles_the_pause_also_while_the_disk_refuses(*, paused: bool, call: str) -> None:
    agent, asked = PausableAgent(paused=paused), asyncio.Event()
    visit = Visit(load_settings(), RoomRequest("room"), Output(as_json=True), Chatter())
    asked.set()
    task = asyncio.create_task(visit._toggle_pauses(cast("RoomAgent", agent), asked))
    await eventually(lambda: agent.calls or None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert agent.calls == [call]

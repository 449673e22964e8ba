"""A recording that cannot begin yet: it is tried again, and what the attempts leave is one folder."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from agent import RecordingPlan, RecordWhen, RoomRequest, load_settings
from agent.room import recording_control
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, ParticipantState, TrackState
from agent.room.subscriber import Subscriber
from agent.room_recordings import RoomRecordings
from media.clock import SteadyClock
from media.record.reader import read_recording
from media.tap.tap import TapOptions
from tests.integration.publishing import eventually

NOBODY_LISTENS = "ws://127.0.0.1:1"


class OneCamera:
    """A joined room in which somebody publishes a camera."""

    connection = ConnectionState.CONNECTED
    room_metadata = ""
    participants = (ParticipantState("ada", "PA_1", "", "", {}),)
    tracks = (TrackState("TR_1", "camera", "video", "camera", "ada", "video/VP8", False, False, 640, 360),)

    def before_leaving(self, name: str, step: object) -> None:
        """It is not left."""

    def add_listener(self, listener: Callable[[object], None]) -> None:
        """Nothing happens."""


async def test_attempts_that_fail_go_on_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_control, "RETRY_AFTER_S", 0.01)
    attempts: list[str] = []

    def token() -> str:
        attempts.append("one")
        return "token"

    session = cast("RoomSession", OneCamera())
    request = RoomRequest("room", record=True, recording_plan=RecordingPlan(RecordWhen.PUBLISHED))
    recordings = RoomRecordings(
        request,
        load_settings().model_copy(update={"recordings_dir": tmp_path}),
        session,
        Subscriber(session),
        TapOptions(NOBODY_LISTENS, token),
        SteadyClock(),
        None,
        lambda event: None,
    )
    await recordings.begin()
    await eventually(lambda: len(attempts) >= 3 or None)
    await recordings.aclose()
    (folder,) = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert read_recording(folder).ended_reason == "left"

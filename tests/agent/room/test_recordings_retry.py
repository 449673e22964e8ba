"""A recording that cannot begin yet: it is tried again, and what the attempts leave is one folder."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from agent import RecordingPlan, RecordWhen, RoomRequest, load_settings
from agent.errors import RecordingConflict
from agent.room import recording, recording_control
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, ParticipantState, TrackState
from agent.room.subscriber import Subscriber
from agent.room_recordings import RoomRecordings
from media.clock import SteadyClock
from media.record.reader import read_recording
from media.record.recorder import Recording
from media.tap.tap import Tap, TapOptions
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


def recordings_in(folder: Path, token: Callable[[], str]) -> RoomRecordings:
    session = cast("RoomSession", OneCamera())
    request = RoomRequest("room", record=True, recording_plan=RecordingPlan(RecordWhen.PUBLISHED))
    return RoomRecordings(
        request,
        load_settings().model_copy(update={"recordings_dir": folder}),
        session,
        Subscriber(session),
        TapOptions(NOBODY_LISTENS, token),
        SteadyClock(),
        None,
        lambda event: None,
    )


async def test_attempts_that_fail_go_on_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_control, "RETRY_AFTER_S", 0.01)
    attempts: list[str] = []

    def token() -> str:
        attempts.append("one")
        return "token"

    recordings = recordings_in(tmp_path, token)
    await recordings.begin()
    await eventually(lambda: len(attempts) >= 3 or None)
    await recordings.aclose()
    (folder,) = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert read_recording(folder).ended_reason == "left"


@pytest.mark.parametrize("step", ["open", "close"])
async def test_an_attempt_that_is_under_way_as_the_room_is_left_is_closed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    module, name = (recording, "open_recording") if step == "open" else (Recording, "aclose")
    really = getattr(module, name)

    def slow_open(*args: object) -> object:
        reached.set()
        go_on.wait(10)
        return really(*args)

    async def slow_close(*args: object) -> object:
        reached.set()
        await asyncio.to_thread(go_on.wait, 10)
        return await really(*args)

    monkeypatch.setattr(module, name, slow_open if step == "open" else slow_close)
    recordings = recordings_in(tmp_path, lambda: "token")
    await recordings.begin()
    await asyncio.to_thread(reached.wait, 10)
    closing = asyncio.create_task(recordings.aclose())
    await asyncio.sleep(0.05)
    assert not closing.done()
    go_on.set()
    await closing
    (folder,) = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert read_recording(folder).ended_reason == "left"


async def test_a_recording_that_just_begins_as_the_room_is_left_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joining = asyncio.Event()

    async def slow_join(_tap: Tap) -> None:
        joining.set()
        await asyncio.sleep(30)

    monkeypatch.setattr(Tap, "start", slow_join)
    recordings = recordings_in(tmp_path, lambda: "token")
    starting = asyncio.create_task(recordings.start())
    await joining.wait()
    await recordings.aclose()
    with pytest.raises(RecordingConflict, match="being left"):
        await starting
    with pytest.raises(RecordingConflict, match="being left"):
        await recordings.start()
    assert recordings.recorder is None
    (folder,) = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    assert read_recording(folder).ended_reason == "left"

"""What a room counts over its recordings: totals go on, and what waits is told until it is done."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent import RoomRequest, load_settings, room_recordings
from agent.room.counters import RoomCounters
from agent.room.session import RoomSession
from agent.room.subscriber import Subscriber
from agent.room_recordings import RoomRecordings
from media.clock import SteadyClock
from media.tap.tap import TapOptions
from tests.agent.room.test_recordings_retry import OneCamera


class Recorder:
    """A recorder that has so many segments left at its end."""

    left = 3

    def __init__(self, options: Any, *_: object) -> None:
        self._id = options.recording_id

    async def start(self) -> None:
        """It begins."""

    async def aclose(self, _reason: object) -> None:
        """It ends."""

    def counters(self) -> RoomCounters:
        return RoomCounters(recording_bytes=100, recording_write_queue_bytes=50, handoff_pending=self.left)

    def status(self) -> object:
        return SimpleNamespace(recording_id=self._id)

    def on_room_event(self, _event: object) -> None:
        """Nothing is written."""


async def test_segments_that_a_recording_left_are_told_until_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_recordings, "RoomRecorder", Recorder)
    session = cast("RoomSession", OneCamera())
    options = TapOptions("ws://127.0.0.1:1", str)
    recordings = RoomRecordings(
        RoomRequest("room"), load_settings(), session, Subscriber(session), options, SteadyClock(), None, print
    )

    def seen() -> tuple[int, int, int]:
        counted = recordings.counters()
        return counted.recording_bytes, counted.recording_write_queue_bytes, counted.handoff_pending

    await recordings.start("one")
    assert seen() == (100, 50, 3)
    await recordings.stop()
    assert seen() == (100, 0, 3)
    monkeypatch.setattr(Recorder, "left", 0)
    await recordings.start("another")
    await recordings.stop()
    assert seen() == (200, 0, 3)
    await recordings.start("one")
    await recordings.stop()
    assert seen() == (300, 0, 0)

"""Fifty joins in a row: each receives both kinds of media, subscribed to one by one, and records them."""

import time
from pathlib import Path

import pytest

from agent.credentials import Credentials
from media.record.entries import RecordingState
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.faults.numbered import NumberedPublisher
from tests.faults.watched import recording_room
from tests.integration.participants import room_name
from tests.integration.publishing import eventually

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(600)]

JOINS = 50


async def test_fifty_joins_in_a_row_all_receive_and_record(livekit_server: Credentials, tmp_path: Path) -> None:
    room = room_name()
    took: list[float] = []
    async with NumberedPublisher(livekit_server, room):
        for number in range(JOINS):
            began = time.monotonic()
            async with recording_room(livekit_server, room, tmp_path, recording_id=f"r{number}") as recorder:
                await eventually(lambda recorder=recorder: len(recorder.frames) == 2 or None, timeout_s=30)  # type: ignore[misc]
                took.append(time.monotonic() - began)
    for number in range(JOINS):
        path = tmp_path / f"r{number}"
        assert verify_recording(path).problems == ()
        view = read_recording(path)
        assert view.state is RecordingState.COMPLETE
        assert len(view.tracks) == 2
        assert all(track.samples for track in view.tracks)
    took.sort()
    print(f"{JOINS} joins to media of both kinds: median {took[JOINS // 2]:.2f} s, worst {took[-1]:.2f} s")

"""How a room's recorder ends, and what does not end it, without a room."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.room import recorded_selection
from agent.room.recorded_layers import RecordedLayers
from agent.room.recorder_events import RecorderEvent, RecordingChanged
from agent.room.recorder_options import RecorderOptions
from agent.room.recording import RoomRecorder
from agent.room.recording_plan import EndedReason
from agent.room.recording_quality import RecordingQuality
from agent.room.subscription import SubscriptionPolicy
from media.clock import SteadyClock
from media.errors import TapError
from media.record.entries import SegmentEntry
from media.record.handoff import Handoff
from media.tap.tap import Tap, TapOptions


class Sink:
    """Takes every segment."""

    async def hand_off(self, segment: SegmentEntry, recording_path: Path) -> None:
        pass


@pytest.mark.parametrize("first", ["segments", "report"])
async def test_segments_and_the_report_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    done = {name: asyncio.Event() for name in ("segments", "report")}
    ended: list[bool] = []

    async def start(_tap: Tap) -> None:
        """There is no room."""

    async def finish(name: str) -> None:
        if name != first:
            await asyncio.wait_for(done[first].wait(), 10)
        done[name].set()

    async def drain(_handoff: Handoff) -> None:
        await finish("segments")

    async def write_report(_quality: RecordingQuality) -> None:
        await finish("report")

    def tell(event: RecorderEvent) -> None:
        if isinstance(event, RecordingChanged) and event.status.ended_reason:
            ended.append(done["report"].is_set())

    monkeypatch.setattr(Tap, "start", start)
    monkeypatch.setattr(Handoff, "drain", drain)
    monkeypatch.setattr(RecordingQuality, "write_report", write_report)
    options = RecorderOptions("lobby", "one", tmp_path, 6.0, 1.0, SubscriptionPolicy(), Sink())
    recorder = RoomRecorder(options, TapOptions("ws://nowhere", lambda: "token"), SteadyClock(), tell)
    await recorder.start()
    await recorder.aclose(EndedReason.REQUESTED)
    assert all(event.is_set() for event in done.values())
    assert ended == [True], "who hears of the end finds the report"


async def test_a_track_that_goes_while_others_are_asked_for_ends_no_recording_of_who_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    looked_again = asyncio.Event()

    async def start(_tap: Tap) -> None:
        """There is no room."""

    async def apply(_layers: RecordedLayers, _now: float) -> None:
        looks.append("look")
        if len(looks) == 1:
            raise TapError("track TR_1 is not subscribed by the tap")
        looked_again.set()

    monkeypatch.setattr(Tap, "start", start)
    monkeypatch.setattr(RecordedLayers, "apply", apply)
    monkeypatch.setattr(recorded_selection, "RETRY_S", 0.0)
    options = RecorderOptions("lobby", "one", tmp_path, 6.0, 1.0, SubscriptionPolicy(), Sink())
    recorder = RoomRecorder(options, TapOptions("ws://nowhere", lambda: "token"), SteadyClock(), lambda _event: None)
    with capture_logs() as logs:
        await recorder.start()
        await asyncio.wait_for(looked_again.wait(), 10)
        await recorder.aclose(EndedReason.REQUESTED)
    told = [line for line in logs if line["event"] == "recording_policy_interrupted"]
    assert [line["error"] for line in told] == ["track TR_1 is not subscribed by the tap"]
    assert not [line for line in logs if line["event"] == "task_failed"]

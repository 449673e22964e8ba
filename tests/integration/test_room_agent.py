"""One agent and its recorder in a real room: its timeline, and segments that leave while the room goes on."""

import asyncio
import base64
from pathlib import Path

import pytest

from agent import NOTHING, RoomAgent, RoomRequest, SubscribeAction, SubscriptionPolicy, SubscriptionRule, load_settings
from agent.credentials import Credentials
from agent.errors import InvalidSettings, PermissionDenied, RecordingConflict, TrackNotFound
from agent.room.data_limits import DESTINATION_BYTES, MAX_PACKET_BYTES
from agent.room.events import DataReceived
from agent.room.recorder_events import SegmentClosed
from agent.tokens import MAX_IDENTITY_BYTES
from media.export.queue import ExportQueue
from media.frames import Codec, MediaKind
from media.record.reader import read_events, read_recording
from quality.stats import TrackKind
from tests.integration.publishing import Publisher, eventually

pytestmark = pytest.mark.server


async def test_chat_data_and_presence_are_on_the_timeline_and_segments_are_handed_off_meanwhile(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path, "segment_duration_s": 1.0})
    queue = await asyncio.to_thread(ExportQueue, tmp_path / "state" / "exports.sqlite")
    closed: list[SegmentClosed] = []
    request = RoomRequest("agent-timeline", identity="recorder")
    async with (
        Publisher(livekit_server, "agent-timeline", codec=Codec.H264),
        RoomAgent(livekit_server, RoomRequest("agent-timeline", identity="talker"), settings) as talker,
        RoomAgent(livekit_server, request, settings, export_queue=queue) as agent,
    ):
        agent.add_listener(lambda event: closed.append(event) if isinstance(event, SegmentClosed) else None)
        recording = await agent.start_recording()
        with pytest.raises(RecordingConflict):
            await agent.start_recording()
        await talker.publish_data_track("telemetry")
        await talker.send_text("good morning")
        await talker.send_data(b"\x00\x01", topic="raw")
        await eventually(lambda: agent.counters().handoffs.get("ok", 0) >= 3 or None, timeout_s=20)
        talker.push_data("telemetry", b"frame")
        assert agent.state().recording is not None, "the room goes on while segments are handed off"
        await asyncio.sleep(1)
        status = await agent.stop_recording()
        with pytest.raises(RecordingConflict):
            await agent.stop_recording()
        assert agent.counters().handoff_pending == 0
    queue.close()
    assert status.recording_id == recording.recording_id
    view = read_recording(tmp_path / status.recording_id)
    assert {item.segment.id for item in closed} == {segment.id for track in view.tracks for segment in track.segments}
    events = list(read_events(view.path))
    by_type = {str(event["type"]): event for event in events}
    assert by_type["text"]["payload"]["text"] == "good morning"  # type: ignore[index,call-overload]
    assert by_type["text"]["participant_identity"] == "talker"
    assert base64.b64decode(by_type["data"]["payload"]["payload"]) == b"\x00\x01"  # type: ignore[index,call-overload,arg-type]
    assert base64.b64decode(by_type["data_track_frame"]["payload"]["payload"]) == b"frame"  # type: ignore[index,call-overload,arg-type]
    present = {event["participant_identity"] for event in events if event["type"] == "participant_connected"}
    assert {"publisher", "talker"} <= present
    assert all(0 <= float(str(event["media_time_s"])) <= view.duration_s + 2 for event in events)


@pytest.mark.parametrize("key", [None, "secret"])
async def test_the_longest_data_packet_arrives_whoever_sends_it(
    livekit_server: Credentials, tmp_path: Path, key: str | None
) -> None:
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    told: list[object] = []
    room = f"agent-packets-{key}"
    ear = RoomRequest(room, "ear", e2ee_key=key)
    mouth = RoomRequest(room, "m" * MAX_IDENTITY_BYTES, e2ee_key=key)
    async with (
        RoomAgent(livekit_server, ear, settings) as hearer,
        RoomAgent(livekit_server, mouth, settings) as sender,
    ):
        hearer.add_listener(told.append)
        size = MAX_PACKET_BYTES - len("topicear") - DESTINATION_BYTES
        await sender.send_data(b"x" * size, "topic", destination_identities=["ear"])
        heard = await eventually(lambda: next((event for event in told if isinstance(event, DataReceived)), None))
    assert len(heard.payload) == size


async def test_only_what_the_record_policy_wants_is_recorded(livekit_server: Credentials, tmp_path: Path) -> None:
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    audio_only = SubscriptionPolicy(
        rules=(SubscriptionRule(kind=TrackKind.AUDIO),), default=SubscribeAction.IGNORE, max_tracks=4
    )
    request = RoomRequest("agent-policy", policy=NOTHING, record_policy=audio_only, record=True)
    async with Publisher(livekit_server, "agent-policy"), RoomAgent(livekit_server, request, settings) as agent:
        await eventually(lambda: agent.counters().recording_frames.get("audio", 0) > 20 or None)
        with pytest.raises(InvalidSettings, match="low, medium or high"):
            await agent.set_layer("TR_x", "best")
        with pytest.raises(TrackNotFound):
            await agent.set_layer("TR_x", "low", target="tap")
        status = await agent.stop_recording()
    view = read_recording(Path(status.path))
    assert [track.descriptor.kind for track in view.tracks] == [MediaKind.AUDIO]


async def test_a_hidden_agent_is_refused_what_nobody_would_see(livekit_server: Credentials, tmp_path: Path) -> None:
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    async with RoomAgent(livekit_server, RoomRequest("agent-hidden", hidden=True), settings) as agent:
        with pytest.raises(PermissionDenied, match="hidden"):
            await agent.publish("pattern:320x180@5")
        assert agent.state().publications == ()
        await agent.send_data(b"heard")

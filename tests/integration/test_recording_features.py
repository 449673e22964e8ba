"""Recordings in a real room: pauses, mutes, tracks published again, what begins and ends them, rules that change."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from livekit import rtc

from agent import (
    LayerPolicy,
    RecordingPlan,
    RecordWhen,
    RoomAgent,
    RoomRequest,
    StopConditions,
    SubscribeAction,
    SubscriptionPolicy,
    SubscriptionRule,
    load_settings,
)
from agent.credentials import Credentials
from agent.errors import RecordingConflict
from agent.room.recorder_events import RecordingChanged
from agent.tokens import ServiceGrants, mint_service_token
from media.frames import Codec, MediaKind
from media.record.entries import GapReason, RecordingState
from media.record.reader import RecordingView, TrackView, read_events, read_recording
from media.record.verify import verify_recording
from quality.stats import TrackKind, VideoQuality
from tests.integration.participants import room_name
from tests.integration.publishing import Publisher, eventually

pytestmark = pytest.mark.server

WAIT_S = 40.0  # on a machine that is busy with other tests


def agent_in(server: Credentials, room: str, folder: Path, **request: object) -> RoomAgent:
    settings = load_settings().model_copy(update={"recordings_dir": folder})
    return RoomAgent(server, replace(RoomRequest(room), **request), settings)  # type: ignore[arg-type]  # any field


async def more_frames(agent: RoomAgent, kind: str = "video", count: int = 15) -> None:
    """Until so many more frames are recorded."""
    wanted = agent.counters().recording_frames.get(kind, 0) + count
    await until(lambda: agent.counters().recording_frames.get(kind, 0) >= wanted)


async def until(condition: Callable[[], bool]) -> None:
    await eventually(lambda: condition() or None, timeout_s=WAIT_S)


async def ask_server(server: Credentials, method: str, **request: str) -> None:
    """Call the server's RoomService for `request["room"]`."""
    token = mint_service_token(server, ServiceGrants(room=request["room"], room_admin=True))
    async with httpx.AsyncClient(base_url=server.url.replace("ws", "http", 1), trust_env=False) as client:
        answer = await client.post(
            f"/twirp/livekit.RoomService/{method}", json=request, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text


def checked(path: str) -> RecordingView:
    """The recording, closed and without a fault."""
    view = read_recording(Path(path))
    assert view.state is RecordingState.COMPLETE
    assert verify_recording(view.path).problems == ()
    return view


def tracks_of(view: RecordingView, kind: MediaKind) -> list[TrackView]:
    return [track for track in view.tracks if track.descriptor.kind is kind]


def set_muted(publisher: Publisher, name: str, *, muted: bool) -> None:
    """Mute the publisher's track of that name, or no longer."""
    published = publisher.room.local_participant.track_publications.values()
    track = next(item.track for item in published if item.name == name)
    assert isinstance(track, rtc.LocalVideoTrack | rtc.LocalAudioTrack)
    (track.mute if muted else track.unmute)()


async def test_a_pause_and_a_mute_leave_gaps_that_say_so(livekit_server: Credentials, tmp_path: Path) -> None:
    room, changes = room_name(), list[str]()
    async with (
        Publisher(livekit_server, room, codec=Codec.H264) as publisher,
        agent_in(livekit_server, room, tmp_path, record=True) as agent,
        agent_in(livekit_server, room, tmp_path, identity="talker") as talker,
    ):
        agent.add_listener(lambda e: changes.append(e.status.state) if isinstance(e, RecordingChanged) else None)
        await more_frames(agent)
        await talker.send_text("on the record")
        await more_frames(agent)
        paused = await agent.pause_recording()
        assert (paused.state, (await agent.pause_recording()).state) == ("paused", "paused")
        await talker.send_text("off the record")
        await asyncio.sleep(1.5)
        at_rest = agent.counters()
        await asyncio.sleep(0.5)
        assert agent.counters().recording_frames == at_rest.recording_frames
        assert (await agent.resume_recording()).state == "recording"
        await more_frames(agent)
        set_muted(publisher, "camera", muted=True)
        await until(lambda: any(track.muted for track in agent.state().tracks))
        await asyncio.sleep(1.5)
        set_muted(publisher, "camera", muted=False)
        await more_frames(agent)
        status = await agent.stop_recording()
        with pytest.raises(RecordingConflict):
            await agent.pause_recording()
    view = checked(status.path)
    assert changes == ["paused", "recording", "complete"]
    assert (status.ended_reason, view.ended_reason) == ("requested", "requested")
    (video,), (audio,) = tracks_of(view, MediaKind.VIDEO), tracks_of(view, MediaKind.AUDIO)
    assert [gap.reason for gap in video.gaps] == [GapReason.PAUSED, GapReason.MUTED]
    assert [gap.reason for gap in audio.gaps] == [GapReason.PAUSED]
    for gap in (*video.gaps, *audio.gaps):
        rate = 90_000 if gap in video.gaps else 48_000
        assert gap.duration / rate > 1.4
        assert gap.frames_lost == 0
    assert all(segment.independent for segment in video.segments)
    assert status.recorded_s == pytest.approx(view.duration_s - video.gaps[0].duration / 90_000, abs=2)
    events = list(read_events(view.path))
    texts = [event["payload"]["text"] for event in events if event["type"] == "text"]  # type: ignore[index,call-overload]
    assert texts == ["on the record"]
    assert {"recording_paused", "recording_unpaused", "track_muted"} <= {str(event["type"]) for event in events}


@pytest.mark.parametrize("codec", [rtc.VideoCodec.VP8, rtc.VideoCodec.H264])
async def test_a_camera_published_again_goes_on_in_its_track(
    livekit_server: Credentials, tmp_path: Path, codec: rtc.VideoCodec.ValueType
) -> None:
    room = room_name()
    async with (
        Publisher(livekit_server, room, codec=Codec.VP8) as publisher,
        agent_in(livekit_server, room, tmp_path, record=True) as agent,
    ):
        await more_frames(agent)
        me = publisher.room.local_participant
        (camera,) = [item for item in me.track_publications.values() if item.name == "camera"]
        track = camera.track
        assert isinstance(track, rtc.LocalVideoTrack)
        await me.unpublish_track(camera.sid)
        await until(lambda: camera.sid not in {item.sid for item in agent.state().tracks})
        source = rtc.TrackSource.SOURCE_CAMERA
        again = await me.publish_track(
            track, rtc.TrackPublishOptions(source=source, video_codec=codec, simulcast=False)
        )
        assert again.sid != camera.sid
        await more_frames(agent)
        status = await agent.stop_recording()
    view = checked(status.path)
    (video,) = tracks_of(view, MediaKind.VIDEO)
    assert video.descriptor.track_sid == again.sid
    assert GapReason.UNPUBLISHED in {gap.reason for gap in video.gaps}
    assert any(segment.discontinuity for segment in video.segments[1:])
    codecs = [Codec.VP8] if codec == rtc.VideoCodec.VP8 else [Codec.VP8, Codec.H264]
    assert list(dict.fromkeys(init.codec for init in video.inits)) == codecs
    assert len(tracks_of(view, MediaKind.AUDIO)) == 1


async def test_it_begins_with_the_first_publisher_and_ends_when_the_room_is_empty(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    room = room_name()
    plan = RecordingPlan(RecordWhen.PUBLISHED, StopConditions(empty_s=1.5), leave_when_stopped=True)
    async with agent_in(livekit_server, room, tmp_path, record=True, recording_plan=plan) as agent:
        assert agent.state().recording is None
        async with Publisher(livekit_server, room, codec=Codec.H264):
            await until(lambda: agent.state().recording is not None)
            await more_frames(agent)
        reason = await asyncio.wait_for(agent.wait_closed(), WAIT_S)
        status = agent.state().recording
    assert reason == "recording_ended"
    assert status is not None
    view = checked(status.path)
    assert (status.ended_reason, view.ended_reason) == ("empty", "empty")
    starts = [track.media_time_s(track.segments[0].decode_time) for track in view.tracks]
    assert len(starts) == 2
    assert min(starts) < 5


async def test_the_rooms_metadata_begin_pause_and_end_it(livekit_server: Credentials, tmp_path: Path) -> None:
    room = room_name()
    plan = RecordingPlan(RecordWhen.METADATA)
    async with (
        Publisher(livekit_server, room, codec=Codec.H264),
        agent_in(livekit_server, room, tmp_path, record=True, recording_plan=plan) as agent,
    ):

        async def say(metadata: str) -> None:
            await ask_server(livekit_server, "UpdateRoomMetadata", room=room, metadata=metadata)

        def state() -> str:
            recording = agent.state().recording
            return recording.state if recording else ""

        await say('{"roomhand": {"record": "paused"}}')
        await until(lambda: state() == "paused")
        await say('{"roomhand": {"record": true}}')
        await until(lambda: state() == "recording")
        await more_frames(agent)
        await say('{"roomhand": {"record": "maybe"}}')
        await say('{"roomhand": {"record": false}}')
        await until(lambda: state() == "complete")
        status = agent.state().recording
    assert status is not None
    view = checked(status.path)
    assert view.ended_reason == "metadata"
    told = {gap.reason for track in view.tracks for gap in track.gaps}
    assert GapReason.PAUSED not in told, "it was paused before there was anything"


async def test_a_pause_by_hand_outlives_a_restart_in_good_order(livekit_server: Credentials, tmp_path: Path) -> None:
    room = room_name()
    plan = RecordingPlan(RecordWhen.METADATA)
    async with Publisher(livekit_server, room, codec=Codec.H264):
        async with agent_in(livekit_server, room, tmp_path, record=True, recording_plan=plan) as agent:
            await ask_server(livekit_server, "UpdateRoomMetadata", room=room, metadata='{"roomhand": {"record": true}}')
            await until(lambda: agent.state().recording is not None)
            await more_frames(agent)
            recording_id = (await agent.pause_recording()).recording_id
        again = agent_in(
            livekit_server, room, tmp_path, record=True, recording_plan=plan, recording_id=recording_id, identity="two"
        )
        async with again as agent:
            await asyncio.sleep(3)
            status = agent.state().recording
            assert status is not None
            assert (status.recording_id, status.state, status.frames) == (recording_id, "paused", 0)
            await agent.resume_recording()
            await more_frames(agent)
            status = await agent.stop_recording()
    checked(status.path)


async def test_a_tap_that_the_server_put_out_has_the_recording_end(livekit_server: Credentials, tmp_path: Path) -> None:
    room = room_name()
    plan = RecordingPlan(stop=StopConditions(no_media_s=1.5))
    async with (
        Publisher(livekit_server, room, codec=Codec.VP8),
        agent_in(livekit_server, room, tmp_path, record=True, recording_plan=plan) as agent,
    ):
        await more_frames(agent)
        await ask_server(livekit_server, "RemoveParticipant", room=room, identity="roomhand-tap")
        await until(lambda: (recording := agent.state().recording) is not None and recording.ended_reason != "")
        status = agent.state().recording
    assert status is not None
    assert status.ended_reason == "no_media"
    checked(status.path)


async def test_what_is_recorded_changes_while_it_is_and_a_duration_ends_it(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    room = room_name()
    sound = SubscriptionPolicy((SubscriptionRule(kind=TrackKind.AUDIO),), SubscribeAction.IGNORE)
    low = RecordingPlan(layers=LayerPolicy(VideoQuality.LOW))
    async with (
        Publisher(livekit_server, room, codec=Codec.VP8, width=960, height=540),
        agent_in(livekit_server, room, tmp_path, record=True, recording_plan=low) as agent,
    ):
        # The server sends what there is until the layer that was asked for comes.
        await until(lambda: any(track.tap and 0 < track.tap.frame_height < 540 for track in agent.state().tracks))
        await more_frames(agent)
        await agent.change_recording(policy=sound)
        await until(lambda: all(track.tap is None for track in agent.state().tracks if track.kind == "video"))
        await more_frames(agent, "audio", 75)
        await agent.change_recording(policy=SubscriptionPolicy())
        await more_frames(agent)
        status = agent.state().recording
        assert status is not None
        await agent.change_recording(plan=RecordingPlan(stop=StopConditions(duration_s=status.recorded_s + 0.5)))
        await until(lambda: (recording := agent.state().recording) is not None and recording.state == "complete")
        status = agent.state().recording
    assert status is not None
    view = checked(status.path)
    assert view.ended_reason == "duration"
    (video,) = tracks_of(view, MediaKind.VIDEO)
    assert GapReason.UNSUBSCRIBED in {gap.reason for gap in video.gaps}
    assert min(init.height for init in video.inits) < 540, "the layer that the plan names"
    assert tracks_of(view, MediaKind.AUDIO)[0].gaps == ()


async def test_size_silence_mutes_and_want_of_media_end_it(livekit_server: Credentials, tmp_path: Path) -> None:
    room = room_name()
    async with Publisher(livekit_server, room) as publisher, agent_in(livekit_server, room, tmp_path) as agent:

        async def ends(plan: StopConditions, policy: SubscriptionPolicy | None = None) -> str:
            """A recording under that plan until it ends by itself: by what."""
            started = await agent.start_recording(policy=policy, plan=RecordingPlan(stop=plan))
            await until(lambda: (now := agent.state().recording) is not None and now.state == "complete")
            status = agent.state().recording
            assert status is not None
            assert status.recording_id == started.recording_id
            return checked(status.path).ended_reason

        await until(lambda: len(agent.state().tracks) == 2)
        assert await ends(StopConditions(size_bytes=100_000, silent_s=30, muted_s=1, no_media_s=20)) == "size"
        assert await ends(StopConditions(duration_s=4, silent_s=3, muted_s=1)) == "duration", "there is a tone"
        set_muted(publisher, "microphone", muted=True)
        assert await ends(StopConditions(silent_s=2, muted_s=1)) == "silent", "the camera is not muted"
        set_muted(publisher, "camera", muted=True)
        assert await ends(StopConditions(muted_s=1)) == "muted"
        set_muted(publisher, "camera", muted=False)
        set_muted(publisher, "microphone", muted=False)
        nothing = SubscriptionPolicy(default=SubscribeAction.IGNORE)
        assert await ends(StopConditions(no_media_s=2, muted_s=1), policy=nothing) == "no_media"


async def test_a_budget_is_kept_by_lower_layers(livekit_server: Credentials, tmp_path: Path) -> None:
    room = room_name()
    narrow = RecordingPlan(layers=LayerPolicy(budget_bps=100_000))
    async with (
        Publisher(livekit_server, room, width=960, height=540),
        agent_in(livekit_server, room, tmp_path, record=True, recording_plan=narrow) as agent,
    ):

        def height() -> int:
            return next(
                (item.tap.frame_height for item in agent.state().tracks if item.tap and item.kind == "video"), 0
            )

        await until(lambda: 0 < height() < 540)
        await more_frames(agent)
        await agent.change_recording(plan=RecordingPlan(layers=LayerPolicy(budget_bps=5_000_000)))
        await until(lambda: height() == 540)
        await more_frames(agent)
        status = await agent.stop_recording()
    (video,) = tracks_of(checked(status.path), MediaKind.VIDEO)
    assert max(init.height for init in video.inits) == 540
    assert min(init.height for init in video.inits) < 540


async def test_decoded_media_are_recorded_in_the_same_way(livekit_server: Credentials, tmp_path: Path) -> None:
    room = room_name()
    async with (
        Publisher(livekit_server, room, codec=Codec.VP8) as publisher,
        agent_in(livekit_server, room, tmp_path, record=True, recording_plan=RecordingPlan(decoded=True)) as agent,
    ):
        await more_frames(agent, count=50)
        await more_frames(agent, "audio", 50)
        await agent.pause_recording()
        await agent.resume_recording()
        await more_frames(agent)
        assert all(track.tap is None for track in agent.state().tracks)
        status = await agent.stop_recording()
        sent = publisher.video_frames
    view = checked(status.path)
    (video,), (audio,) = tracks_of(view, MediaKind.VIDEO), tracks_of(view, MediaKind.AUDIO)
    assert (video.descriptor.codec, audio.descriptor.codec) == (Codec.H264, Codec.OPUS)
    assert (640, 360) in {(init.width, init.height) for init in video.inits}
    assert 75 <= video.samples <= sent
    assert all(segment.independent for segment in video.segments)
    assert audio.samples >= 50

"""Rooms with end-to-end encryption: the SDK encrypts, the recorder decrypts what it has the key for."""

import io
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from livekit import rtc

from agent import RoomAgent, RoomRequest, load_settings
from agent.config import Settings
from agent.credentials import Credentials
from agent.room.recording_plan import RecordingPlan
from agent.room.state import RecordingStatus, UndecryptableTrack
from media.frames import Codec, MediaKind
from media.record.entries import GapReason, JsonValue
from media.record.reader import RecordingView, TrackView, read_events, read_recording
from media.record.verify import verify_recording
from media.sources.pattern import read_frame_number
from tests.integration.publishing import SAMPLE_RATE, Publisher, eventually

pytestmark = pytest.mark.server

TONE_HZ = 440
KEY = "correct horse battery staple"
OTHER_KEY = "Tr0ub4dor&3"


def encrypted(key: str | None = KEY) -> rtc.E2EEOptions:
    return rtc.E2EEOptions(rtc.KeyProviderOptions(shared_key=key.encode() if key else None))


def publisher(server: Credentials, room: str, options: rtc.E2EEOptions, codec: Codec = Codec.VP8) -> Publisher:
    return Publisher(server, room, codec=codec, clip=Path("pattern:640x360@25"), encryption=options)


def settings_for(folder: Path) -> Settings:
    return load_settings().model_copy(update={"recordings_dir": folder, "segment_duration_s": 1.0})


async def recorded(agent: RoomAgent, more: int = 50, kinds: tuple[str, ...] = ("video", "audio")) -> None:
    """Until so many more frames of each of `kinds` are recorded."""
    before = agent.counters().recording_frames

    def enough() -> bool | None:
        now = agent.counters().recording_frames
        return all(now.get(kind, 0) >= before.get(kind, 0) + more for kind in kinds) or None

    await eventually(enough, timeout_s=40)


async def undecryptable(agent: RoomAgent, count: int) -> tuple[UndecryptableTrack, ...]:
    """Until so many tracks cannot be decrypted."""

    def found() -> tuple[UndecryptableTrack, ...] | None:
        recording = agent.state().recording
        assert recording is not None
        return recording.undecryptable if len(recording.undecryptable) == count else None

    found_now = await eventually(lambda: (found(),) if found() is not None else None, timeout_s=30)
    assert found_now[0] is not None
    return found_now[0]


def track_of(view: RecordingView, kind: MediaKind) -> TrackView:
    (track,) = [track for track in view.tracks if track.descriptor.kind is kind]
    return track


def luma_of(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    return frame.to_ndarray()[: frame.height].astype(np.uint8, copy=False)


def frame_numbers(view: RecordingView) -> list[int | None]:
    """The numbers in all recorded pictures, as PyAV's decoder shows them."""
    track = track_of(view, MediaKind.VIDEO)
    inits = list(dict.fromkeys(segment.init_path for segment in track.segments))
    numbers: list[int | None] = []
    for init in inits:
        parts = [init, *(segment.path for segment in track.segments if segment.init_path == init)]
        with av.open(io.BytesIO(b"".join((view.path / part).read_bytes() for part in parts)), "r") as container:
            numbers += [read_frame_number(luma_of(frame)) for frame in container.decode(video=0)]
    return numbers


def assert_sound(view: RecordingView) -> None:
    """All Opus packets decode, to the publisher's tone above all: ciphertext would be noise."""
    track = track_of(view, MediaKind.AUDIO)
    data = b"".join(
        (view.path / part).read_bytes()
        for part in (track.segments[0].init_path, *[segment.path for segment in track.segments])
    )
    with av.open(io.BytesIO(data), "r") as container:
        frames = [frame.to_ndarray()[0].astype(np.float32) for frame in container.decode(audio=0)]
    assert len(frames) >= track.samples - 2
    sound = np.concatenate(frames)
    # A busy machine leaves silence between; the loudest frequency stays.
    loudest_hz = int(np.abs(np.fft.rfft(sound)).argmax()) * SAMPLE_RATE / len(sound)
    assert abs(loudest_hz - TONE_HZ) < 20


def view_of(status: RecordingStatus) -> RecordingView:
    view = read_recording(Path(status.path))
    assert verify_recording(view.path).problems == ()
    return view


def timeline(view: RecordingView, event_type: str) -> list[dict[str, JsonValue]]:
    return [event for event in read_events(view.path) if event["type"] == event_type]


def payloads(view: RecordingView, event_type: str) -> list[dict[str, JsonValue]]:
    found = [event["payload"] for event in timeline(view, event_type)]
    return [payload for payload in found if isinstance(payload, dict)]


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.VP9, Codec.H264])
async def test_with_the_key_the_room_is_recorded_in_the_clear_past_a_ratchet(
    livekit_server: Credentials, tmp_path: Path, codec: Codec
) -> None:
    room = f"e2ee-{codec}"
    request = RoomRequest(room, record=True, e2ee_key=KEY)
    talker_request = RoomRequest(room, identity="talker", e2ee_key=KEY)
    async with (
        publisher(livekit_server, room, encrypted(), codec) as sender,
        RoomAgent(livekit_server, talker_request, settings_for(tmp_path)) as talker,
        RoomAgent(livekit_server, request, settings_for(tmp_path)) as agent,
    ):
        await recorded(agent)
        await talker.send_text("between us")
        provider = sender.room.e2ee_manager.key_provider
        assert provider is not None
        for _ in range(2):
            provider.ratchet_shared_key(0)
            await recorded(agent)
        status = await agent.stop_recording()
    assert status.undecryptable == ()
    view = view_of(status)
    numbers = frame_numbers(view)
    assert len(numbers) == track_of(view, MediaKind.VIDEO).samples
    assert None not in numbers
    assert numbers == sorted(numbers, key=lambda number: number or 0)
    assert_sound(view)
    assert not [gap for track in view.tracks for gap in track.gaps if gap.reason is GapReason.ENCRYPTED]
    assert [payload["text"] for payload in payloads(view, "text")] == ["between us"]


async def test_without_the_key_nothing_is_recorded_and_each_track_is_told_of_once(
    livekit_server: Credentials, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = RoomRequest("e2ee-keyless", record=True)
    talker_request = RoomRequest("e2ee-keyless", identity="talker", e2ee_key=KEY)
    async with (
        publisher(livekit_server, "e2ee-keyless", encrypted()),
        RoomAgent(livekit_server, talker_request, settings_for(tmp_path)) as talker,
        RoomAgent(livekit_server, request, settings_for(tmp_path)) as agent,
    ):
        told: list[object] = []
        agent.add_listener(told.append)
        tracks = await undecryptable(agent, 2)
        assert {(track.kind, track.reason) for track in tracks} == {("video", "missing_key"), ("audio", "missing_key")}
        await talker.send_text("between us")
        await eventually(lambda: len(agent.state().tracks) == 2 or None)
        assert all(track.encrypted and track.tap is None for track in agent.state().tracks)
        await agent.send_text("in the clear")
        status = await agent.stop_recording()
    assert (status.tracks, status.frames, len(status.undecryptable)) == (0, 0, 2)
    view = view_of(status)
    assert view.tracks == ()
    assert sorted(str(payload["name"]) for payload in payloads(view, "track_undecryptable")) == ["camera", "microphone"]
    assert timeline(view, "text") == [], "nobody but the talker spoke, and that was encrypted"


async def test_av1_cannot_be_decrypted_which_is_told_while_the_sound_beside_it_is_recorded(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    request = RoomRequest("e2ee-av1", record=True, e2ee_key=KEY)
    async with (
        publisher(livekit_server, "e2ee-av1", encrypted(), Codec.AV1),
        RoomAgent(livekit_server, request, settings_for(tmp_path)) as agent,
    ):
        (track,) = await undecryptable(agent, 1)
        await recorded(agent, kinds=("audio",))
        status = await agent.stop_recording()
    assert (track.kind, track.reason) == ("video", "unsupported")
    assert status.undecryptable == (track,)
    view = view_of(status)
    assert [item.descriptor.kind for item in view.tracks] == [MediaKind.AUDIO]
    assert_sound(view)
    assert len(timeline(view, "track_undecryptable")) == 1


async def test_a_decoded_recording_has_what_the_participant_decrypts(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    plan = RecordingPlan(decoded=True)
    with_key = RoomRequest("e2ee-decoded", record=True, e2ee_key=KEY, recording_plan=plan)
    without = RoomRequest("e2ee-decoded", identity="keyless", record=True, recording_plan=plan)
    async with (
        publisher(livekit_server, "e2ee-decoded", encrypted()),
        RoomAgent(livekit_server, with_key, settings_for(tmp_path / "with")) as agent,
        RoomAgent(livekit_server, without, settings_for(tmp_path / "without")) as keyless,
    ):
        await undecryptable(keyless, 2)
        await keyless.set_e2ee_key(KEY)  # too late: the participant has joined without
        await recorded(agent)
        status = await agent.stop_recording()
        left_out = await keyless.stop_recording()
    assert (left_out.tracks, len(left_out.undecryptable)) == (0, 2)
    view = view_of(status)
    assert [number for number in frame_numbers(view) if number is not None]
    assert_sound(view)


async def test_with_a_wrong_key_nothing_garbled_is_recorded_and_the_right_one_lets_it_go_on(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    request = RoomRequest("e2ee-wrong", record=True, e2ee_key=OTHER_KEY)
    async with (
        publisher(livekit_server, "e2ee-wrong", encrypted(), Codec.H264),
        RoomAgent(livekit_server, request, settings_for(tmp_path)) as agent,
    ):
        tracks = await undecryptable(agent, 2)
        assert {track.reason for track in tracks} == {"wrong_key"}
        assert agent.counters().recording_frames == {}
        await agent.set_e2ee_key(KEY)
        await recorded(agent)
        assert await undecryptable(agent, 0) == ()
        status = await agent.stop_recording()
    view = view_of(status)
    numbers = frame_numbers(view)
    assert len(numbers) > 25
    assert None not in numbers
    assert_sound(view)
    assert len(timeline(view, "track_undecryptable")) == len(timeline(view, "track_decryptable")) == 2


async def test_a_key_that_comes_later_than_its_frames_leaves_a_gap_that_is_told(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    request = RoomRequest("e2ee-rotated", record=True, e2ee_key=KEY)
    async with (
        publisher(livekit_server, "e2ee-rotated", encrypted()) as sender,
        RoomAgent(livekit_server, request, settings_for(tmp_path)) as agent,
    ):
        await recorded(agent)
        provider = sender.room.e2ee_manager.key_provider
        assert provider is not None
        provider.set_shared_key(OTHER_KEY.encode(), 1)
        for cryptor in sender.room.e2ee_manager.frame_cryptors():
            cryptor.set_key_index(1)
        tracks = await undecryptable(agent, 2)
        assert {track.reason for track in tracks} == {"missing_key"}
        await agent.set_e2ee_key(OTHER_KEY, key_index=1)
        await recorded(agent)
        status = await agent.stop_recording()
    view = view_of(status)
    assert None not in frame_numbers(view)
    for track in view.tracks:
        (gap,) = [gap for gap in track.gaps if gap.reason is GapReason.ENCRYPTED]
        assert gap.frames_lost >= 10
        assert gap.duration > 0


async def test_what_is_published_after_a_rotation_is_encrypted_with_the_new_key(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    quiet = RoomRequest("e2ee-later", e2ee_key=KEY)
    request = RoomRequest("e2ee-later", identity="recorder", record=True, e2ee_key=OTHER_KEY)
    async with (
        RoomAgent(livekit_server, quiet, settings_for(tmp_path / "sender")) as sender,
        RoomAgent(livekit_server, request, settings_for(tmp_path)) as agent,
    ):
        await agent.set_e2ee_key(OTHER_KEY, key_index=1)
        await sender.set_e2ee_key(OTHER_KEY, key_index=1)
        await sender.publish("pattern:320x180@25")
        await recorded(agent)
        await sender._publisher.republish("camera")
        await recorded(agent)
        cryptors = sender._session.sdk_room.e2ee_manager.frame_cryptors()
        own = [each for each in cryptors if each.participant_identity == quiet.identity]
        assert own
        assert {each.key_index for each in own} == {1}
        status = await agent.stop_recording()
        assert status.undecryptable == ()


async def test_participants_have_keys_of_their_own(livekit_server: Credentials, tmp_path: Path) -> None:
    options = encrypted(None)
    sender = publisher(livekit_server, "e2ee-each", options)
    request = RoomRequest("e2ee-each", record=True, e2ee_participant_keys={"publisher": KEY, "roomhand": OTHER_KEY})
    async with RoomAgent(livekit_server, request, settings_for(tmp_path)) as agent:
        connect = sender.room.connect

        async def connect_with_a_key(url: str, token: str, room_options: rtc.RoomOptions) -> None:
            await connect(url, token, room_options)
            provider = sender.room.e2ee_manager.key_provider
            assert provider is not None
            provider.set_key("publisher", KEY.encode(), 0)

        sender.room.connect = connect_with_a_key  # type: ignore[method-assign, assignment]
        async with sender:
            await recorded(agent)
            status = await agent.stop_recording()
    view = view_of(status)
    assert None not in frame_numbers(view)
    assert_sound(view)

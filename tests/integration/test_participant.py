"""The participant in a real room: joining, publishing, subscribing, layers, data, leaving."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.credentials import Credentials
from agent.errors import (
    InvalidSettings,
    PermissionDenied,
    RoomhandError,
    ServerUnreachable,
    TokenExpired,
    TrackNotFound,
    Unauthorized,
)
from agent.room.consumer import ReceivedAudio, ReceivedVideoFrame
from agent.room.events import (
    DataReceived,
    DataTrackFrame,
    DataTrackPublished,
    Disconnected,
    LocalTrackUnpublished,
    MetadataChanged,
    ParticipantConnected,
    RoomEvent,
    TextReceived,
    TrackMuted,
    TrackPublished,
    TrackUnmuted,
    TrackUnpublished,
)
from agent.room.metadata import decode_track_metadata
from agent.room.publish_options import PublishOptions, VideoCodec
from agent.room.session import RoomSession, SessionOptions
from agent.room.stats import StatsPoller
from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.sources.open import open_source
from media.sources.pattern import PatternSource, beep_level, read_flash
from media.sources.source import AudioFormat, VideoFormat
from quality.stats import InboundRtp, TrackKind, TrackSource, VideoQuality
from tests.integration.participants import NOTHING, Pictures, person, room_name
from tests.integration.publishing import eventually

pytestmark = pytest.mark.server

SMALL = VideoFormat(320, 180, 25.0)


async def test_pattern_arrives_by_rule_and_layers_follow_the_wish(livekit_server: Credentials) -> None:
    room = room_name()
    rules = SubscriptionPolicy(
        rules=(SubscriptionRule(participant="cam*", source=TrackSource.CAMERA),), default=SubscribeAction.IGNORE
    )
    async with (
        person(livekit_server, room, "camera-1", policy=NOTHING) as sender,
        person(livekit_server, room, "viewer", policy=rules) as viewer,
    ):
        published = await sender.publisher.publish(open_source("pattern"), PublishOptions(name="stage"))
        assert [(each.name, each.kind, each.status) for each in published] == [
            ("stage", "video", "published"),
            ("stage-audio", "audio", "published"),
        ]
        track = await viewer.sees("stage", "camera-1")
        assert (track.sid, track.simulcasted, track.width, track.height) == (published[0].sid, True, 1280, 720)
        assert [each.name for each in viewer.subscriber.subscribed()] == ["stage"]

        pictures = Pictures()
        viewer.subscriber.on_frames(track.sid, pictures)
        await pictures.of_size(1280, 720)
        numbers = [number for number in pictures.numbers if number is not None]
        assert len(numbers) >= len(pictures.numbers) - 1
        assert numbers == sorted(numbers)

        viewer.subscriber.set_quality(track.sid, VideoQuality.LOW)
        await pictures.of_size(320, 180)
        assert pictures.numbers[-1] is not None
        viewer.subscriber.set_dimensions(track.sid, 640, 360)
        await pictures.of_size(640, 360)
        viewer.subscriber.set_enabled(track.sid, enabled=False)
        await asyncio.sleep(1.0)
        seen = len(pictures.sizes)
        await asyncio.sleep(0.5)
        assert len(pictures.sizes) == seen
        viewer.subscriber.set_enabled(track.sid, enabled=True)
        await pictures.of_size(640, 360)

        poller = StatsPoller(viewer.session, viewer.subscriber)
        snapshots = await poller.poll() or ()
        assert [(each.track_sid, each.kind) for each in snapshots] == [(track.sid, TrackKind.VIDEO)]
        stats = snapshots[0].stats
        assert isinstance(stats, InboundRtp)
        assert (stats.frame_width, stats.frame_height) == (640, 360)
        assert stats.frames_decoded
        sent = await StatsPoller(sender.session, sender.subscriber, sender.publisher).poll() or ()
        assert {each.track_sid for each in sent} == {each.sid for each in published}
        layers = next(each.stats for each in sent if each.kind is TrackKind.VIDEO)
        assert isinstance(layers, tuple)
        assert [stream.rid for stream in layers] == ["f", "h", "q"]
        with pytest.raises(TrackNotFound):
            viewer.subscriber.set_quality("TR_nothing", VideoQuality.LOW)
        with pytest.raises(InvalidSettings, match="recording"):
            viewer.subscriber.set_policy(SubscriptionPolicy((SubscriptionRule(max_fps=10),)))
    assert isinstance(viewer.told[-1], Disconnected)
    assert viewer.told[-1].by_us


async def test_rules_change_at_run_time_and_people_override_them(livekit_server: Credentials) -> None:
    room = room_name()
    async with (
        person(livekit_server, room, "sender", policy=NOTHING) as sender,
        person(livekit_server, room, "viewer", policy=NOTHING) as viewer,
    ):
        await sender.publisher.publish(PatternSource(SMALL), PublishOptions(name="cam"))
        await viewer.hears(TrackPublished, lambda event: event.track.name == "cam")
        sound = (await viewer.hears(TrackPublished, lambda event: event.track.name == "cam-audio")).track
        assert viewer.subscriber.subscribed() == ()

        viewer.subscriber.set_policy(SubscriptionPolicy(max_tracks=1))
        await viewer.sees("cam", "sender")
        viewer.subscriber.override(sound.sid, SubscribeAction.SUBSCRIBE)
        await viewer.sees("cam-audio", "sender")
        await eventually(lambda: True if len(viewer.subscriber.subscribed()) == 1 else None)
        viewer.subscriber.override(sound.sid, None)
        viewer.subscriber.set_policy(
            SubscriptionPolicy(rules=(SubscriptionRule(kind=TrackKind.VIDEO, quality=VideoQuality.LOW),))
        )
        await viewer.sees("cam", "sender")
        await viewer.sees("cam-audio", "sender")
        video = next(track for track in viewer.session.tracks if track.name == "cam")
        assert viewer.subscriber.intent(video.sid).quality is VideoQuality.LOW
        with pytest.raises(InvalidSettings, match="audio"):
            viewer.subscriber.set_quality(sound.sid, VideoQuality.LOW)


async def test_mute_unpublish_and_metadata_are_seen_by_others(livekit_server: Credentials) -> None:
    room = room_name()
    async with (
        person(livekit_server, room, "sender", policy=NOTHING, name="Sender", attributes={"role": "host"}) as sender,
        person(livekit_server, room, "viewer", policy=NOTHING) as viewer,
    ):
        joined = (await viewer.hears(ParticipantConnected)).participant
        assert (joined.identity, joined.name, joined.attributes) == ("sender", "Sender", {"role": "host"})
        video, audio = await sender.publisher.publish(PatternSource(SMALL))
        assert (video.name, audio.name, audio.source) == ("camera", "microphone", "microphone")

        # Muted at once, others may see it published as muted rather than hear of the muting.
        assert sender.publisher.mute("microphone").muted
        await eventually(
            lambda: next((each for each in viewer.session.tracks if each.sid == audio.sid and each.muted), None)
        )
        await viewer.hears(TrackPublished, lambda event: event.track.sid == video.sid)
        assert sender.publisher.mute("camera").muted
        await viewer.hears(TrackMuted, lambda event: event.track.sid == video.sid)
        assert not sender.publisher.unmute(video.sid).muted
        assert (await viewer.hears(TrackUnmuted)).track.sid == video.sid

        await sender.session.set_track_metadata("camera", {"angle": "left", "number": 2})
        changed = await viewer.hears(MetadataChanged, lambda event: len(event.participant.attributes) == 2)
        assert decode_track_metadata(changed.participant.attributes, "camera") == {"angle": "left", "number": 2}
        with pytest.raises(InvalidSettings, match="65536 are allowed"):
            await sender.session.set_attributes({"long": "x" * 70_000})

        with pytest.raises(InvalidSettings, match="published already"):
            await sender.publisher.publish(PatternSource(SMALL, None))
        state = await sender.publisher.unpublish("camera")
        assert state.status == "unpublished"
        assert (await viewer.hears(TrackUnpublished)).track.name == "camera"
        await viewer.hears(MetadataChanged, lambda event: event.participant.attributes == {"role": "host"})
        assert [each.name for each in sender.publisher.publications] == ["microphone"]


async def test_a_source_that_ends_is_unpublished(livekit_server: Credentials) -> None:
    async with person(livekit_server, room_name(), "sender") as sender:
        await sender.publisher.publish(PatternSource(SMALL, AudioFormat(), duration_s=0.4))
        for name in ("camera", "microphone"):
            ended = await sender.hears(LocalTrackUnpublished, _named(name))
            assert ended.reason == "its source ended"
        assert sender.publisher.publications == ()


def _named(name: str) -> Callable[[LocalTrackUnpublished], bool]:
    return lambda event: event.name == name


async def test_data_reaches_those_it_is_for(livekit_server: Credentials) -> None:
    room = room_name()
    options = SessionOptions(text_topics=("lk.chat", "notes"), data_tracks=("tele*",))
    async with (
        person(livekit_server, room, "sender") as sender,
        person(livekit_server, room, "viewer", options=options) as viewer,
        person(livekit_server, room, "other", options=options) as other,
    ):
        await sender.hears(ParticipantConnected, lambda event: event.participant.identity == "other")
        sid = await sender.data.publish_data_track("telemetry")
        await sender.data.publish_data_track("secret")
        track = await viewer.hears(DataTrackPublished, lambda event: event.name == "telemetry")
        assert (track.sid, track.participant_identity) == (sid, "sender")
        await sender.data.publish_data(b"for one", topic="t", reliable=False, destination_identities=("viewer",))
        await sender.data.publish_data(b"for all", topic="t")
        one = await viewer.hears(DataReceived, lambda event: event.payload == b"for one")
        assert (one.participant_identity, one.topic, one.reliable) == ("sender", "t", False)
        assert (await other.hears(DataReceived, lambda event: event.topic == "t")).payload == b"for all"

        long_text = "gr\u00fc\u00dfe " * 20_000
        stream_id = await sender.data.send_text(long_text, topic="notes")
        text = await viewer.hears(TextReceived)
        assert (text.text, text.topic, text.stream_id) == (long_text, "notes", stream_id)

        async def push() -> None:
            while True:
                sender.data.push("telemetry", b"\x01" * 5000, user_timestamp=7)
                sender.data.push("secret", b"\x02")
                await asyncio.sleep(0.05)

        pushing = asyncio.create_task(push())
        frame = await viewer.hears(DataTrackFrame)
        pushing.cancel()
        assert (frame.name, frame.payload, frame.user_timestamp) == ("telemetry", b"\x01" * 5000, 7)
        assert {each.name for each in viewer.of(DataTrackFrame)} == {"telemetry"}
        with pytest.raises(InvalidSettings, match="63600 are allowed"):
            await sender.data.publish_data(bytes(64_001))


async def test_a_late_comer_is_told_of_all_that_is_there(livekit_server: Credentials) -> None:
    room = room_name()
    async with person(livekit_server, room, "sender") as sender:
        await sender.publisher.publish(PatternSource(None))
        await sender.data.publish_data_track("telemetry")
        async with person(livekit_server, room, "late") as late:
            assert (await late.hears(TrackPublished)).track.name == "microphone"
            assert (await late.hears(DataTrackPublished)).name == "telemetry"
            await late.sees("microphone", "sender")


async def test_hidden_participants_are_not_seen(livekit_server: Credentials) -> None:
    room = room_name()
    async with (
        person(livekit_server, room, "sender") as sender,
        person(livekit_server, room, "ghost", hidden=True, can_publish=False) as ghost,
    ):
        await sender.publisher.publish(PatternSource(None))
        await ghost.sees("microphone", "sender")
        assert sender.session.participants == ()
        assert ghost.session.permissions.hidden


async def test_what_is_not_permitted_is_refused_before_it_is_tried(livekit_server: Credentials) -> None:
    grants: dict[str, Any] = {
        "can_publish": False,
        "can_publish_data": False,
        "can_update_own_metadata": False,
        "can_subscribe": False,
    }
    async with person(livekit_server, room_name(), "nobody", **grants) as nobody:
        started = time.monotonic()
        with pytest.raises(PermissionDenied, match="canPublish"):
            await nobody.publisher.publish(PatternSource(SMALL))
        with pytest.raises(PermissionDenied, match="canPublishData"):
            await nobody.data.publish_data(b"x")
        with pytest.raises(PermissionDenied, match="canPublishData"):
            await nobody.data.send_text("x", topic="lk.chat")
        with pytest.raises(PermissionDenied, match="canPublishData"):
            await nobody.data.publish_data_track("x")
        with pytest.raises(PermissionDenied, match="canUpdateOwnMetadata"):
            await nobody.session.set_attributes({"a": "b"})
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("codec", [VideoCodec.VP9, VideoCodec.AV1])
async def test_other_codecs(livekit_server: Credentials, codec: VideoCodec) -> None:
    room = room_name()
    async with (
        person(livekit_server, room, "sender") as sender,
        person(livekit_server, room, "viewer") as viewer,
    ):
        options = PublishOptions(video_codec=codec, simulcast=False, max_bitrate_bps=600_000, max_fps=15, audio=False)
        await sender.publisher.publish(PatternSource(SMALL), options)
        track = await viewer.sees("camera", "sender")
        assert track.mime_type == f"video/{codec}"
        pictures = Pictures()
        viewer.subscriber.on_frames(track.sid, pictures)
        await pictures.more(15)
        numbers = [number for number in pictures.numbers[3:] if number is not None]
        assert len(numbers) >= 10
        assert numbers[-1] - numbers[0] > len(numbers)


async def test_h264_has_layers_too(livekit_server: Credentials) -> None:
    room = room_name()
    async with (
        person(livekit_server, room, "sender") as sender,
        person(livekit_server, room, "viewer") as viewer,
    ):
        await sender.publisher.publish(open_source("pattern"), PublishOptions(video_codec=VideoCodec.H264, audio=False))
        track = await viewer.sees("camera", "sender")
        assert (track.mime_type, track.simulcasted) == ("video/h264", True)
        pictures = Pictures()
        viewer.subscriber.on_frames(track.sid, pictures)
        await pictures.of_size(1280, 720)
        viewer.subscriber.set_quality(track.sid, VideoQuality.LOW)
        await pictures.of_size(320, 180)
        assert pictures.numbers[-1] is not None


async def test_sound_and_picture_stay_together(livekit_server: Credentials) -> None:
    room = room_name()
    flashes: list[float] = []
    beeps: list[float] = []

    def look(frame: ReceivedVideoFrame | ReceivedAudio) -> None:
        assert isinstance(frame, ReceivedVideoFrame)
        luma = np.frombuffer(frame.data, np.uint8)[: frame.width * frame.height].reshape(frame.height, frame.width)
        if read_flash(luma) and (not flashes or time.monotonic() - flashes[-1] > 0.5):
            flashes.append(time.monotonic())

    def listen(sound: ReceivedVideoFrame | ReceivedAudio) -> None:
        assert isinstance(sound, ReceivedAudio)
        level = beep_level(np.frombuffer(sound.data, np.int16), sound.sample_rate)
        if level > 0.2 and (not beeps or time.monotonic() - beeps[-1] > 0.5):
            beeps.append(time.monotonic())

    async with (
        person(livekit_server, room, "sender") as sender,
        person(livekit_server, room, "viewer") as viewer,
    ):
        await sender.publisher.publish(PatternSource(SMALL))
        viewer.subscriber.on_frames((await viewer.sees("camera", "sender")).sid, look)
        viewer.subscriber.on_frames((await viewer.sees("microphone", "sender")).sid, listen)
        await eventually(lambda: True if len(flashes) >= 5 and len(beeps) >= 5 else None)
    apart = sorted(min((flash - beep for beep in beeps), key=abs) for flash in flashes[1:])
    assert abs(apart[len(apart) // 2]) < 0.15, apart


def _token(server: Credentials, identity: str = "someone", **token: float) -> str:
    return mint_participant_token(server, ParticipantTokenRequest("room", identity, **token))  # type: ignore[arg-type]


async def test_join_errors_are_clear_and_carry_no_token(livekit_server: Credentials) -> None:
    url = livekit_server.url
    wrong_secret = Credentials(url, livekit_server.api_key, "x" * 40)
    wrong_key = Credentials(url, "APInobody", "x" * 40)
    no_join = _without_join(livekit_server)
    cases: list[tuple[str, str, type[RoomhandError]]] = [
        (url, _token(wrong_secret), Unauthorized),
        (url, _token(wrong_key), Unauthorized),
        (url, "not-a-token", Unauthorized),
        (url, _token(livekit_server, ttl_s=-120), TokenExpired),
        (url, no_join, PermissionDenied),
        ("ws://127.0.0.1:9", _token(livekit_server), ServerUnreachable),
        ("ws://name.invalid", _token(livekit_server), ServerUnreachable),
    ]
    for where, token, expected in cases:
        session = RoomSession(where, token)
        with pytest.raises(expected) as caught:
            await session.connect()
        assert type(caught.value) is expected
        assert token not in str(caught.value)
        await session.aclose()


def _without_join(server: Credentials) -> str:
    from livekit.api import AccessToken, VideoGrants

    grants = VideoGrants(room="room", room_list=True)
    return AccessToken(server.api_key, server.api_secret).with_identity("someone").with_grants(grants).to_jwt()


async def test_a_cancelled_join_and_a_cancelled_leave_still_leave(livekit_server: Credentials) -> None:
    room = room_name()
    async with person(livekit_server, room, "watcher"):
        token = mint_participant_token(livekit_server, ParticipantTokenRequest(room, "hasty"))
        session = RoomSession(livekit_server.url, token)
        joining = asyncio.create_task(session.connect())

        def cancel_join(_event: RoomEvent) -> None:
            # Told from within the join, so the cancellation always comes before it is over.
            joining.cancel()

        session.add_listener(cancel_join)
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert session.connection == "disconnected"
        assert await _identities(livekit_server, room) == {"watcher"}

        async with person(livekit_server, room, "second") as second:
            await second.publisher.publish(PatternSource(SMALL))
            leaving = asyncio.create_task(second.session.aclose())
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.sleep(0)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert second.session.connection == "disconnected"
            assert second.publisher.publications == ()
            order = [type(event) for event in second.told if isinstance(event, LocalTrackUnpublished | Disconnected)]
            assert order == [LocalTrackUnpublished, LocalTrackUnpublished, Disconnected]
            await second.session.aclose()
        assert await _identities(livekit_server, room) == {"watcher"}


async def _identities(server: Credentials, room: str) -> set[str]:
    from livekit import api

    async with api.LiveKitAPI(server.http_url, server.api_key, server.api_secret) as server_api:
        answer = await server_api.room.list_participants(api.ListParticipantsRequest(room=room))
    return {participant.identity for participant in answer.participants}


async def test_the_session_tells_when_the_server_ends_the_room(livekit_server: Credentials) -> None:
    from livekit import api

    room = room_name()
    async with person(livekit_server, room, "sender") as sender:
        await sender.publisher.publish(PatternSource(SMALL))
        async with api.LiveKitAPI(
            livekit_server.http_url, livekit_server.api_key, livekit_server.api_secret
        ) as server_api:
            await server_api.room.delete_room(api.DeleteRoomRequest(room=room))
        async with asyncio.timeout(10):
            ended = await sender.session.wait_ended()
        assert ended.reason == "room_deleted"
        assert not ended.by_us
        assert sender.session.connection == "disconnected"


async def test_a_file_is_published_and_looped(livekit_server: Credentials, tmp_path: Path) -> None:
    from tests.media.sources.clips import write_pattern

    clip = write_pattern(tmp_path / "clip.mp4", seconds=1.0, audio=AudioFormat())
    room = room_name()
    async with (
        person(livekit_server, room, "sender") as sender,
        person(livekit_server, room, "viewer") as viewer,
    ):
        await sender.publisher.publish(open_source(str(clip), loop=True), PublishOptions(audio=False))
        pictures = Pictures()
        viewer.subscriber.on_frames((await viewer.sees("camera", "sender")).sid, pictures)
        await pictures.more(60)
    numbers = [number for number in pictures.numbers if number is not None]
    assert max(numbers) <= 24
    assert any(later < earlier for earlier, later in pairwise(numbers))

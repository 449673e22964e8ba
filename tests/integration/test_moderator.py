"""A moderator mutes or forbids what we publish, on the server: it is so, is told, and outlives publishing anew."""

import pytest
from livekit import api

from agent.credentials import Credentials
from agent.room.events import LocalTrackMuted, LocalTrackPublished, LocalTrackUnpublished, TrackPublished
from media.sources.pattern import PatternSource
from media.sources.source import VideoFormat
from tests.integration.participants import NOTHING, Pictures, person, room_name
from tests.integration.publishing import eventually

pytestmark = pytest.mark.server


async def test_what_a_moderator_muted_stays_muted_also_where_it_is_published_anew(
    livekit_server: Credentials,
) -> None:
    room = room_name()
    async with (
        person(livekit_server, room, "sender", policy=NOTHING) as sender,
        person(livekit_server, room, "viewer", policy=NOTHING) as viewer,
        api.LiveKitAPI(livekit_server.http_url, livekit_server.api_key, livekit_server.api_secret) as server,
    ):
        video, _ = await sender.publisher.publish(PatternSource(VideoFormat(320, 180, 25.0)))
        await server.room.mute_published_track(
            api.MuteRoomTrackRequest(room=room, identity="sender", track_sid=video.sid, muted=True)
        )
        await sender.hears(LocalTrackMuted, lambda event: event == LocalTrackMuted(video.sid, muted=True))
        await eventually(
            lambda: {each.name for each in sender.publisher.publications if each.muted} == {"camera"} or None
        )
        anew = await sender.publisher.republish("camera")
        assert anew.muted
        seen = await viewer.hears(TrackPublished, lambda event: event.track.sid == anew.sid)
        assert seen.track.muted, "from the beginning"
        assert not sender.publisher.unmute("camera").muted
        await sender.hears(LocalTrackMuted, lambda event: event == LocalTrackMuted(anew.sid, muted=False))
        await eventually(
            lambda: next((each for each in viewer.session.tracks if each.sid == anew.sid and not each.muted), None)
        )
        assert not any(each.muted for each in sender.publisher.publications)


async def test_what_is_not_allowed_any_more_is_gone_and_comes_again_once_it_is_allowed(
    livekit_server: Credentials,
) -> None:
    room = room_name()
    async with (
        person(livekit_server, room, "sender", policy=NOTHING) as sender,
        person(livekit_server, room, "viewer") as viewer,
        api.LiveKitAPI(livekit_server.http_url, livekit_server.api_key, livekit_server.api_secret) as server,
    ):

        async def allow(*, publishing: bool) -> None:
            permission = api.ParticipantPermission(can_publish=publishing, can_subscribe=True, can_publish_data=True)
            await server.room.update_participant(
                api.UpdateParticipantRequest(room=room, identity="sender", permission=permission)
            )

        (video,) = await sender.publisher.publish(PatternSource(VideoFormat(320, 180, 25.0), None))
        await viewer.sees("camera", "sender")
        await allow(publishing=False)
        gone = await sender.hears(LocalTrackUnpublished)
        (state,) = sender.publisher.publications
        assert (gone.sid, state.status, state.reason) == (video.sid, "failed", gone.reason)
        await eventually(lambda: None if viewer.session.tracks else True)
        await allow(publishing=True)
        again = await sender.hears(LocalTrackPublished, lambda event: event.previous_sid == video.sid)
        await viewer.sees("camera", "sender")
        pictures = Pictures()
        viewer.subscriber.feed(again.sid, pictures)
        await pictures.more(5)
        (state,) = sender.publisher.publications
        assert (state.sid, state.status, state.reason) == (again.sid, "published", "")

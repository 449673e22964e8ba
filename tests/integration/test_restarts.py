"""Tracks that should flow and do not, on a real server: published anew without a gap, subscribed to anew, told of."""

from pathlib import Path

import numpy as np
import pytest

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.room.events import TrackPublished, TrackRestarted
from agent.room.publish_options import PublishOptions
from agent.room.quality_monitor import QualityMonitor
from agent.room.quality_surroundings import ParticipantSurroundings
from agent.room.restart_hands import ParticipantHands
from agent.room.restarts import TrackRestarter
from agent.room.stats import StatsPoller
from media.frames import Codec, MediaKind
from media.record.reader import read_recording
from media.record.verify import verify_recording
from media.sources.pattern import PatternSource
from media.sources.source import VideoFormat
from tests.integration.participants import Person, Pictures, person, room_name
from tests.integration.publishing import Publisher, eventually

pytestmark = pytest.mark.server


async def watch(viewer: Person, sid: str, watched: Pictures) -> None:
    viewer.subscriber.on_frames(sid, watched)
    await watched.more(25, timeout_s=30)


async def test_who_watches_sees_no_gap_while_a_track_is_published_anew(livekit_server: Credentials) -> None:
    name = room_name()
    async with person(livekit_server, name, "sender") as sender, person(livekit_server, name, "viewer") as viewer:
        await sender.publisher.publish(PatternSource(VideoFormat(640, 360, 25.0)), PublishOptions(audio=False))
        camera = await viewer.sees("camera", "sender")
        watched = Pictures()
        await watch(viewer, camera.sid, watched)
        for _ in range(3):
            state = await sender.publisher.republish("camera")
            assert state.sid != camera.sid
            await watched.more(50, timeout_s=30)
        assert [item.name for item in sender.publisher.publications] == ["camera"]
        assert len(sender.session.sdk_room.local_participant.track_publications) == 1
        steps = np.diff([number for number in watched.numbers if number is not None])
        assert steps.max() < 25, "a second of pictures is missing"


async def test_a_publication_that_the_room_lost_is_published_again(livekit_server: Credentials) -> None:
    name = room_name()
    async with person(livekit_server, name, "sender") as sender, person(livekit_server, name, "viewer") as viewer:
        told: list[TrackRestarted] = []
        restarter = TrackRestarter(
            "participant", ParticipantHands(sender.session, sender.subscriber, sender.publisher), told.append
        )
        monitor = QualityMonitor("participant", ParticipantSurroundings(sender.session, sender.publisher), print)
        monitor.add_listener(restarter.on_tick)
        poller = StatsPoller(sender.session, sender.subscriber, sender.publisher)
        poller.add_listener(monitor.take)
        (state,) = await sender.publisher.publish(
            PatternSource(VideoFormat(640, 360, 25.0)), PublishOptions(audio=False)
        )
        await viewer.sees("camera", "sender")
        poller.start()
        await sender.session.sdk_room.local_participant.unpublish_track(state.sid)
        again = await viewer.hears(TrackPublished, lambda event: event.track.sid != state.sid, timeout_s=30)
        await watch(viewer, again.track.sid, Pictures())
        await eventually(lambda: any(item.outcome == "recovered" for item in told) or None, timeout_s=30)
        assert [(item.remedy, item.outcome) for item in told] == [("restart", "begun"), ("restart", "recovered")]
        assert (told[0].problem, told[0].participant_identity) == ("gone", "sender")
        assert restarter.counters().track_restarts == {"gone/restart/begun": 1, "gone/restart/recovered": 1}
        await poller.aclose()
        await restarter.aclose()


async def test_a_recorded_video_that_stands_still_is_subscribed_to_anew_and_goes_on(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    name = room_name()
    told: list[object] = []
    async with (
        Publisher(livekit_server, name, codec=Codec.VP8) as publisher,
        RoomAgent(livekit_server, RoomRequest(name, identity="recorder"), settings) as agent,
    ):
        agent.add_listener(told.append)
        folder = Path((await agent.start_recording()).path)

        def restarts(outcome: str) -> list[TrackRestarted]:
            return [item for item in told if isinstance(item, TrackRestarted) and item.outcome == outcome]

        def frames() -> int:
            return agent.counters().recording_frames.get("video", 0)

        await eventually(lambda: frames() >= 25 or None, timeout_s=40)
        publisher.paused = True
        await eventually(lambda: restarts("begun") or None, timeout_s=40)
        publisher.paused = False
        await eventually(lambda: restarts("recovered") or None, timeout_s=60)
        before = frames()
        await eventually(lambda: frames() - before >= 25 or None, timeout_s=40)
        assert agent.counters().track_restarts["stuck/restart/begun"] >= 1
        await agent.stop_recording()
    first = restarts("begun")[0]
    assert (first.connection, first.remedy, first.problem) == ("tap", "restart", "stuck")
    view = read_recording(folder)
    assert verify_recording(folder).problems == ()
    (video,) = [track for track in view.tracks if track.descriptor.kind is MediaKind.VIDEO]
    assert sum(gap.duration for gap in video.gaps) / video.timescale > 3
    (audio,) = [track for track in view.tracks if track.descriptor.kind is MediaKind.AUDIO]
    assert sum(gap.duration for gap in audio.gaps) / audio.timescale < 1, "sound has nothing to do with it"

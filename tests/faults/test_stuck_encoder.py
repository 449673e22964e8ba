"""A video of ours that is captured and wanted, and of which nothing is encoded: told from one that nobody wants."""

import asyncio
from pathlib import Path

import pytest
from livekit import rtc

from agent.credentials import Credentials
from agent.room.events import TrackRestarted
from agent.room.pre_encoded_feed import PreEncodedFeed
from agent.room.publish_options import PublishOptions
from agent.room.quality_monitor import QualityMonitor
from agent.room.quality_surroundings import ParticipantSurroundings
from agent.room.restart_hands import ParticipantHands
from agent.room.restarts import TrackRestarter
from agent.room.stats import StatsPoller
from media.sources.open import open_source
from media.sources.pattern import PatternSource
from media.sources.source import VideoFormat
from quality.judge import Judgement
from tests.integration.participants import Person, Pictures, person, room_name
from tests.integration.publishing import eventually
from tests.media.sources.clips import write_encoded

pytestmark = [pytest.mark.server, pytest.mark.faults]

SIZE = VideoFormat(640, 360, 25.0)


class Watch:
    """A person's judgements and restarts."""

    def __init__(self, who: Person) -> None:
        self.told: list[TrackRestarted] = []
        self.monitor = QualityMonitor("participant", ParticipantSurroundings(who.session, who.publisher), print)
        self.restarter = TrackRestarter(
            "participant", ParticipantHands(who.session, who.subscriber, who.publisher), self.told.append
        )
        self.monitor.add_listener(self.restarter.on_tick)
        self.poller = StatsPoller(who.session, who.subscriber, who.publisher)
        self.poller.add_listener(self.monitor.take)

    async def aclose(self) -> None:
        await self.poller.aclose()
        await self.restarter.aclose()

    def outcomes(self) -> list[str]:
        return [item.outcome for item in self.told]


async def test_an_encoder_that_makes_nothing_is_published_anew(livekit_server: Credentials, tmp_path: Path) -> None:
    path = write_encoded(tmp_path / "clip.webm", codec="vp8", video=SIZE, seconds=4.0)
    name = room_name()
    async with person(livekit_server, name, "sender") as sender, person(livekit_server, name, "viewer") as viewer:
        watch = Watch(sender)
        source = open_source(str(path), loop=True, pre_encoded=True)
        await sender.publisher.publish(source, PublishOptions(audio=False))
        camera = await viewer.sees("camera", "sender")
        watched = Pictures()
        viewer.subscriber.on_frames(camera.sid, watched)
        await watched.more(25, timeout_s=30)
        watch.poller.start()
        await asyncio.sleep(12)
        assert watch.told == []
        feed = sender.publisher._all()[0].feed
        assert isinstance(feed, PreEncodedFeed)
        feed._codec = rtc.VideoCodec.H264  # an encoder for VP8 makes nothing of it
        await eventually(lambda: "begun" in watch.outcomes() or None, timeout_s=30)
        feed._codec = rtc.VideoCodec.VP8
        await eventually(lambda: "recovered" in watch.outcomes() or None, timeout_s=60)
        await watched.more(25, timeout_s=30)
        first = watch.told[0]
        assert (first.remedy, first.problem, first.participant_identity) == ("restart", "stuck", "sender")
        assert "captured and wanted" in first.reason
        await watch.aclose()


async def test_a_video_that_nobody_watches_is_not_stuck(livekit_server: Credentials) -> None:
    name = room_name()
    async with person(livekit_server, name, "sender") as sender:
        watch = Watch(sender)
        (state,) = await sender.publisher.publish(PatternSource(SIZE), PublishOptions(audio=False))
        watch.poller.start()

        def judged() -> Judgement | None:
            return watch.monitor.judgement(state.sid)

        def rests() -> bool | None:
            judgement = judged()
            if judgement is None or not judgement.window.measured:
                return None
            return judgement.window.packets == 0 or None

        await eventually(rests, timeout_s=40)
        await asyncio.sleep(12)
        judgement = judged()
        assert judgement is not None
        assert judgement.window.packets == 0
        assert judgement.window.captured_fps
        assert {layer.active for layer in judgement.window.layers} == {False}
        assert watch.told == []
        async with person(livekit_server, name, "viewer") as viewer:
            camera = await viewer.sees("camera", "sender")
            watched = Pictures()
            viewer.subscriber.on_frames(camera.sid, watched)
            await watched.more(50, timeout_s=30)
            assert watch.told == []
        await watch.aclose()

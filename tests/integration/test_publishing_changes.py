"""What is published changes while it is watched, on a real server: size and rate on the same track, the codec anew."""

import numpy as np
import pytest

from agent.credentials import Credentials
from agent.room.events import TrackPublished
from agent.room.publish_options import PlanChange, PublishOptions, VideoCodec
from media.sources.pattern import PatternSource
from media.sources.source import VideoFormat
from tests.integration.participants import Pictures, person, room_name

pytestmark = pytest.mark.server


async def test_size_and_rate_change_on_the_same_track_without_a_gap(livekit_server: Credentials) -> None:
    name = room_name()
    async with person(livekit_server, name, "sender") as sender, person(livekit_server, name, "viewer") as viewer:
        await sender.publisher.publish(
            PatternSource(VideoFormat(640, 360, 25.0)), PublishOptions(audio=False, simulcast=False)
        )
        camera = await viewer.sees("camera", "sender")
        watched = Pictures()
        viewer.subscriber.on_frames(camera.sid, watched)
        await watched.of_size(640, 360)
        sender.publisher.limit("camera", max_fps=12.5, lines=180)
        await watched.of_size(320, 180, count=10)
        numbers = [number for number in watched.numbers[-8:] if number is not None]
        assert np.median(np.diff(numbers)) == 2, "every other picture"
        sender.publisher.limit("camera")
        await watched.of_size(640, 360)
        assert sender.publisher.publications[0].sid == camera.sid
        steps = np.diff([number for number in watched.numbers if number is not None])
        assert steps.max() < 25, "a second of pictures is missing"


async def test_another_codec_is_there_before_the_old_one_goes(livekit_server: Credentials) -> None:
    name = room_name()
    async with person(livekit_server, name, "sender") as sender, person(livekit_server, name, "viewer") as viewer:
        await sender.publisher.publish(PatternSource(VideoFormat(640, 360, 25.0)), PublishOptions(audio=False))
        camera = await viewer.sees("camera", "sender")
        assert camera.mime_type == "video/vp8"
        watched = Pictures()
        viewer.subscriber.on_frames(camera.sid, watched)
        await watched.more(25, timeout_s=30)
        state = await sender.publisher.republish("camera", PlanChange(video_codec=VideoCodec.H264))
        again = await viewer.hears(TrackPublished, lambda event: event.track.sid == state.sid)
        assert again.track.mime_type == "video/h264"
        await watched.more(50, timeout_s=30)
        steps = np.diff([number for number in watched.numbers if number is not None])
        assert steps.max() < 25, "a second of pictures is missing"

"""Files published as they are encoded, on a real server: what a subscriber decodes of them."""

from pathlib import Path

import numpy as np
import pytest

from agent.credentials import Credentials
from agent.room.publish_options import PublishOptions
from media.sources.open import open_source
from media.sources.source import VideoFormat
from tests.integration.participants import Pictures, person, room_name
from tests.media.sources.clips import write_encoded

pytestmark = pytest.mark.server

SIZE = VideoFormat(640, 360, 25.0)
KEY_FRAMES_APART = 25


@pytest.mark.parametrize(("codec", "name"), [("h264", "clip.mp4"), ("vp8", "clip.webm")])
async def test_a_file_is_published_as_it_is_and_late_comers_get_the_next_key_frame(
    livekit_server: Credentials, tmp_path: Path, codec: str, name: str
) -> None:
    path = write_encoded(tmp_path / name, codec=codec, video=SIZE, seconds=20.0)
    room = room_name()
    async with person(livekit_server, room, "sender") as sender, person(livekit_server, room, "viewer") as viewer:
        await sender.publisher.publish(open_source(str(path), pre_encoded=True), PublishOptions())
        camera = await viewer.sees("camera", "sender")
        assert camera.mime_type == f"video/{codec}"
        watched, late = Pictures(), Pictures()
        viewer.subscriber.on_frames(camera.sid, watched)
        await watched.more(75, timeout_s=30)
        async with person(livekit_server, room, "late") as other:
            again = await other.sees("camera", "sender")
            other.subscriber.on_frames(again.sid, late)
            await late.more(25, timeout_s=15)
        assert set(watched.sizes) == {(640, 360)}
        numbers = [number for number in watched.numbers if number is not None]
        assert len(numbers) >= 0.9 * len(watched.numbers), "pictures are whole"
        steps = np.diff(numbers)
        # libwebrtc may drop a frame before the pass-through: then nothing goes before the next key frame.
        assert (steps > 5).sum() <= 1
        assert steps.max() <= KEY_FRAMES_APART + 5
        stats = (await sender.session.sdk_room.get_rtc_stats()).publisher_stats
        (sent,) = [each.outbound_rtp.outbound for each in stats if each.HasField("outbound_rtp")]
        assert sent.encoder_implementation == "LiveKit pre-encoded passthrough"

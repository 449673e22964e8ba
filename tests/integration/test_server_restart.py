"""A LiveKit server that crashes and comes back: the recording goes on by itself, in the same recording."""

import asyncio
import itertools
from pathlib import Path

import pytest

from agent.bot import RoomAgent
from agent.config import load_settings
from agent.request import RoomRequest
from agent.service.local_server import LocalServer
from media.frames import Codec, MediaKind
from media.record.entries import RecordingState
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.integration.publishing import Publisher, eventually

pytestmark = pytest.mark.server


async def test_a_recording_goes_on_when_the_server_is_back(server_binary: Path, tmp_path: Path) -> None:
    local = LocalServer(server_binary, log_file=tmp_path / "server.log")
    credentials = (await local.start()).credentials
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path, "segment_duration_s": 2.0})
    try:
        async with Publisher(credentials, "restart", codec=Codec.VP8):
            agent = RoomAgent(credentials, RoomRequest("restart"), settings)
            await agent.start()
            recording = await agent.start_recording()
            await eventually(lambda: video_frames(agent) >= 50 or None)
            await local.kill()
            before = video_frames(agent)
            await asyncio.sleep(1)
            await local.start(credentials)
            await eventually(lambda: video_frames(agent) >= before + 75 or None, timeout_s=60)
            status = await agent.stop_recording()
            await agent.aclose()
    finally:
        await local.aclose()
    assert status.recording_id == recording.recording_id
    assert status.state == RecordingState.COMPLETE
    view = read_recording(Path(status.path))
    assert verify_recording(view.path).problems == ()
    videos = [track for track in view.tracks if track.descriptor.kind is MediaKind.VIDEO]
    assert sum(track.samples for track in videos) >= before + 75
    # Media time goes on: what came after the crash lies after what came before, with the outage between.
    spans = sorted(
        (track.media_time_s(segment.decode_time), track.media_time_s(segment.end_decode_time))
        for track in videos
        for segment in track.segments
    )
    assert all(later[0] >= earlier[1] - 0.1 for earlier, later in itertools.pairwise(spans))
    assert max(later[0] - earlier[1] for earlier, later in itertools.pairwise(spans)) >= 1.0


def video_frames(agent: RoomAgent) -> int:
    return agent.counters().recording_frames.get("video", 0)

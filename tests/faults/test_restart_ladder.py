"""Videos that a new subscription does not bring back, on a real server: the ladder goes on, logged and counted.

The way loses what the test says: all video (and sound passes), or all but lower layers.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.room.events import TrackRestarted
from agent.service.local_server import LocalServer
from media.frames import Codec, MediaKind
from media.record.reader import read_recording
from media.record.verify import verify_recording
from media.tap.events import LayerQuality
from media.tap.tap import Tap
from tests.faults.faulty_network import FaultyNetwork, faulty_network
from tests.integration.narrow_link import NarrowLink, why_not
from tests.integration.participants import room_name
from tests.integration.publishing import Publisher, eventually
from tests.integration.watched_agent import WatchedAgent

WITHOUT_LINK = why_not(delayed=True)
pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(400)]

LADDER_S = 200.0  # found out after 6 s, then 8, 16 and 32 s of watching, and a machine that may be busy
AUDIO_MOST_BYTES = 500
RTCP_TYPES = range(192, 224)


def is_video(datagram: bytes) -> bool:
    """RTP that is larger than any sound; what is left of the video cannot make a picture."""
    return len(datagram) > AUDIO_MOST_BYTES and datagram[0] >> 6 == 2 and datagram[1] not in RTCP_TYPES


def steps(restarts: list[TrackRestarted]) -> list[tuple[str, str]]:
    return [(item.remedy, item.outcome) for item in restarts]


class Recording:
    """A room agent that records behind a faulty network, and the restarts that it tells."""

    def __init__(self, agent: RoomAgent) -> None:
        self.agent = agent
        self.folder = Path()
        self.told: list[TrackRestarted] = []
        agent.add_listener(lambda event: self.told.append(event) if isinstance(event, TrackRestarted) else None)

    @property
    def tap(self) -> Tap:
        recorder = self.agent._recordings._recorder
        assert recorder is not None
        return recorder.tap

    def frames(self, kind: str) -> int:
        return self.agent.counters().recording_frames.get(kind, 0)

    def video(self) -> str:
        return next(
            track.sid
            for item in self.tap.participants.values()
            for track in item.tracks
            if track.kind is MediaKind.VIDEO
        )

    async def until(self, condition: Callable[[], bool], *, timeout_s: float) -> None:
        try:
            await eventually(lambda: condition() or None, timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; restarts {steps(self.told)}, {self.frames('video')} frames") from error


@asynccontextmanager
async def recorded(server: Credentials, recordings_dir: Path) -> AsyncIterator[tuple[FaultyNetwork, Recording]]:
    """A room whose video and sound an agent behind a faulty network records already."""
    name = room_name()
    settings = load_settings().model_copy(update={"recordings_dir": recordings_dir})
    async with (
        Publisher(server, name, codec=Codec.VP8, width=1280, height=720, bitrate_bps=1_700_000),
        faulty_network(server) as network,
        RoomAgent(network.credentials, RoomRequest(name, identity="recorder"), settings) as agent,
    ):
        recording = Recording(agent)
        recording.folder = Path((await agent.start_recording()).path)
        await recording.until(lambda: recording.frames("video") >= 50, timeout_s=60)
        yield network, recording


async def test_a_recorded_video_whose_top_layer_cannot_be_had_goes_on_in_the_next_lower_one(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    async with recorded(livekit_server, tmp_path) as (network, recording):

        def lost(datagram: bytes) -> bool:
            return is_video(datagram) and recording.tap.quality(recording.video()) is LayerQuality.HIGH

        network.lose(lost)
        await recording.until(lambda: ("lower_layer", "recovered") in steps(recording.told), timeout_s=LADDER_S)
        before = recording.frames("video"), recording.frames("audio")
        await recording.until(lambda: recording.frames("video") - before[0] >= 50, timeout_s=30)
        assert recording.frames("audio") > before[1]
        counted = recording.agent.counters().track_restarts
        await recording.agent.stop_recording()
    told = steps(recording.told)
    assert told.index(("restart", "begun")) < told.index(("lower_layer", "begun"))
    assert ("report", "begun") not in told
    assert all(item.connection == "tap" for item in recording.told)
    assert counted == Counter(f"{item.problem}/{item.remedy}/{item.outcome}" for item in recording.told)
    assert verify_recording(recording.folder).problems == ()
    (video,) = [track for track in read_recording(recording.folder).tracks if track.descriptor.kind is MediaKind.VIDEO]
    assert video.gaps, "what the way has lost is a gap"


async def test_a_recorded_video_that_nothing_brings_back_is_reported_and_never_given_up(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    async with recorded(livekit_server, tmp_path) as (network, recording):
        network.lose(is_video)
        await recording.until(lambda: ("report", "begun") in steps(recording.told), timeout_s=LADDER_S)
        begun = [item.remedy for item in recording.told if item.outcome == "begun"]
        assert begun == ["restart", "restart", "lower_layer", "report"]
        assert [item.outcome for item in recording.told if item.remedy != "report"] == ["begun", "failed"] * 3
        assert recording.video() in recording.tap.subscribed
        sound = recording.frames("audio")
        network.lose(None)
        video = recording.frames("video")
        await recording.until(lambda: recording.frames("video") - video >= 50, timeout_s=60)
        assert recording.frames("audio") > sound
        (reported,) = [item for item in recording.told if item.remedy == "report"]
        assert recording.agent.counters().track_restarts[f"{reported.problem}/report/begun"] == 1
        await recording.agent.stop_recording()


@pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a link that drops streams {WITHOUT_LINK}")
async def test_a_watched_video_that_nothing_brings_back_is_given_up_for_sound_alone(
    server_binary: Path, tmp_path: Path
) -> None:
    with NarrowLink(delayed=True) as link:
        server = LocalServer(server_binary, log_file=tmp_path / "server.log", address=link.address)
        async with (
            server as running,
            Publisher(running.credentials, "ladder", width=1280, height=720, bitrate_bps=1_700_000),
        ):
            link.let_tcp_only_to(int(running.credentials.url.rpartition(":")[2]))
            async with WatchedAgent(running.credentials, "ladder", behind=link.inside) as agent:
                sound = await agent.until(_ssrcs_of_sound, timeout_s=60)
                link.drop_all_but(*sound)
                given_up: dict[str, Any] = await agent.until(
                    lambda it: next((item for item in it.restarts if item["remedy"] == "audio_only"), None),
                    timeout_s=LADDER_S,
                )
                assert given_up["problem"] in {"stuck", "no_picture"}
                await agent.until(lambda it: it.seconds[-1].track("publisher") is None or None, timeout_s=20)
                heard = [item.track("publisher", "audio") for item in agent.seconds[-10:]]
                assert all(item is not None and item.packets > 0 for item in heard)
                await agent.end()
    begun = [item["remedy"] for item in agent.restarts if item["outcome"] == "begun"]
    # No lower layer where the layer controller asks for the lowest one by then.
    assert [remedy for remedy in begun if remedy != "lower_layer"] == ["restart", "restart", "audio_only"]
    assert begun.index("audio_only") == len(begun) - 1
    lines = agent.logged("track_restarting")
    assert [line["remedy"] for line in lines] == begun
    assert all(line["reason"] and line["expects"] for line in lines)
    assert agent.counters["track_restarts"][f"{given_up['problem']}/audio_only/begun"] == 1


def _ssrcs_of_sound(agent: WatchedAgent) -> tuple[int, ...] | None:
    if not agent.seconds:
        return None
    video, sound = agent.seconds[-1].track("publisher"), agent.seconds[-1].track("publisher", "audio")
    if video is None or sound is None or video.fps == 0 or sound.packets == 0:
        return None
    return sound.ssrcs

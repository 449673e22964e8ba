"""Quality in a real room: a recording gets its report, with the server's own words beside ours, whatever records it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent import EVERYTHING, LayerPolicy, RecordingPlan, RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.quality_report import PAGE_NAME, REPORT_NAME, read_quality_report
from agent.room.events import LayerChanged, TrackRestarted
from media.frames import Codec
from media.record.reader import QUALITY_NAME, read_events, read_recording
from media.record.verify import verify_recording
from quality.controller import TROUBLE_S
from quality.stats import InboundRtp, TrackKind, TrackSnapshot, VideoQuality
from tests.integration.participants import one_second_later, room_name
from tests.integration.publishing import Publisher, eventually

pytestmark = pytest.mark.server

SINE_DBFS = -15.3  # the publisher's: 8,000 of 32,768


def written(folder: Path, kind: str) -> list[dict[str, object]]:
    """The payloads of a type so far."""
    lines = read_events(folder, QUALITY_NAME)
    return [dict(line["payload"]) for line in lines if line["type"] == kind]  # type: ignore[arg-type]  # JSON


def heard_whole(folder: Path) -> bool | None:
    """Whether some seconds of the sine were heard without gaps, which a busy sender leaves."""
    levels = [each["level_dbfs"] for each in written(folder, "track_quality") if "level_dbfs" in each]
    return any(isinstance(level, float) and abs(level - SINE_DBFS) < 3 for level in levels) or None


async def test_a_recording_has_a_report_of_sound_and_picture_beside_the_servers_words(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    room = room_name()
    async with (
        Publisher(livekit_server, room, codec=Codec.VP8, width=1280, height=720),
        RoomAgent(livekit_server, RoomRequest(room, identity="recorder"), settings) as agent,
    ):
        folder = Path((await agent.start_recording()).path)
        # The server says its word to newcomers and whenever it changes.
        await eventually(
            lambda: any("server_quality" in each for each in written(folder, "participant_quality")) or None,
            timeout_s=40,
        )
        await eventually(lambda: len(written(folder, "track_quality")) >= 6 or None, timeout_s=30)
        await eventually(lambda: heard_whole(folder), timeout_s=30)
        state = agent.state()
        received = [track.tap for track in state.tracks if track.tap is not None]
        assert len(received) == 2
        # Not the words: a busy machine loses packets on loopback, too.
        assert all(each.quality is not None and each.mos is not None for each in received)
        assert sum(agent.counters().quality_agreement.values()) > 0
        await agent.stop_recording()
    view = read_recording(folder)
    report = read_quality_report(view)
    assert {item.track.kind for item in report.tracks} == {"audio", "video"}
    for item in report.tracks:
        assert item.track.participant_identity == "publisher"
        assert item.packets > 0
        assert item.bitrate_bps > 0
        assert item.model_mos is not None
    # What was never decoded but for its level.
    audio = next(item for item in report.tracks if item.track.kind == "audio")
    assert audio.track.connection == "tap"
    loudest = max(point.level_dbfs for point in audio.points if point.level_dbfs is not None)
    assert loudest == pytest.approx(SINE_DBFS, abs=3)
    assert audio.level_dbfs is not None
    assert audio.level_dbfs <= loudest
    assert audio.silent_ratio is not None, "it was heard"
    assert audio.silent_ratio < 0.5
    assert audio.clipped_ratio == pytest.approx(0.0, abs=0.01)
    assert agent.counters().recorded_sound_failures == 0
    video = next(item for item in report.tracks if item.track.kind == "video")
    assert video.sizes
    assert video.key_frames >= 1
    people = {item.participant_identity: item for item in report.participants}
    assert {"publisher", "recorder-tap"} <= set(people)
    assert people["recorder-tap"].own
    assert report.agreement.compared > 0
    told = [item.server_mos for item in people.values() if item.server_mos is not None]
    assert told, "the server said something of somebody"
    assert all(1.0 <= mos <= 4.5 for mos in told)
    assert json.loads((folder / REPORT_NAME).read_text())["recording"]["state"] == "complete"
    assert "<svg" in (folder / PAGE_NAME).read_text()
    assert verify_recording(folder).problems == ()


async def test_an_agents_own_loop_lowers_layers_and_restarts_tracks_by_what_it_measures(
    livekit_server: Credentials,
) -> None:
    """Its parts have tests of their own; here it is that an agent put them together."""
    room, told = room_name(), list[object]()
    async with (
        Publisher(livekit_server, room, codec=Codec.VP8, width=1280, height=720),
        RoomAgent(livekit_server, RoomRequest(room, identity="viewer", policy=EVERYTHING), load_settings()) as agent,
    ):
        agent.add_listener(told.append)

        async def received() -> TrackSnapshot | None:
            found = [item for item in await agent._stats.poll() or () if item.kind is TrackKind.VIDEO]
            return next((item for item in found if isinstance(item.stats, InboundRtp) and item.stats.frame_width), None)

        snapshot = None
        async with asyncio.timeout(30):
            while snapshot is None:
                await asyncio.sleep(0.5)
                snapshot = await received()
        await agent._stats.aclose()  # from here on it measures what is told
        assert isinstance(snapshot.stats, InboundRtp)
        # The largest layer comes late where the publisher has little of the machine.
        frozen = replace(snapshot, stats=replace(snapshot.stats, frame_width=1280, frame_height=720))
        for second in range(1, TROUBLE_S + 3):
            frozen = one_second_later(frozen, freeze_count=second)
            agent._quality.take((frozen,), frozen.timestamp)
        (changed, *_) = [event for event in told if isinstance(event, LayerChanged)]
        assert (changed.connection, changed.track.sid) == ("participant", frozen.track_sid)
        assert changed.to_quality == VideoQuality.MEDIUM
        stuck = frozen
        for _ in range(15):
            stuck = replace(stuck, timestamp=stuck.timestamp + 1.0)
            agent._quality.take((stuck,), stuck.timestamp)
            await asyncio.sleep(0)
        (restarted, *_) = [event for event in told if isinstance(event, TrackRestarted)]
        assert (restarted.connection, restarted.track_sid, restarted.remedy) == (
            "participant",
            frozen.track_sid,
            "restart",
        )
        assert sum(agent.counters().layer_switches.values()) >= 1


async def test_a_pause_writes_the_report_and_decoded_media_are_looked_at(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    room = room_name()
    plan = RecordingPlan(decoded=True, layers=LayerPolicy())
    async with (
        Publisher(livekit_server, room, codec=Codec.VP8),
        RoomAgent(livekit_server, RoomRequest(room, identity="recorder"), settings) as agent,
    ):
        folder = Path((await agent.start_recording(plan=plan)).path)
        await eventually(
            lambda: any("still_ratio" in each for each in written(folder, "track_quality")) or None, timeout_s=40
        )
        await eventually(lambda: heard_whole(folder), timeout_s=40)
        await agent.pause_recording()
        await eventually(lambda: (folder / PAGE_NAME).exists() or None)
        lines = len(written(folder, "track_quality"))
        await asyncio.sleep(2.5)
        assert len(written(folder, "track_quality")) == lines, "nothing is recorded, nothing is judged"
        await agent.stop_recording()
    report = read_quality_report(read_recording(folder))
    audio = next(item for item in report.tracks if item.track.kind == "audio")
    video = next(item for item in report.tracks if item.track.kind == "video")
    assert audio.track.connection == "participant"
    loudest = max(point.level_dbfs for point in audio.points if point.level_dbfs is not None)
    assert loudest == pytest.approx(SINE_DBFS, abs=3)
    assert audio.level_dbfs is not None
    assert audio.level_dbfs <= loudest
    assert audio.silent_ratio is not None
    assert audio.silent_ratio < 0.5
    assert audio.clipped_ratio == pytest.approx(0.0, abs=0.01)
    assert (video.black_ratio, video.still_ratio) == (0.0, 0.0)

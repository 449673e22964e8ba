"""Flashes and beeps through a real server, recorded, exported, and looked for in the exported files.

Two participants publish; what is measured is the recording's: the skew with which each flash and beep was captured is
known and taken off. The figures are printed (`make lipsync`); docs/performance.md has those of a quiet machine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from livekit.rtc import SimulateScenarioKind

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.room.recording_plan import RecordingPlan
from media.export.verification import verify_output
from media.frames import MediaKind
from media.package.packager import package_hls
from media.process.mp4 import write_mp4
from media.process.timeline import plan_programs
from media.record.reader import RecordingView, read_recording
from tests.integration.publishing import eventually
from tests.lipsync.analysis import Marks, find_marks, spread
from tests.lipsync.sync_publisher import SyncPublisher

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(400)]

WITHIN_MS = 20.0
BETWEEN_MS = 40.0
DECODED_MS = 500.0  # the SDK's sound lags while its jitter buffer catches up; docs/recording.md says so
LEAST_PAIRS = 5
WRITERS = {"mp4": write_mp4, "hls": package_hls}

Course = Callable[[RoomAgent, SyncPublisher, SyncPublisher], Awaitable[None]]


async def record(
    server: Credentials, folder: Path, room: str, course: Course, *, wide: bool = False, decoded: bool = False
) -> tuple[RecordingView, SyncPublisher, SyncPublisher]:
    """The recording of a room in which alice and bob publish while `course` runs."""
    settings = load_settings().model_copy(update={"recordings_dir": folder, "segment_duration_s": 2.0})
    size = (960, 540) if wide else (640, 360)
    async with (
        SyncPublisher(server, room, "alice", size=size, first_second=1000) as alice,
        SyncPublisher(server, room, "bob", first_second=1500) as bob,
        RoomAgent(server, RoomRequest(room, identity="recorder"), settings) as agent,
    ):
        recording = await agent.start_recording(plan=RecordingPlan(decoded=decoded))
        await eventually(lambda: agent.counters().recording_frames.get("video", 0) >= 20 or None, timeout_s=60)
        await course(agent, alice, bob)
        if agent.state().recording is not None:
            await agent.stop_recording()
    return read_recording(folder / recording.recording_id), alice, bob


def measure(view: RecordingView, out: Path, publisher: SyncPublisher, export_format: str) -> tuple[Marks, float]:
    """The marks in the participant's exported file, and the media time of its zero."""
    program = plan_programs(view, publisher.identity)[0]
    folder = out / publisher.identity
    folder.mkdir(parents=True)
    output = verify_output(WRITERS[export_format](view, program, folder, lambda _: None), folder, lambda _: None)
    return find_marks(folder / output.entry), output.start_media_time_s


def judge(
    what: str,
    view: RecordingView,
    out: Path,
    publishers: tuple[SyncPublisher, SyncPublisher],
    export_format: str,
    limits_ms: tuple[float, float] = (WITHIN_MS, BETWEEN_MS),
) -> None:
    """Print the figures and hold them against the limits: within a participant, and between the two."""
    shown: list[dict[int, float]] = []
    measured = [measure(view, out, publisher, export_format) for publisher in publishers]
    for publisher, (marks, start_s) in zip(publishers, measured, strict=True):
        differences = [
            offset - skew
            for second, offset in marks.offsets_ms().items()
            if (skew := publisher.skew_ms(second)) is not None
        ]
        assert len(differences) >= LEAST_PAIRS, (what, publisher.identity, marks)
        within = spread(differences)
        print(f"\n{what}, {export_format}, {publisher.identity}, sound after picture: {within}", end="")
        assert within.p99_ms <= limits_ms[0], (what, publisher.identity, differences)
        # How much later than captured each flash is shown, on one clock for both participants.
        shown.append(
            {
                round(publisher.flashes[second] - publishers[0].flashes[min(publishers[0].flashes)]): at_s
                + start_s
                - publisher.flashes[second]
                for second, at_s in marks.flashes.items()
                if second in publisher.flashes
            }
        )
    both = [1000 * (shown[0][at] - shown[1][at]) for at in shown[0] if at in shown[1]]
    assert len(both) >= LEAST_PAIRS, (what, shown)
    between = spread(both)
    print(f"\n{what}, {export_format}, alice and bob, picture after picture: {between}")
    assert between.p99_ms <= limits_ms[1], (what, both)


async def test_after_joining(livekit_server: Credentials, tmp_path: Path) -> None:
    async def course(_agent: RoomAgent, _alice: SyncPublisher, _bob: SyncPublisher) -> None:
        await asyncio.sleep(9)

    view, alice, bob = await record(livekit_server, tmp_path, "lipsync-join", course)
    await asyncio.to_thread(judge, "after joining", view, tmp_path / "mp4", (alice, bob), "mp4")
    await asyncio.to_thread(judge, "after joining", view, tmp_path / "hls", (alice, bob), "hls")


async def test_over_layer_switches_and_mutes(livekit_server: Credentials, tmp_path: Path) -> None:
    async def course(agent: RoomAgent, alice: SyncPublisher, bob: SyncPublisher) -> None:
        camera = next(
            track.sid
            for track in agent.state().tracks
            if (track.participant_identity, track.kind) == ("alice", "video")
        )
        await asyncio.sleep(3)
        await agent.set_layer(camera, "low", target="tap")
        bob.mute("audio")
        await asyncio.sleep(4)
        bob.unmute("audio")
        bob.mute("video")
        await asyncio.sleep(4)
        bob.unmute("video")
        await agent.set_layer(camera, "high", target="tap")
        await asyncio.sleep(12)

    view, alice, bob = await record(livekit_server, tmp_path, "lipsync-layers", course, wide=True)
    sizes = {
        (init.width, init.height)
        for track in view.tracks
        if track.descriptor.kind is MediaKind.VIDEO and track.descriptor.participant_identity == "alice"
        for init in track.inits
    }
    assert len(sizes) >= 2, "the layer never changed"
    await asyncio.to_thread(judge, "layer switches and mutes", view, tmp_path / "hls", (alice, bob), "hls")


async def test_over_reconnects_of_the_publishers(livekit_server: Credentials, tmp_path: Path) -> None:
    async def course(_agent: RoomAgent, alice: SyncPublisher, bob: SyncPublisher) -> None:
        await asyncio.sleep(4)
        await alice.reconnect(SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await bob.reconnect(SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await asyncio.sleep(14)

    view, alice, bob = await record(livekit_server, tmp_path, "lipsync-reconnect", course)
    await asyncio.to_thread(judge, "reconnects", view, tmp_path / "mp4", (alice, bob), "mp4")


async def test_when_the_recorder_comes_back_in_the_same_recording(livekit_server: Credentials, tmp_path: Path) -> None:
    async def course(agent: RoomAgent, _alice: SyncPublisher, _bob: SyncPublisher) -> None:
        await asyncio.sleep(5)
        status = await agent.stop_recording()
        await asyncio.sleep(1)
        await agent.start_recording(status.recording_id)
        await asyncio.sleep(9)

    view, alice, bob = await record(livekit_server, tmp_path, "lipsync-resume", course)
    await asyncio.to_thread(judge, "resumed recording", view, tmp_path / "mp4", (alice, bob), "mp4")


async def test_in_decoded_mode(livekit_server: Credentials, tmp_path: Path) -> None:
    async def course(_agent: RoomAgent, _alice: SyncPublisher, _bob: SyncPublisher) -> None:
        await asyncio.sleep(14)

    view, alice, bob = await record(livekit_server, tmp_path, "lipsync-decoded", course, decoded=True)
    await asyncio.to_thread(
        judge, "decoded mode", view, tmp_path / "mp4", (alice, bob), "mp4", (DECODED_MS, DECODED_MS)
    )

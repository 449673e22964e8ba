"""Disks that fill up or stand still under a real room's recording."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.credentials import Credentials
from media.frames import Codec, MediaKind
from media.record.entries import GapReason, RecordingState
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.faults.numbered import NumberedPublisher
from tests.faults.observer import Observer, observing
from tests.faults.recorded import check_all_decodes, rtp_timestamps, unmatched
from tests.faults.watched import recording_room
from tests.integration.participants import room_name
from tests.integration.publishing import eventually
from tests.integration.serving import Serving, serving
from tests.media.record.test_storage_failures import fill, mounted

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(300)]

STALL_S = 5.0
STALLS = 3


async def metric(service: Serving, name: str, **labels: str) -> float:
    """A metric's value as Prometheus would scrape it; 0 for a series that is not there."""
    text = (await service.client.get("/metrics")).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return next((sample.value for sample in samples if sample.name == name and sample.labels == labels), 0.0)


async def test_a_full_disk_is_told_and_recording_goes_on_once_there_is_space(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    room = room_name()
    with mounted(tmp_path / "recordings", "size=20m") as disk:
        async with serving(livekit_server, tmp_path) as service, NumberedPublisher(livekit_server, room):
            service.client.headers["Connection"] = "close"
            answer = await service.client.post("/v1/rooms", json={"room": room, "record": True})
            assert answer.status_code == 201, answer.text
            await service.until(room, lambda item: recording_of(item).get("frames", 0) > 200)
            path = disk / (await service.room(room))["recording_id"]
            filler = await asyncio.to_thread(fill, disk)
            full_at = time.monotonic()
            shown = await service.until(room, lambda item: recording_of(item)["state"] == "storage_error")
            told_s = time.monotonic() - full_at
            assert recording_of(shown)["error_code"] == "disk_full"
            assert await metric(service, "roomhand_recordings", state="storage_error") == 1
            assert await metric(service, "roomhand_recording_storage_errors_total", code="disk_full") >= 1
            kept = read_recording(path)
            assert all(track.samples for track in kept.tracks)
            assert verify_recording(path).segments == sum(len(track.segments) for track in kept.tracks)
            filler.unlink()
            free_at = time.monotonic()
            await service.until(room, lambda item: recording_of(item)["state"] == "recording")
            again_s = time.monotonic() - free_at
            assert await metric(service, "roomhand_recordings", state="storage_error") == 0
            frames = recording_of(await service.room(room))["frames"]
            await service.until(room, lambda item: recording_of(item)["frames"] > frames + 200)
            lost = await metric(service, "roomhand_recording_frames_lost_total", kind="video")
            service.process.terminate()
            assert await asyncio.wait_for(service.process.wait(), 60) == 0
        assert verify_recording(path).problems == ()
        view = read_recording(path)
        assert view.state is RecordingState.COMPLETE
        check_all_decodes(view)
        gaps = [gap for track in view.tracks for gap in track.gaps if gap.reason is GapReason.STORAGE]
    print(
        f"disk full: told after {told_s:.1f} s, recording again {again_s:.1f} s after there was space, "
        f"{sum(gap.frames_lost for gap in gaps)} frames lost and told in {len(gaps)} gaps "
        f"({lost:.0f} of video in the metrics)"
    )
    assert {track.descriptor.kind for track in view.tracks for gap in track.gaps if gap in gaps} == set(MediaKind)
    assert lost > 0


def recording_of(room: dict[str, Any]) -> dict[str, Any]:
    """The recording in the API's view of a room; empty before there is one."""
    state = room.get("state")
    recording = state.get("recording") if isinstance(state, dict) else None
    return recording if isinstance(recording, dict) else {}


@contextmanager
def file_system(folder: Path) -> Iterator[Path]:
    """An ext4 of its own on a loop device; needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a file system that can be frozen")
    image, place = folder / "image", folder / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        try:
            done = subprocess.run(command, check=False, capture_output=True)
        except FileNotFoundError:
            pytest.skip(f"needs {command[0]}")
        if done.returncode != 0:
            pytest.skip(f"this system does not let us run {command[0]}: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["fsfreeze", "-u", str(place)], check=False, capture_output=True)
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@asynccontextmanager
async def frozen(place: Path) -> AsyncIterator[None]:
    """While it lasts every write, rename and fsync there stands still in the kernel."""
    await asyncio.to_thread(subprocess.run, ["fsfreeze", "-f", str(place)], check=True)
    try:
        yield
    finally:
        await asyncio.to_thread(subprocess.run, ["fsfreeze", "-u", str(place)], check=True)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264])
async def test_a_disk_that_stands_still_for_seconds_costs_nothing(
    livekit_server: Credentials, tmp_path: Path, codec: Codec
) -> None:
    room = room_name()
    waiting: list[int] = []
    with file_system(tmp_path) as disk:
        async with (
            NumberedPublisher(livekit_server, room, codec=codec, width=640, height=360),
            observing(livekit_server, room) as observer,
            recording_room(livekit_server, room, disk) as recorder,
        ):
            await recorder.more_video(50)
            before = resident_bytes()
            for _ in range(STALLS):
                async with frozen(disk):
                    await asyncio.sleep(STALL_S)
                    waiting.append(recorder.counters().recording_write_queue_bytes)
                await eventually(
                    lambda: recorder.counters().recording_write_queue_bytes < min(waiting) or None, timeout_s=30
                )
                await recorder.more_video(25)
            grown = resident_bytes() - before
            await recorder.aclose()
            status = recorder.status()
        assert (status.state, status.frames_lost, status.error_code) == ("complete", 0, "")
        view = read_recording(disk / "one")
        assert verify_recording(view.path).problems == ()
        check_all_decodes(view)
        missing = {track.descriptor.kind: lost_frames(observer, track.descriptor.track_sid, rtp_timestamps(view, track))
                   for track in view.tracks}  # fmt: skip
    print(
        f"{codec}: {STALLS} stalls of {STALL_S:.0f} s, up to {max(waiting) / 1e3:.0f} kB waiting, memory grew by "
        f"{grown / 1e6:.1f} MB, missing {dict(missing)}"
    )
    assert min(waiting) > 0
    assert set(missing.values()) == {0}


def lost_frames(observer: Observer, track_sid: str, recorded: list[int]) -> int:
    """Frames that the observer saw between the first and the last recorded one and the recording lacks."""
    seen = observer.tracks[track_sid].rtp_timestamps
    there = [index for index, stamp in enumerate(seen) if not unmatched([stamp], recorded, 90)]
    return len(unmatched(seen[there[0] : there[-1] + 1], recorded, 90))

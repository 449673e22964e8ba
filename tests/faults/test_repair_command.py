"""`roomhand recordings repair` on a real room's recording that was damaged in every way we know of."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.credentials import Credentials
from media.frames import Codec
from media.record.entries import RecordingState
from media.record.journal import JOURNAL_NAME
from media.record.manifest import MANIFEST_NAME
from media.record.reader import RecordingView, TrackView, read_recording
from media.record.repair import repair_recording
from media.record.verify import ProblemCode
from tests.faults.numbered import NumberedPublisher
from tests.faults.recorded import check_all_decodes
from tests.faults.watched import recording_room
from tests.integration.participants import room_name
from tests.integration.serving import ROOMHAND

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pristine(livekit_server: Credentials, tmp_path_factory: pytest.TempPathFactory) -> RecordingView:
    """Eight seconds of two cameras and two microphones in segments of a second."""
    folder = tmp_path_factory.mktemp("pristine")

    async def record() -> None:
        room = room_name()
        async with (
            NumberedPublisher(livekit_server, room, codec=Codec.VP8, identity="vp8"),
            NumberedPublisher(livekit_server, room, codec=Codec.H264, identity="h264"),
            recording_room(livekit_server, room, folder, segment_duration_s=1.0) as recorder,
        ):
            await recorder.more_video(400)

    asyncio.run(record())
    view = read_recording(folder / "one")
    assert view.state is RecordingState.COMPLETE
    assert len(view.tracks) == 4
    assert all(len(track.segments) >= 3 for track in view.tracks)
    return view


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left of it after a repair: samples fewer than before, and what verify still has to say."""

    lost: int
    problems: set[ProblemCode]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line as people use it."""
    return subprocess.run(
        [*ROOMHAND, *map(str, arguments), "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def repaired(path: Path, before: RecordingView) -> Outcome:
    """Repair by the command, then verify by the command; a second repair has nothing left to do."""
    done = run("recordings", "repair", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["actions"], done.stdout
    assert repair_recording(path).actions == ()
    verified: dict[str, Any] = json.loads(run("recordings", "verify", path).stdout)
    left = sum(track.samples for track in before.tracks) - int(verified["samples"])
    return Outcome(left, {ProblemCode(problem["code"]) for problem in verified["problems"]})


def copy_of(before: RecordingView, folder: Path) -> Path:
    return Path(shutil.copytree(before.path, folder / "one"))


def track_of(view: RecordingView, codec: Codec) -> TrackView:
    return next(track for track in view.tracks if track.descriptor.codec is codec)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))


def tear_journal(path: Path) -> None:
    journal = path / JOURNAL_NAME
    journal.write_bytes(journal.read_bytes()[:-20])


def flip_journal(path: Path) -> None:
    journal = path / JOURNAL_NAME
    for part in range(1, 8):
        flip(journal, journal.stat().st_size * part // 8)


def delete_journal(path: Path) -> None:
    (path / JOURNAL_NAME).unlink()


def delete_manifest(path: Path) -> None:
    (path / MANIFEST_NAME).unlink()


def delete_both(path: Path) -> None:
    delete_journal(path)
    delete_manifest(path)


def empty_both(path: Path) -> None:
    for name in (JOURNAL_NAME, MANIFEST_NAME):
        (path / name).write_bytes(b"")


def delete_inits(path: Path) -> None:
    for file in path.glob("tracks/*/init-*"):
        file.unlink()


def damage_inits(path: Path) -> None:
    for file in path.glob("tracks/*/init-*"):
        flip(file, file.stat().st_size // 2)


def delete_inits_and_journal(path: Path) -> None:
    delete_inits(path)
    delete_journal(path)


@pytest.mark.parametrize(
    "damage",
    [
        tear_journal,
        flip_journal,
        delete_journal,
        delete_manifest,
        delete_both,
        empty_both,
        delete_inits,
        damage_inits,
        delete_inits_and_journal,
    ],
)
def test_nothing_is_lost_where_the_segments_are_there(
    pristine: RecordingView, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = copy_of(pristine, tmp_path)
    damage(path)
    assert repaired(path, pristine) == Outcome(0, set())
    after = read_recording(path)
    check_all_decodes(after)
    for old, new in zip(pristine.tracks, after.tracks, strict=True):
        assert [(s.id, s.sha256, s.decode_time) for s in new.segments] == [
            (s.id, s.sha256, s.decode_time) for s in old.segments
        ]
        assert {(i.path, i.codec_string, i.width, i.height) for i in new.inits} == {
            (i.path, i.codec_string, i.width, i.height) for i in old.inits
        }


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264, Codec.OPUS])
def test_what_is_whole_of_a_cut_segment_is_kept_and_the_rest_is_told(
    pristine: RecordingView, tmp_path: Path, codec: Codec
) -> None:
    path = copy_of(pristine, tmp_path)
    segment = track_of(pristine, codec).segments[1]
    file = path / segment.path
    file.write_bytes(file.read_bytes()[: segment.size_bytes * 3 // 4])
    outcome = repaired(path, pristine)
    assert 0 < outcome.lost < segment.samples
    assert outcome.problems == set()
    after = read_recording(path)
    check_all_decodes(after)
    (gap,) = new_gaps(pristine, after, codec)
    kept = next(s for s in track_of(after, codec).segments if s.sequence == segment.sequence)
    assert (gap.decode_time, gap.duration) == (kept.end_decode_time, segment.end_decode_time - kept.end_decode_time)
    assert list(file.parent.glob(f"{file.name}.damaged-*"))


@pytest.mark.parametrize("with_journal", [True, False])
def test_an_empty_segment_is_set_aside_and_told(pristine: RecordingView, tmp_path: Path, with_journal: bool) -> None:
    path = copy_of(pristine, tmp_path)
    segment = track_of(pristine, Codec.H264).segments[1]
    (path / segment.path).write_bytes(b"")
    if not with_journal:
        delete_both(path)
    outcome = repaired(path, pristine)
    assert outcome == Outcome(segment.samples, {ProblemCode.SEGMENT_NUMBER_MISSING})
    after = read_recording(path)
    (gap,) = new_gaps(pristine, after, Codec.H264)
    assert (gap.decode_time, gap.duration) == (segment.decode_time, segment.duration)
    check_all_decodes(after)


def test_a_flipped_byte_in_a_picture_is_told_but_not_blessed(pristine: RecordingView, tmp_path: Path) -> None:
    path = copy_of(pristine, tmp_path)
    segment = track_of(pristine, Codec.VP8).segments[1]
    flip(path / segment.path, segment.size_bytes - 20)
    verified = json.loads(run("recordings", "verify", path).stdout)
    assert [(item["code"], item["path"]) for item in verified["problems"]] == [("hash_differs", segment.path)]
    repair = run("recordings", "repair", path)
    assert (repair.returncode, json.loads(repair.stdout)["actions"]) == (0, [])
    again = json.loads(run("recordings", "verify", path).stdout)
    assert again == verified


@pytest.mark.parametrize("damage", [delete_both, delete_inits])
def test_a_repaired_recording_exports(
    pristine: RecordingView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    path = copy_of(pristine, tmp_path)
    damage(path)
    assert repaired(path, pristine) == Outcome(0, set())
    monkeypatch.setenv("ROOMHAND_STATE_DIR", str(tmp_path / "state"))
    done = run("export", path, "--format", "mp4", "--out", tmp_path / "out", "--wait")
    assert done.returncode == 0, done.stderr[-2000:]
    assert any(file.stat().st_size > 10_000 for file in (tmp_path / "out").rglob("*.mp4"))


def new_gaps(before: RecordingView, after: RecordingView, codec: Codec) -> list[Any]:
    """Gaps of the first track of that codec that repair has told of."""
    known = set(track_of(before, codec).gaps)
    return [gap for gap in track_of(after, codec).gaps if gap not in known]

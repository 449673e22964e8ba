"""Retention on real folders: what goes, what stays, and what a process that dies in the middle leaves."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from media.frames import Codec
from media.record.handoff_cursor import HandoffCursor, write_cursor
from media.record.journal import JOURNAL_NAME
from media.record.prune import TRASH_NAME, InUse, prune_recordings
from media.record.reader import list_recordings, read_recording
from media.record.recorder import Recording
from media.record.retention import Hold, RetentionLimits
from tests.media.record.encoded_media import descriptor, opus

EVERYTHING = RetentionLimits(max_age_s=0.0)
LATER = 1_000_000.0


def record(root: Path, name: str, *, started_at: float = 1_000.0) -> Recording:
    """A recording of a second of sound that goes on."""
    recording = Recording.create(root, name, "room", started_at=started_at)
    track = recording.open_track(descriptor(Codec.OPUS), started_at)
    for packet in opus(packets=50, start=started_at):
        track.write(packet)
    return recording


def recorded(root: Path, name: str, *, started_at: float = 1_000.0) -> Path:
    """The same, closed."""
    recording = record(root, name, started_at=started_at)
    recording.close(started_at + 2)
    return recording.path


def names(root: Path) -> list[str]:
    return [item.recording_id for item in list_recordings(root)]


@pytest.fixture
def going_on(tmp_path: Path) -> Iterator[Recording]:
    recording = record(tmp_path, "going-on")
    yield recording
    recording.close(1_010.0)


def test_the_oldest_go_until_the_rest_fits(tmp_path: Path) -> None:
    for index, name in enumerate("abc"):
        recorded(tmp_path, name, started_at=1_000.0 + 100 * index)
    size_bytes = list_recordings(tmp_path)[0].size_bytes
    limits = RetentionLimits(max_bytes=2 * size_bytes)
    planned = prune_recordings(tmp_path, limits, InUse, LATER, dry_run=True)
    assert names(tmp_path) == ["a", "b", "c"]
    pruned = prune_recordings(tmp_path, limits, InUse, LATER)
    assert planned.deleted == pruned.deleted
    assert [item.recording_id for item in pruned.deleted] == ["a"]
    assert names(tmp_path) == ["b", "c"]
    assert list((tmp_path / TRASH_NAME).iterdir()) == []
    by_age = RetentionLimits(max_age_s=LATER - 1_150.0)
    assert [item.recording_id for item in prune_recordings(tmp_path, by_age, InUse, LATER).deleted] == ["b"]


def test_what_is_in_use_stays(tmp_path: Path, going_on: Recording) -> None:
    for name in ("wanted", "exported", "damaged", "waiting", "taken"):
        recorded(tmp_path, name)
    (tmp_path / "damaged" / JOURNAL_NAME).unlink()
    write_cursor(tmp_path / "waiting", HandoffCursor())
    write_cursor(tmp_path / "taken", HandoffCursor({1: [[1, 1]]}))
    uses = InUse(recorded={"wanted"}, exported={"exported"})
    pruned = prune_recordings(tmp_path, EVERYTHING, lambda: uses, LATER)
    assert [item.recording_id for item in pruned.deleted] == ["taken"]
    assert {item.recording_id: item.hold for item in pruned.held} == {
        "going-on": Hold.RECORDED,
        "wanted": Hold.RECORDED,
        "exported": Hold.EXPORTED,
        "damaged": Hold.DAMAGED,
        "waiting": Hold.NOT_HANDED_OFF,
    }


def test_one_that_comes_into_use_meanwhile_is_put_back(tmp_path: Path) -> None:
    path = recorded(tmp_path, "one")
    answers = iter([InUse(), InUse(exported={"one"})])
    pruned = prune_recordings(tmp_path, EVERYTHING, lambda: next(answers), LATER)
    assert (pruned.deleted, pruned.failed) == ((), ())
    assert read_recording(path).tracks[0].samples == 50


@pytest.mark.parametrize("step", ["remove", "half"])
def test_a_death_in_the_middle_leaves_nothing_half(tmp_path: Path, step: str) -> None:
    recorded(tmp_path, "one")
    recorded(tmp_path, "two")
    program = subprocess.run(
        [sys.executable, "-m", "tests.media.record.prune_and_die", str(tmp_path), step],
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert program.returncode == -9
    assert names(tmp_path) == ["two"]
    assert len(list((tmp_path / TRASH_NAME).iterdir())) == 1
    pruned = prune_recordings(tmp_path, RetentionLimits(max_age_s=LATER), InUse, LATER)
    assert (pruned.deleted, names(tmp_path)) == ((), ["two"])
    assert list((tmp_path / TRASH_NAME).iterdir()) == []


def test_what_cannot_be_deleted_is_told_and_goes_once_it_can(tmp_path: Path) -> None:
    recorded(tmp_path, "one")
    trash = tmp_path / TRASH_NAME
    trash.write_text("a file where the folder should be")
    pruned = prune_recordings(tmp_path, EVERYTHING, InUse, LATER)
    assert ([item.recording_id for item in pruned.failed], names(tmp_path)) == (["one"], ["one"])
    trash.unlink()
    assert [item.recording_id for item in prune_recordings(tmp_path, EVERYTHING, InUse, LATER).deleted] == ["one"]

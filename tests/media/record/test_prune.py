"""Retention on real folders: what goes, what stays, and what a process that dies in the middle leaves."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from media.errors import RecordingBusy, RecordingNotFound, StorageError
from media.frames import Codec
from media.record.handoff_cursor import HandoffCursor, write_cursor
from media.record.journal import JOURNAL_NAME
from media.record.prune import InUse, delete_recording, prune_recordings, recover_set_aside
from media.record.reader import list_recordings, read_recording
from media.record.recorder import Recording
from media.record.retention import (
    HANDOFF_HOLD_S,
    Deletion,
    Hold,
    RetentionCandidate,
    RetentionLimits,
    RetentionReason,
    decide_deletions,
)
from media.record.storage import write_durably
from media.record.trash import SET_ASIDE_NAME, TRASH_NAME, only_pruner
from media.record.verify import verify_recording
from tests.media.record.encoded_media import descriptor, opus
from tests.media.record.test_muxed_files import record as muxed_recording
from tests.media.record.test_muxed_files import track
from tests.media.record.waited_lock import while_waiting

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


def on_the_way_out(root: Path) -> list[str]:
    folders = (root / SET_ASIDE_NAME, root / TRASH_NAME)
    return [path.name for folder in folders if folder.exists() for path in folder.iterdir()]


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


def test_files_with_tracks_together_count_as_well(tmp_path: Path) -> None:
    view = read_recording(muxed_recording(tmp_path, [track(opus(packets=50), "microphone")]).path)
    (summary,) = list_recordings(tmp_path)
    assert summary.size_bytes == sum(view.file_of(segment).stat().st_size for segment in view.tracks[0].segments)
    assert summary.muxed_bytes == sum(view.file_of(file).stat().st_size for file in view.muxed) > 0
    both = summary.size_bytes + summary.muxed_bytes
    assert prune_recordings(tmp_path, RetentionLimits(max_bytes=both), InUse, LATER).deleted == ()
    (deletion,) = prune_recordings(tmp_path, RetentionLimits(max_bytes=both - 1), InUse, LATER).deleted
    assert deletion.size_bytes == both


def test_what_is_in_use_stays(tmp_path: Path, going_on: Recording) -> None:
    for name in ("wanted", "exported", "damaged", "waiting", "taken"):
        recorded(tmp_path, name)
    (tmp_path / "damaged" / JOURNAL_NAME).unlink()
    write_cursor(tmp_path / "waiting", HandoffCursor())
    write_cursor(tmp_path / "taken", HandoffCursor({1: [[1, 1]]}))
    uses = InUse(recorded={"wanted"}, exported={"exported"})
    pruned = prune_recordings(tmp_path, EVERYTHING, lambda: uses, 1_002.0 + HANDOFF_HOLD_S)
    assert [item.recording_id for item in pruned.deleted] == ["taken"]
    assert {item.recording_id: item.hold for item in pruned.held} == {
        "going-on": Hold.RECORDED,
        "wanted": Hold.RECORDED,
        "exported": Hold.EXPORTED,
        "damaged": Hold.DAMAGED,
        "waiting": Hold.NOT_HANDED_OFF,
    }


def test_segments_that_nobody_took_hold_a_recording_for_a_day_after_its_end(tmp_path: Path) -> None:
    write_cursor(recorded(tmp_path, "waiting"), HandoffCursor())
    held = prune_recordings(tmp_path, EVERYTHING, InUse, 1_002.0 + HANDOFF_HOLD_S).held
    assert [item.hold for item in held] == [Hold.NOT_HANDED_OFF]
    pruned = prune_recordings(tmp_path, EVERYTHING, InUse, 1_002.1 + HANDOFF_HOLD_S)
    assert ([item.recording_id for item in pruned.deleted], pruned.held) == (["waiting"], ())


def test_one_that_comes_into_use_meanwhile_is_put_back(tmp_path: Path) -> None:
    path = recorded(tmp_path, "one")
    answers = iter([InUse(), InUse(exported={"one"})])
    pruned = prune_recordings(tmp_path, EVERYTHING, lambda: next(answers), LATER)
    assert (pruned.deleted, pruned.failed) == ((), ())
    assert read_recording(path).tracks[0].samples == 50


@pytest.mark.parametrize("error", [StorageError("the export database is busy"), RuntimeError("a bug")])
def test_one_whose_use_cannot_be_asked_about_is_put_back(tmp_path: Path, error: Exception) -> None:
    path = recorded(tmp_path, "one")
    answers: Iterator[InUse | Exception] = iter([InUse(), error])

    def in_use() -> InUse:
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    if isinstance(error, StorageError):
        pruned = prune_recordings(tmp_path, EVERYTHING, in_use, LATER)
        assert [item.recording_id for item in pruned.failed] == ["one"]
    else:
        with pytest.raises(RuntimeError):
            prune_recordings(tmp_path, EVERYTHING, in_use, LATER)
    assert read_recording(path).tracks[0].samples == 50
    assert on_the_way_out(tmp_path) == []


@pytest.mark.parametrize("used", ["", "one"])
def test_a_death_between_any_two_steps_neither_loses_nor_strands(tmp_path: Path, used: str) -> None:
    recorded(tmp_path / "template", "one")
    subprocess.run(
        [sys.executable, "-m", "tests.media.record.prune_and_die", tmp_path / "template", tmp_path / "copies", used],
        cwd=Path(__file__).parents[3],
        check=True,
    )
    deaths = sorted((tmp_path / "copies").iterdir())
    outcomes = set()
    for root in deaths:
        prune_recordings(root, EVERYTHING, lambda: InUse(exported={"one"}), LATER)
        outcomes.add(tuple(names(root)))
        if names(root):
            assert verify_recording(root / "one").problems == ()
        assert on_the_way_out(root) == []
        prune_recordings(root, EVERYTHING, InUse, LATER)
        assert (names(root), on_the_way_out(root)) == ([], [])
    assert len(deaths) > 6
    assert outcomes == ({("one",)} if used else {("one",), ()})


def test_who_waited_to_go_on_with_one_that_was_deleted_finds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, trash = recorded(tmp_path, "one"), tmp_path / "trash"
    while_waiting(monkeypatch, path, lambda: shutil.move(path, trash))
    with pytest.raises(RecordingNotFound):
        Recording.resume(path, 1_010.0)
    assert not path.exists()


def test_one_that_was_repaired_and_gone_on_with_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(tmp_path, "one")
    resumed: list[Recording] = []

    def repaired_and_resumed() -> None:
        write_durably(path / JOURNAL_NAME, (path / JOURNAL_NAME).read_bytes())
        resumed.append(Recording.resume(path, 1_010.0))

    def decided(found: list[RetentionCandidate], limits: RetentionLimits, now: float) -> tuple[Deletion, ...]:
        while_waiting(monkeypatch, path, repaired_and_resumed)
        return decide_deletions(found, limits, now)

    monkeypatch.setattr("media.record.prune.decide_deletions", decided)
    assert prune_recordings(tmp_path, EVERYTHING, InUse, LATER).deleted == ()
    resumed[0].close(1_011.0)
    assert verify_recording(path).problems == ()


def test_a_service_puts_back_what_was_set_aside_before_rooms_go_on(tmp_path: Path) -> None:
    path = recorded(tmp_path, "one")
    (tmp_path / SET_ASIDE_NAME).mkdir()
    path.rename(tmp_path / SET_ASIDE_NAME / "one")
    assert recover_set_aside(tmp_path) == 1
    assert names(tmp_path) == ["one"]
    assert recover_set_aside(tmp_path) == 0


def test_one_whose_place_was_taken_is_put_beside_it(tmp_path: Path) -> None:
    path = recorded(tmp_path, "one")
    (tmp_path / SET_ASIDE_NAME).mkdir()
    path.rename(tmp_path / SET_ASIDE_NAME / "one")
    recorded(tmp_path, "one", started_at=2_000.0)
    prune_recordings(tmp_path, RetentionLimits(max_age_s=LATER), InUse, LATER)
    assert read_recording(path).started_at == 2_000.0
    assert read_recording(tmp_path / "one.2").started_at == 1_000.0
    prune_recordings(tmp_path, EVERYTHING, InUse, LATER)
    assert (names(tmp_path), on_the_way_out(tmp_path)) == ([], [])


def test_only_one_prunes_a_folder_at_a_time(tmp_path: Path) -> None:
    recorded(tmp_path, "one")
    with only_pruner(tmp_path), pytest.raises(RecordingBusy, match="another process"):
        prune_recordings(tmp_path, EVERYTHING, InUse, LATER)
    assert names(tmp_path) == ["one"]
    assert len(prune_recordings(tmp_path, EVERYTHING, InUse, LATER).deleted) == 1


def test_what_cannot_be_deleted_is_told_and_goes_once_it_can(tmp_path: Path) -> None:
    recorded(tmp_path, "one")
    trash = tmp_path / TRASH_NAME
    trash.write_text("a file where the folder should be")
    pruned = prune_recordings(tmp_path, EVERYTHING, InUse, LATER)
    assert ([item.recording_id for item in pruned.failed], names(tmp_path)) == (["one"], ["one"])
    trash.unlink()
    assert [item.recording_id for item in prune_recordings(tmp_path, EVERYTHING, InUse, LATER).deleted] == ["one"]


def test_a_folder_that_cannot_be_looked_into_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path, "one")
    for name in ("lost+found", "closed"):
        (tmp_path / name).mkdir()
    really = Path.exists

    def refused(path: Path) -> bool:
        if path.parent.name in {"lost+found", "closed"}:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path)

    monkeypatch.setattr(Path, "exists", refused)
    found = {summary.path.name: summary.problem for summary in list_recordings(tmp_path)}
    assert found.keys() == {"one", "closed"}
    assert found["one"] == ""
    assert "Permission denied" in found["closed"]


def test_one_recording_is_deleted_whole_or_damaged(tmp_path: Path) -> None:
    for name in ("one", "torn", "bare", "kept"):
        recorded(tmp_path, name)
    write_cursor(tmp_path / "one", HandoffCursor())  # its segments were not handed off: somebody asked all the same
    (tmp_path / "torn" / JOURNAL_NAME).write_bytes(b"nonsense\n")
    (tmp_path / "bare" / JOURNAL_NAME).unlink()
    (summary,) = (item for item in list_recordings(tmp_path) if item.recording_id == "one")
    deletion = delete_recording(tmp_path, "one", InUse, 1_102.0)
    assert deletion == Deletion("one", RetentionReason.REQUESTED, deletion.age_s, summary.size_bytes, "room")
    assert deletion.age_s == pytest.approx(100.0)
    for name in ("torn", "bare"):
        delete_recording(tmp_path, name, InUse, LATER)
    assert names(tmp_path) == ["kept"]
    assert on_the_way_out(tmp_path) == []


def test_what_is_in_use_is_refused_and_stays_whole(tmp_path: Path, going_on: Recording) -> None:
    for name in ("wanted", "exported", "late"):
        recorded(tmp_path, name)
    uses = InUse(recorded={"wanted"}, exported={"exported"})
    for name, reason in (("wanted", "stop the recording"), ("exported", "export still reads"), ("going-on", "written")):
        with pytest.raises(RecordingBusy, match=reason):
            delete_recording(tmp_path, name, lambda: uses, LATER)
    asked = iter([InUse(), InUse(exported={"late"}), InUse(exported={"late"})])
    with pytest.raises(RecordingBusy, match="export still reads"):  # it came while the recording was set aside
        delete_recording(tmp_path, "late", lambda: next(asked), LATER)
    with only_pruner(tmp_path), pytest.raises(RecordingBusy, match="another process"):
        delete_recording(tmp_path, "late", InUse, LATER)
    for name in ("none", "..", ".set-aside", "a/b", ""):
        with pytest.raises(RecordingNotFound):
            delete_recording(tmp_path, name, InUse, LATER)
    assert set(names(tmp_path)) == {"wanted", "exported", "late", "going-on"}
    assert verify_recording(tmp_path / "late").problems == ()
    assert on_the_way_out(tmp_path) == []

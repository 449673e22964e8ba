"""Killed while a recording is created, and right after media came back."""

import shutil
import time
from pathlib import Path

import pytest

from media.errors import RecordingBusy, StorageError
from media.frames import Codec, EncodedFrame
from media.record.entries import GapReason, RecordingState
from media.record.journal import JOURNAL_NAME, Journal
from media.record.manifest import MANIFEST_NAME
from media.record.reader import read_recording
from media.record.recorder import Recording
from media.record.verify import verify_recording
from tests.media.record.encoded_media import descriptor
from tests.media.record.failing_fsync import FailingFsync

START = 1_000.0


def settle(recording: Recording) -> None:
    """Until the writer has worked off all ticks."""
    while recording._writer.ticks_handled < recording._ticks_put:
        time.sleep(0.002)


def test_who_comes_second_to_a_new_recording_takes_nothing_from_who_was_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[Recording] = []

    def overtaken(path: Path) -> Journal:
        monkeypatch.undo()
        first.append(Recording.create(tmp_path, "one", "room", started_at=START))
        return Journal(path)

    # Two processes: one makes the folder, the other is faster with the journal in it.
    monkeypatch.setattr("media.record.recorder.Journal", overtaken)
    with pytest.raises(RecordingBusy):
        Recording.create(tmp_path, "one", "room", started_at=START)
    assert first[0].close(START + 1) is RecordingState.COMPLETE
    assert verify_recording(tmp_path / "one").problems == ()


def test_a_folder_that_its_maker_takes_back_meanwhile_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_back(path: Path) -> Journal:
        monkeypatch.undo()
        path.rmdir()
        return Journal(path)

    monkeypatch.setattr("media.record.recorder.Journal", taken_back)
    with pytest.raises(RecordingBusy, match="try again"):
        Recording.create(tmp_path, "one", "room", started_at=START)
    Recording.create(tmp_path, "one", "room", started_at=START).close(START + 1)


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize("refused", ["one", JOURNAL_NAME, f"{MANIFEST_NAME}.part"])
def test_a_creation_that_the_disk_refuses_leaves_nothing_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, *, there_before: bool
) -> None:
    folder = tmp_path / "one"
    if there_before:
        folder.mkdir()
    disk = FailingFsync(monkeypatch)
    disk.fails = lambda path: path.name == refused
    with pytest.raises(StorageError):
        Recording.create(tmp_path, "one", "room", started_at=START)
    disk.fails = lambda _: False
    disk.close()
    assert folder.exists() is there_before
    assert list(tmp_path.rglob("one/*")) == []
    Recording.create(tmp_path, "one", "room", started_at=START).close(START + 1)
    assert verify_recording(folder).problems == ()


@pytest.mark.parametrize("left", ["nothing", "an empty journal", "a torn line"])
def test_a_folder_whose_recording_was_killed_before_it_began_is_begun_in(tmp_path: Path, left: str) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    if left != "nothing":
        (folder / JOURNAL_NAME).write_bytes(b"" if left == "an empty journal" else b'{"type": "recor')
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    with pytest.raises(RecordingBusy):
        Recording.create(tmp_path, "one", "room", started_at=START)
    assert folder.exists(), "it belongs to the first"
    recording.close(START + 1)
    assert verify_recording(folder).problems == ()


def test_a_gap_is_durable_before_what_comes_after_it(tmp_path: Path) -> None:
    """A kill right after a mute leaves no hole without a reason."""
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    muted, other = (recording.open_track(descriptor(Codec.OPUS, sid), START) for sid in ("TR_one", "TR_two"))
    for at in range(1025):
        arrival = START + 0.02 * at
        frame = EncodedFrame(Codec.OPUS, b"\xf8" + bytes(50), at * 960, arrival, sync_sample=True)
        other.write(frame)
        if at < 100 or at >= 950:
            muted.write(frame)
        elif at in {100, 949}:
            muted.note_interruption(GapReason.MUTED if at == 100 else None)
        if at % 50 == 0:
            recording.tick(arrival)
            settle(recording)
    killed = tmp_path / "killed"
    shutil.copytree(recording.path, killed)
    recording.close(START + 21)
    Recording.resume(killed, START + 30).close(START + 31)
    assert verify_recording(killed).problems == ()
    gaps = next(track.gaps for track in read_recording(killed).tracks if track.descriptor.track_sid == "TR_one")
    assert [gap.reason for gap in gaps] == [GapReason.MUTED]

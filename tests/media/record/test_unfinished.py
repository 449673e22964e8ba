"""What a dead writer left open is finished without anybody going on with the recording."""

from pathlib import Path

import pytest

from media.errors import RecordingBusy, RecordingDamaged
from media.frames import Codec
from media.record.entries import RecordingState
from media.record.journal import JOURNAL_NAME, Journal
from media.record.reader import list_recordings, read_recording
from media.record.recorder import Recording
from media.record.unfinished import finish_unfinished, is_left_open
from media.record.verify import verify_recording
from tests.media.export.recordings import STARTED_AT, camera_and_microphone, killed_recording, write_recording


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A recording whose writer was killed with its first segments open."""
    return killed_recording(tmp_path / "killed", camera_and_microphone(Codec.H264, 2.6), segment_s=6.0)


def test_open_segments_are_finished_once_and_the_recording_stays_interrupted(killed: Path) -> None:
    assert read_recording(killed).duration_s == 0.0
    assert finish_unfinished(killed) == 2
    view = read_recording(killed)
    assert view.state is RecordingState.INTERRUPTED
    assert 2.0 <= view.duration_s <= 2.6
    assert verify_recording(killed).problems == ()
    (listed,) = list_recordings(killed.parent)
    assert listed.state is RecordingState.INTERRUPTED
    assert listed.duration_s == pytest.approx(view.duration_s)
    journal = (killed / JOURNAL_NAME).read_bytes()
    assert finish_unfinished(killed) == 0
    assert (killed / JOURNAL_NAME).read_bytes() == journal


def test_a_muxed_file_is_finished_too(tmp_path: Path) -> None:
    path = killed_recording(tmp_path / "killed", camera_and_microphone(Codec.H264, 2.6), segment_s=0.5, mux=True)
    assert read_recording(path).muxed == ()
    assert is_left_open(path)
    finish_unfinished(path)
    assert not is_left_open(path)
    view = read_recording(path)
    assert view.state is RecordingState.INTERRUPTED
    (entry,) = view.muxed
    assert (entry.participant_identity, entry.recovered) == ("alice", True)
    assert 1.5 <= entry.duration_s <= 2.6
    assert verify_recording(path).problems == ()
    journal = (path / JOURNAL_NAME).read_bytes()
    assert finish_unfinished(path) == 0
    assert (path / JOURNAL_NAME).read_bytes() == journal
    Recording.resume(path, STARTED_AT + 10).close(STARTED_AT + 11)
    assert read_recording(path).muxed == (entry,)


def test_it_can_be_gone_on_with_afterwards(killed: Path) -> None:
    finish_unfinished(killed)
    Recording.resume(killed, STARTED_AT + 10).close(STARTED_AT + 11)
    assert read_recording(killed).state is RecordingState.COMPLETE
    assert verify_recording(killed).problems == ()


def test_while_somebody_writes_nothing_is_touched(killed: Path) -> None:
    journal = Journal(killed)
    with pytest.raises(RecordingBusy):
        finish_unfinished(killed)
    journal.close()
    assert list(killed.rglob("*.part"))


def test_what_the_journal_lists_stays_listed_though_its_file_is_gone(tmp_path: Path) -> None:
    path = killed_recording(tmp_path / "killed", camera_and_microphone(Codec.H264, 3.6), segment_s=2.0)
    lost = read_recording(path).tracks[0].segments[0]
    (path / lost.path).unlink()
    assert finish_unfinished(path) == 2
    assert lost in read_recording(path).tracks[0].segments


def test_media_of_a_track_that_the_journal_lacks_are_told(killed: Path) -> None:
    journal = killed / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"track_opened"' not in line))
    with pytest.raises(RecordingDamaged, match="repair"):
        finish_unfinished(killed)


def test_a_recording_with_nothing_open_is_not_written_to(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "closed", camera_and_microphone(Codec.H264, 1.2))
    journal = Journal(path)
    assert finish_unfinished(path) == 0
    journal.close()

"""The queue without a worker: it takes, tells, and forgets nothing."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from media.errors import DiskReadOnly, ExportNotFound, RecordingDamaged, RecordingNotFound, StorageError
from media.export.catalogue import RecordedFile, verify_recorded_file
from media.export.job import ExportFormat, ExportRequest, ExportState
from media.export.lock import WorkerLock
from media.export.queue import ExportQueue
from media.export.store import ExportStore
from media.frames import Codec
from media.record.reader import read_recording
from tests.media.export.recordings import camera_and_microphone, write_recording


@pytest.fixture
def queue(tmp_path: Path) -> "ExportQueue":
    """A queue in a folder that is not there yet."""
    return ExportQueue(tmp_path / "state" / "exports.db")


@pytest.fixture
def request_(tmp_path: Path) -> ExportRequest:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.0))
    return ExportRequest(recording, ExportFormat.MP4, tmp_path / "out")


def test_submitting_returns_at_once_and_survives_the_process(
    queue: ExportQueue, request_: ExportRequest, tmp_path: Path
) -> None:
    export_id = queue.submit(request_)
    room = read_recording(request_.recording_path).room
    assert room
    assert queue.status(export_id).state is ExportState.QUEUED
    queue.close()
    again = ExportQueue(tmp_path / "state" / "exports.db")
    status = again.status(export_id)
    assert (status.state, status.request, status.progress) == (ExportState.QUEUED, replace(request_, room=room), 0.0)
    assert [item.export_id for item in again.list()] == [export_id]
    again.close()


def test_every_submission_is_an_export_of_its_own(queue: ExportQueue, request_: ExportRequest) -> None:
    ids = {queue.submit(request_) for _ in range(3)}
    assert {status.export_id for status in queue.list()} == ids
    assert len(ids) == 3
    queue.close()


def test_a_recording_that_is_not_there_is_refused(queue: ExportQueue, tmp_path: Path) -> None:
    with pytest.raises(RecordingNotFound):
        queue.submit(ExportRequest(tmp_path / "nowhere", ExportFormat.MP4, tmp_path))
    assert queue.list() == ()
    queue.close()


def test_a_database_that_cannot_be_used_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "exports.db").mkdir()
    with pytest.raises(DiskReadOnly, match="make the file"):
        ExportQueue(tmp_path / "exports.db")


def test_a_file_that_is_no_database_is_a_storage_error(
    queue: ExportQueue, request_: ExportRequest, tmp_path: Path
) -> None:
    export_id = queue.submit(request_)
    queue.close()
    store = ExportStore(tmp_path / "state" / "exports.db")
    for file in (tmp_path / "state").iterdir():
        file.write_bytes(b"this is no database at all" * 1000)
    with pytest.raises(StorageError):
        store.get(export_id)


def test_an_unknown_id_is_told_as_such(queue: ExportQueue) -> None:
    with pytest.raises(ExportNotFound):
        queue.status("EX_nobody")
    with pytest.raises(ExportNotFound):
        queue.cancel("EX_nobody")
    queue.close()


def test_a_queued_export_can_be_cancelled_and_its_files_go(
    queue: ExportQueue, request_: ExportRequest, tmp_path: Path
) -> None:
    export_id = queue.submit(request_)
    leftover = tmp_path / "out" / f".roomhand-export-{export_id}"
    leftover.mkdir(parents=True)
    assert queue.cancel(export_id).state is ExportState.ABORTED
    assert not leftover.exists()
    assert queue.cancel(export_id).state is ExportState.ABORTED
    queue.close()


async def test_waiting_ends_with_the_export(queue: ExportQueue, request_: ExportRequest) -> None:
    export_id = queue.submit(request_)
    threading.Timer(0.1, queue.cancel, [export_id]).start()
    assert (await queue.wait(export_id)).state is ExportState.ABORTED
    queue.close()


def test_the_worker_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = WorkerLock(tmp_path / "db"), WorkerLock(tmp_path / "db")
    assert first.try_acquire()
    assert not second.try_acquire()
    assert second.is_held()
    first.release()
    assert not first.is_held()
    assert second.try_acquire()
    second.release()


class TestCatalogue:
    """Files are hashed once, and again when they changed."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ExportStore:
        return ExportStore(tmp_path / "exports.db")

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.0))

    @pytest.fixture
    def file(self, recording: Path) -> RecordedFile:
        entry = read_recording(recording).tracks[0].segments[0]
        return RecordedFile(entry.id, entry.path, entry.sha256, entry.size_bytes)

    def test_a_known_file_is_not_hashed_again(self, store: ExportStore, recording: Path, file: RecordedFile) -> None:
        assert verify_recorded_file(store, recording, file, None)
        known = store.catalogued(recording)[file.path]
        assert (known.segment_id, known.sha256, known.size_bytes) == (file.segment_id, file.sha256, file.size_bytes)
        assert known.verified_at == pytest.approx(time.time(), abs=60)
        assert not verify_recorded_file(store, recording, file, known)

    def test_a_touched_file_is(self, store: ExportStore, recording: Path, file: RecordedFile) -> None:
        verify_recorded_file(store, recording, file, None)
        path = recording / file.path
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(RecordingDamaged, match="sha256"):
            verify_recorded_file(store, recording, file, store.catalogued(recording)[file.path])
        assert store.catalogued(recording) == {}
        assert "sha256" in store.damaged(recording)[file.path]

    def test_a_short_or_missing_file_is_damage(self, store: ExportStore, recording: Path, file: RecordedFile) -> None:
        path = recording / file.path
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(RecordingDamaged, match="bytes"):
            verify_recorded_file(store, recording, file, None)
        path.unlink()
        with pytest.raises(RecordingDamaged, match="missing"):
            verify_recorded_file(store, recording, file, None)

    def test_a_repaired_file_is_no_damage_any_more(
        self, store: ExportStore, recording: Path, file: RecordedFile
    ) -> None:
        path = recording / file.path
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(RecordingDamaged):
            verify_recorded_file(store, recording, file, None)
        path.write_bytes(data)
        verify_recorded_file(store, recording, file, None)
        assert store.damaged(recording) == {}

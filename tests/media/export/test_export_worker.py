"""The worker: a process that may be killed at any moment, and loses nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media.export.engine import connect
from media.export.job import ExportFormat, ExportRequest, ExportState, ExportStatus, ExportStep
from media.export.lock import WorkerLock
from media.export.processes import ChildDied, ExportCancelled, StepFailed, run_child
from media.export.queue import ExportQueue
from media.export.store import ExportStore
from media.export.worker import ensure_worker
from media.export.workflow import work_dir
from media.frames import Codec, MediaKind
from media.record.entries import SegmentEntry
from media.record.journal import JOURNAL_NAME
from media.record.reader import read_recording
from tests.media.export.faulty_worker import FaultyWorker
from tests.media.export.playback import play
from tests.media.export.recordings import (
    STARTED_AT,
    Track,
    camera_and_microphone,
    encode_audio,
    encode_video,
    interrupt,
    killed_recording,
    start_recording,
    write_recording,
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "exports.db"


@pytest.fixture
def queue(database: Path) -> Iterator[ExportQueue]:
    queue = ExportQueue(database)
    yield queue
    queue.close()


@pytest.fixture
def start(database: Path) -> Iterator[Callable[[str], FaultyWorker]]:
    """Starts workers, and leaves none behind."""
    workers: list[FaultyWorker] = []

    def starter(point: str = "") -> FaultyWorker:
        workers.append(FaultyWorker(database, point))
        return workers[-1]

    yield starter
    for worker in workers:
        worker.process.kill()
        worker.process.join()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def wait(queue: ExportQueue, export_id: str) -> ExportStatus:
    eventually(lambda: queue.status(export_id).state.final)
    return queue.status(export_id)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_kill_9_at_every_step_and_the_export_ends_right(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.VP8, 2.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    points = [
        "await_recording:before",
        "check_segments:after",
        "process:before",
        "process:after",
        "verify:before",
        "verify:after",
        "deliver:before",
        "deliver:after",
        "result:before",
    ]
    for attempt, point in enumerate(points, start=1):
        worker = start(point)
        worker.wait_until_stopped()
        status = queue.status(export_id)
        assert (status.state, status.attempt) == (ExportState.ACTIVE, attempt)
        worker.kill()
    start("")
    status = wait(queue, export_id)
    assert (status.state, status.error) == (ExportState.COMPLETE, None)
    assert status.attempt == len(points) + 1
    assert status.result is not None
    (output,) = status.result.outputs
    assert files_below(tmp_path / "out") == {"recording-alice.mp4"}
    assert output.entry == str(tmp_path / "out" / "recording-alice.mp4")
    assert all(check.ok for check in output.checks)
    assert play(Path(output.entry)).frames == output.tracks[0].samples == 50


@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "and the next worker as it queued it again"])
def test_what_an_older_worker_did_is_done_again(
    tmp_path: Path, database: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker], stopped: bool
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.VP8, 1.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    older = FaultyWorker(database, "verify:before", older=True)
    older.wait_until_stopped()
    older.kill()
    if stopped:
        client = connect(database)
        client.cancel_workflow(export_id)
        client.destroy()
    start("")
    status = wait(queue, export_id)
    assert (status.state, status.error) == (ExportState.COMPLETE, None)
    assert status.result is not None
    (output,) = status.result.outputs
    assert play(Path(output.entry)).frames == output.tracks[0].samples


def test_one_that_was_stopped_with_all_it_needs_goes_on(
    tmp_path: Path, database: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.VP8, 1.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    client = connect(database)
    client.cancel_workflow(export_id)
    client.destroy()
    start("")
    assert wait(queue, export_id).state is ExportState.COMPLETE


def test_kill_9_halfway_through_delivery_of_many_files(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 2.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.HLS, tmp_path / "out"))
    worker = start("deliver:before")
    worker.wait_until_stopped()
    worker.kill()
    # What delivery does first: one file is at its place, its source is not yet gone.
    folder = work_dir(queue.status(export_id)) / "0" / "recording-alice"
    (tmp_path / "out" / "recording-alice").mkdir()
    os.link(folder / "video-000001.m4s", tmp_path / "out" / "recording-alice" / "video-000001.m4s")
    start("")
    status = wait(queue, export_id)
    assert status.state is ExportState.COMPLETE
    assert status.result is not None
    (output,) = status.result.outputs
    assert files_below(tmp_path / "out") == {
        str(Path(file.path).relative_to(tmp_path / "out")) for file in output.files
    }
    assert play(Path(output.entry)).frames == 50


def test_leftovers_of_a_dead_attempt_are_not_taken_for_results(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.HLS, tmp_path / "out"))
    worker = start("process:before")
    worker.wait_until_stopped()
    worker.kill()
    leftover = work_dir(queue.status(export_id)) / "0" / "recording-alice"
    leftover.mkdir(parents=True)
    (leftover / "video-000009.m4s").write_bytes(b"half a segm")
    start("")
    assert wait(queue, export_id).state is ExportState.COMPLETE
    assert not any("000009" in name for name in files_below(tmp_path / "out"))


def test_a_running_export_can_be_cancelled(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.VP8, 2.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    worker = start("process:after")
    worker.wait_until_stopped()
    assert work_dir(queue.status(export_id)).exists()
    assert queue.cancel(export_id).state is ExportState.ABORTED
    worker.go_on()
    worker.join()
    assert queue.status(export_id).state is ExportState.ABORTED
    assert files_below(tmp_path / "out") == set()
    assert not work_dir(queue.status(export_id)).exists()


def test_everybody_gets_a_file(tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]) -> None:
    tracks = [
        *camera_and_microphone(Codec.H264, 1.2, "alice"),
        *camera_and_microphone(Codec.H264, 1.2, "bob"),
    ]
    recording = write_recording(tmp_path / "recording", tracks)
    everybody = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "all"))
    bob = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "bob", "bob"))
    stranger = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "none", "mallory"))
    start("")
    assert wait(queue, everybody).state is ExportState.COMPLETE
    assert files_below(tmp_path / "all") == {"recording-alice.mp4", "recording-bob.mp4"}
    assert wait(queue, bob).state is ExportState.COMPLETE
    assert files_below(tmp_path / "bob") == {"recording-bob.mp4"}
    failed = wait(queue, stranger)
    assert failed.state is ExportState.FAILED
    assert failed.error is not None
    assert "mallory" in failed.error.message


@pytest.mark.parametrize("export_format", list(ExportFormat))
def test_names_that_are_alike_do_not_meet(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker], export_format: ExportFormat
) -> None:
    picture, sound = encode_video(Codec.H264, 0.0, 1.2), encode_audio(0.0, 1.2)
    tracks = [
        Track("camera", picture, "alice"),
        Track("camera", picture, "alice", name="another camera"),
        Track("microphone", sound, "alice-2"),
        Track("microphone", sound, "bob"),
        Track("camera", picture, "_bob"),
    ]
    recording = write_recording(tmp_path / "recording", tracks)
    export_id = queue.submit(ExportRequest(recording, export_format, tmp_path / "out"))
    start("")
    status = wait(queue, export_id)
    assert (status.state, status.error) == (ExportState.COMPLETE, None)
    assert status.result is not None
    kinds = [(item.participant_identity, item.tracks[0].kind) for item in status.result.outputs]
    assert kinds == [
        ("_bob", MediaKind.VIDEO),
        ("alice", MediaKind.VIDEO),
        ("alice", MediaKind.VIDEO),
        ("alice-2", MediaKind.AUDIO),
        ("bob", MediaKind.AUDIO),
    ]
    assert len({item.entry for item in status.result.outputs}) == 5


def test_a_damaged_segment_fails_the_export_and_names_the_file(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    segment = recording / read_recording(recording).tracks[1].segments[0].path
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    start("")
    status = wait(queue, export_id)
    assert (status.state, status.step) == (ExportState.FAILED, ExportStep.CHECK_SEGMENTS)
    assert status.error is not None
    assert status.error.code == "recording_damaged"
    assert segment.name in status.error.message
    assert not (tmp_path / "out").exists()


def test_another_file_in_the_way_fails_the_export_and_stays(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recording-alice.mp4").write_bytes(b"mine")
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    start("")
    status = wait(queue, export_id)
    assert status.error is not None
    assert status.error.code == "delivery_conflict"
    assert (tmp_path / "out" / "recording-alice.mp4").read_bytes() == b"mine"
    eventually(lambda: not work_dir(status).exists())


def test_a_full_disk_is_tried_again_and_then_told(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    start("process:disk_full")
    status = wait(queue, export_id)
    assert (status.state, status.step) == (ExportState.FAILED, ExportStep.PROCESS)
    assert status.error is not None
    assert status.error.code == "disk_full"
    assert "free some space" in status.error.message


def test_an_export_waits_for_its_recording_and_uses_the_catalogue(
    tmp_path: Path, database: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    path = tmp_path / "recording"
    closed: list[SegmentEntry] = []

    def hand_off(segment: SegmentEntry) -> None:
        closed.append(segment)
        queue.hand_off(segment, path)
        queue.hand_off(segment, path)

    recording = start_recording(path, camera_and_microphone(Codec.H264, 3.2), segment_s=1.0, on_segment=hand_off)
    export_id = queue.submit(ExportRequest(path, ExportFormat.MP4, tmp_path / "out"))
    start("")
    eventually(lambda: 0 < len(closed) == queue.status(export_id).segments_verified)
    waiting = queue.status(export_id)
    assert (waiting.state, waiting.step) == (ExportState.ACTIVE, ExportStep.AWAIT_RECORDING)
    verified_at = {name: entry.verified_at for name, entry in ExportStore(database).catalogued(path).items()}
    recording.close(STARTED_AT + 1000)
    assert wait(queue, export_id).state is ExportState.COMPLETE
    after = ExportStore(database).catalogued(path)
    assert {name: after[name].verified_at for name in verified_at} == verified_at


def test_a_recording_whose_writer_died_long_ago_is_exported_as_it_is(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    interrupt(recording)
    os.utime(recording / JOURNAL_NAME, (STARTED_AT, STARTED_AT))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    start("")
    assert wait(queue, export_id).state is ExportState.COMPLETE


def test_what_a_killed_writer_left_open_is_exported_too(
    tmp_path: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = killed_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 3.6), segment_s=2.0)
    assert list(recording.rglob("*.part"))
    os.utime(recording / JOURNAL_NAME, (STARTED_AT, STARTED_AT))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    start("")
    status = wait(queue, export_id)
    assert (status.state, status.error) == (ExportState.COMPLETE, None)
    assert status.result is not None
    (output,) = status.result.outputs
    # A kill may cost the last part of 0.5 s.
    assert 3.0 <= output.duration_s <= 3.6
    assert list(play(Path(output.entry)).flashes) == pytest.approx([1.0, 2.0, 3.0], abs=0.04)


def test_a_handed_off_segment_survives_kill_9(
    tmp_path: Path, database: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    sound, damaged = (track.segments[0] for track in read_recording(recording).tracks)
    (recording / damaged.path).unlink()
    queue.hand_off(sound, recording)
    queue.hand_off(damaged, recording)
    worker = start("segment:before")
    worker.wait_until_stopped()
    worker.kill()
    start("").join()
    store = ExportStore(database)
    assert set(store.catalogued(recording)) == {sound.path}
    assert "missing" in store.damaged(recording)[damaged.path]


def test_a_second_worker_leaves_at_once(
    database: Path, queue: ExportQueue, start: Callable[[str], FaultyWorker]
) -> None:
    lock = WorkerLock(database)
    assert lock.try_acquire()
    start("").join()
    lock.release()


def test_a_worker_is_started_when_there_is_none_and_outlives_its_starter(
    tmp_path: Path, database: Path, queue: ExportQueue
) -> None:
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    ensure_worker(database, idle_exit_s=0.1)
    assert wait(queue, export_id).state is ExportState.COMPLETE
    eventually(lambda: not WorkerLock(database).is_held())
    assert (tmp_path / "exports.db.log").exists()


class TestChild:
    """The child process of a step."""

    @pytest.fixture
    def stuck_recording(self, tmp_path: Path) -> Path:
        """A recording whose journal can be opened, but never comes."""
        os.mkfifo(tmp_path / JOURNAL_NAME)
        return tmp_path

    def test_it_dies_with_its_parent(self, stuck_recording: Path) -> None:
        task = {"task": "mp4", "recording_path": str(stuck_recording)}
        with subprocess.Popen(
            [sys.executable, "-m", "media.process.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            child.stdin.write(json.dumps(task).encode() + b"\n")
            child.stdin.close()
            assert child.wait(timeout=30) == 1

    def test_a_cancel_ends_it(self, stuck_recording: Path) -> None:
        with pytest.raises(ExportCancelled):
            run_child({"task": "mp4", "recording_path": str(stuck_recording)}, lambda _: None, lambda: True)

    def test_its_errors_keep_their_code(self, tmp_path: Path) -> None:
        with pytest.raises(StepFailed, match="no recording") as raised:
            run_child({"task": "mp4", "recording_path": str(tmp_path)}, lambda _: None, lambda: False)
        assert (raised.value.reported_code, raised.value.reported_retryable) == ("recording_not_found", False)

    def test_a_child_that_breaks_is_told_as_such(self) -> None:
        with pytest.raises(ChildDied, match="status 1"):
            run_child({"task": "unheard of"}, lambda _: None, lambda: False)

    def test_a_full_disk_is_a_retryable_error(self, tmp_path: Path) -> None:
        recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 3.0))
        task = {
            "task": "mp4",
            "recording_path": str(recording),
            "directory": str(tmp_path),
            "program": {
                "participant_identity": "alice",
                "source": "camera",
                "stem": "out",
                "video": [{"number": 2, "segments": 1}],
                "audio": [],
            },
        }
        with subprocess.Popen(
            # -B: byte-code that the limit cuts off would end every process after it (python/cpython#126606).
            ["/bin/sh", "-c", 'ulimit -f 4; exec "$0" -B -m media.process.child', sys.executable],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(task).encode() + b"\n")
            child.stdin.flush()
            (answer,) = [line for line in map(json.loads, child.stdout) if "progress" not in line]
        assert (answer["error"]["code"], answer["error"]["retryable"]) == ("disk_full", True)

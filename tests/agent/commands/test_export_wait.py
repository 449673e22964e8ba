"""`roomhand export --wait` outlives the workers that it waits for."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from agent.commands.export import wait_for_export
from agent.commands.output import Output
from media.errors import ExportError
from media.export import worker
from media.export.job import ExportFormat, ExportRequest, ExportState, ExportStep
from media.export.lock import WorkerLock
from media.export.queue import ExportQueue
from media.export.worker import ensure_worker
from media.frames import Codec
from tests.media.export.recordings import camera_and_microphone, start_recording, write_recording


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LOOK_EVERY_S", 0.5)


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    database = tmp_path / "exports.db"
    recording = start_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    queue = ExportQueue(database)
    export_id = queue.submit(ExportRequest(recording.path, ExportFormat.MP4, tmp_path / "out"))
    ensure_worker(database, idle_exit_s=1.0)

    def kill_it_once_it_waits_for_the_recording() -> None:
        while queue.status(export_id).step is not ExportStep.AWAIT_RECORDING:
            time.sleep(0.05)
        killed = WorkerLock(database).holder_pid()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        recording.close(time.time())

    killer = threading.Thread(target=kill_it_once_it_waits_for_the_recording)
    killer.start()
    status = wait_for_export(queue, export_id, Output(as_json=True), database)
    killer.join()
    assert (status.state, status.attempt) == (ExportState.COMPLETE, 2)
    queue.close()
    replacement = WorkerLock(database).holder_pid()
    assert replacement is not None
    os.kill(replacement, signal.SIGTERM)


def test_workers_that_do_nothing_but_end_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    database = tmp_path / "exports.db"
    recording = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    queue = ExportQueue(database)
    export_id = queue.submit(ExportRequest(recording, ExportFormat.MP4, tmp_path / "out"))
    with pytest.raises(ExportError, match=r"5 export workers.*exports\.db\.log"):
        wait_for_export(queue, export_id, Output(as_json=True), database)
    queue.close()

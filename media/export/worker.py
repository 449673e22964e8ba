"""The export worker: a process of its own that runs what is queued, and takes up what a dead one left.

It is built to be killed: whatever ends it, the next one goes on from the last finished step.
"""

import argparse
import logging
import math
import os
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from dbos import DBOS, DBOSClient

from media.errors import ExportError, MediaError
from media.export import engine
from media.export.catalogue import RecordedFile, verify_recorded_file
from media.export.job import ExportStatus
from media.export.lock import WorkerLock
from media.export.store import ExportStore
from media.export.workflow import ExportWorkflow, StepSettings, is_outdated, sweep
from media.json_text import parse_json
from media.own_programs import own_program
from media.process.output import JsonObject

log = logging.getLogger(__name__)

_IDLE_POLL_S = 0.5

# Two tracks close 1200 segments an hour; one pass a minute keeps ahead of fifty rooms.
_FORGET_EVERY_S = 60.0
_FORGET_AT_ONCE = 1000

# A process that only looks whether the lock is held has it for microseconds.
_LOCK_ATTEMPTS = 20
_LOCK_PAUSE_S = 0.05

# DBOS rewinds only what is stopped; nobody else stops a workflow, so this one's worker died between the two.
_STOPPED = "CANCELLED"

# How soon who waits notices that no worker runs, and how many may end at once: 5 take a minute and a half.
_LOOK_EVERY_S = 3.0
_STARTS = 5


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """`processes` bounds transcodes at one time; half the cores, since each transcode uses several.

    `idle_exit_s`: end after so long without work; None runs for ever.
    """

    idle_exit_s: float | None = None
    processes: int = max(1, (os.cpu_count() or 2) // 2)
    steps: StepSettings = field(default_factory=StepSettings)


def run_worker(database: Path, settings: WorkerSettings = WorkerSettings()) -> bool:
    """Work the queue in `database` off. False at once when another worker has it; True after an idle exit.

    Runs until it is idle for long enough, or killed; SIGTERM needs no handling beyond that.
    """
    engine.prepare_database(database)
    store = ExportStore(database)
    lock = WorkerLock(database)
    _register(store, settings)
    client = engine.connect(database)
    if not _acquire(lock):
        return False
    # Work that came between the last look and the release would wait for nobody: look again after it.
    while True:
        _serve(database, client, store, settings)
        lock.release()
        if not _has_work(client) or not _acquire(lock):
            client.destroy()
            return True


def ensure_worker(database: Path, *, idle_exit_s: float = 60.0) -> bool:
    """Start a detached worker for `database` unless one runs; whether it did. Its log is `<database>.log`.

    It outlives this process and ends when it is idle for `idle_exit_s`.
    """
    if WorkerLock(database).is_held():
        return False
    command = [*own_program("media.export.worker"), str(database), "--idle-exit-s", str(idle_exit_s)]
    with _log_of(database).open("ab") as log_file:
        # The shell ends at once, so the worker is nobody's child here and leaves no zombie.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            start_new_session=True,
            check=True,
        )
    return True


class WorkerWatch:
    """For who waits for an export: starts a worker when the one before died, and gives up where none gets on with it.

    What one is started for takes it some seconds, so the next one gets twice the time.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._moved_at = 0.0
        self._started = 0
        self._look_at = 0.0

    def look(self, status: ExportStatus, now: float) -> None:
        """Call as often as you like, with where the export stands. `now`: monotonic seconds.

        Raises ExportError after _STARTS workers that did nothing for the export.
        """
        if status.updated_at != self._moved_at:
            self._moved_at, self._started, self._look_at = status.updated_at, 0, now + _LOOK_EVERY_S
        if now < self._look_at:
            return
        if self._started < _STARTS:
            self._started += ensure_worker(self._database)
        elif not WorkerLock(self._database).is_held():
            raise ExportError(
                f"{_STARTS} export workers ended before they did anything; see {_log_of(self._database)}, "
                f"then `roomhand export-worker` goes on with {status.export_id}"
            )
        self._look_at = now + _LOOK_EVERY_S * 2**self._started


def _log_of(database: Path) -> Path:
    return database.with_name(database.name + ".log")


def _acquire(lock: WorkerLock) -> bool:
    for _ in range(_LOCK_ATTEMPTS):
        if lock.try_acquire():
            return True
        time.sleep(_LOCK_PAUSE_S)
    return False


def _register(store: ExportStore, settings: WorkerSettings) -> None:
    exports = ExportWorkflow(store, threading.BoundedSemaphore(settings.processes), settings.steps)

    @DBOS.workflow(name=engine.EXPORT_WORKFLOW, max_recovery_attempts=None)
    def export(export_id: str, request: JsonObject) -> JsonObject:
        return exports.run(export_id, request)

    @DBOS.workflow(name=engine.SEGMENT_WORKFLOW)
    def verify_segment(recording_path: str, file: list[str | int]) -> JsonObject:
        segment_id, path, sha256, size_bytes = file
        recorded = RecordedFile(str(segment_id), str(path), str(sha256), int(size_bytes))
        try:
            verify_recorded_file(store, Path(recording_path), recorded, None)
        except MediaError as error:
            log.warning("segment %s is not sound: %s", segment_id, error)
            return {"ok": False, "message": str(error)}
        return {"ok": True}


def _serve(database: Path, client: DBOSClient, store: ExportStore, settings: WorkerSettings) -> None:
    _take_up(client)
    for status in store.all():
        sweep(status)
    DBOS(config=engine.configuration(database, f"worker-{uuid.uuid4().hex}"))
    DBOS.listen_queues([engine.EXPORT_QUEUE, engine.SEGMENT_QUEUE])
    DBOS.launch()
    try:
        _until_idle(client, settings.idle_exit_s)
    finally:
        DBOS.destroy()


def _take_up(client: DBOSClient) -> None:
    """Queue again what a dead worker had begun. We hold the lock, so whoever had it is dead."""
    _redo_outdated(client)
    for workflow in client.list_workflows(status="PENDING", load_input=False, load_output=False):
        queue = engine.EXPORT_QUEUE if workflow.name == engine.EXPORT_WORKFLOW else engine.SEGMENT_QUEUE
        client.resume_workflow(workflow.workflow_id, queue_name=queue)


def _redo_outdated(client: DBOSClient) -> None:
    """Queue exports again from the first step on whose result is another version's; DBOS would replay it."""
    begun = client.list_workflows(
        name=engine.EXPORT_WORKFLOW,
        status=[*engine.UNFINISHED, _STOPPED],
        load_input=False,
        load_output=False,
    )
    for workflow in begun:
        steps = client.list_workflow_steps(workflow.workflow_id)
        outdated = [step["function_id"] for step in steps if is_outdated(step["output"])]
        if outdated or workflow.status == _STOPPED:
            log.info("export %s goes on from the last step that this version has done", workflow.workflow_id)
            client.cancel_workflow(workflow.workflow_id)
            client.rewind_workflow(
                workflow.workflow_id, start_step=min(outdated, default=len(steps) + 1), queue_name=engine.EXPORT_QUEUE
            )


def _until_idle(client: DBOSClient, idle_exit_s: float | None) -> None:
    idle_since = time.monotonic()
    forgotten_at = -math.inf
    while True:
        now = time.monotonic()
        if now - forgotten_at >= _FORGET_EVERY_S:
            _forget_segments(client)
            forgotten_at = now
        if _has_work(client):
            idle_since = now
        elif idle_exit_s is not None and now - idle_since >= idle_exit_s:
            return
        time.sleep(_IDLE_POLL_S)


def _forget_segments(client: DBOSClient) -> None:
    """Remove what DBOS keeps of segments that were checked: the catalogue holds the result, and there are many."""
    done = client.list_workflows(
        name=engine.SEGMENT_WORKFLOW, status="SUCCESS", limit=_FORGET_AT_ONCE, load_input=False, load_output=False
    )
    client.delete_workflows([workflow.workflow_id for workflow in done])


def _has_work(client: DBOSClient) -> bool:
    return bool(client.list_workflows(status=engine.UNFINISHED, limit=1, load_input=False, load_output=False))


def main(arguments: list[str] | None = None) -> int:
    """`python -m media.export.worker DATABASE`."""
    parser = argparse.ArgumentParser(prog="python -m media.export.worker", description=__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("--idle-exit-s", type=float, default=None)
    parser.add_argument("--steps", type=parse_json, default={}, help="StepSettings as JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = WorkerSettings(idle_exit_s=options.idle_exit_s, steps=StepSettings(**options.steps))
    run_worker(options.database, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())

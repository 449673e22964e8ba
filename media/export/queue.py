"""The export queue as the rest of the project sees it: submit, ask, wait, cancel, remove, hand off a segment.

Everything is durable in one SQLite file. Nothing here needs a worker to run; `ensure_worker` starts one.
"""

import asyncio
import time
import uuid
from dataclasses import replace
from pathlib import Path

import structlog
from dbos import EnqueueOptions

from media.errors import MediaError
from media.export import engine
from media.export.database_errors import translated_database_errors
from media.export.job import Aborted, ExportRequest, ExportStatus, request_to_json
from media.export.lock import WorkerLock
from media.export.removal import remove_files
from media.export.store import ExportStore
from media.export.workflow import sweep
from media.record.entries import SegmentEntry
from media.record.reader import read_recording

_log = structlog.get_logger(__name__)

# What a person who waits does not notice.
_WAIT_POLL_S = 0.2


class ExportQueue:
    """The queue in the file `database`, which is created when it is not there.

    The methods are short blocking transactions (milliseconds), safe from any thread. All raise StorageError,
    DiskFull or DiskReadOnly when the database cannot be used.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        engine.prepare_database(database)
        self._store = ExportStore(database)
        self._client = engine.connect(database)

    def close(self) -> None:
        """Close the connections. Exports go on in the worker."""
        self._client.destroy()

    def submit(self, request: ExportRequest) -> str:
        """Put `request` into the queue and return the export's id at once.

        Raises RecordingNotFound, RecordingDamaged when the recording cannot be read at all.
        """
        path = request.recording_path.absolute()
        room = read_recording(path).room
        absolute = replace(request, recording_path=path, out_dir=request.out_dir.absolute(), room=room)
        export_id = f"EX_{uuid.uuid4().hex[:20]}"
        self._enqueue(engine.EXPORT_QUEUE, engine.EXPORT_WORKFLOW, export_id, export_id, request_to_json(absolute))
        self._store.add(export_id, absolute, time.time())
        return export_id

    def hand_off(self, segment: SegmentEntry, recording_path: Path) -> None:
        """Have a closed segment verified and catalogued, durably. Doing it twice does it once.

        For `media.record.handoff.SegmentSink`, call it in a thread.
        """
        self._enqueue(
            engine.SEGMENT_QUEUE,
            engine.SEGMENT_WORKFLOW,
            segment.id,
            str(recording_path.absolute()),
            [segment.id, segment.path, segment.sha256, segment.size_bytes],
        )

    def status(self, export_id: str) -> ExportStatus:
        """Where the export stands. Raises ExportNotFound."""
        return self._store.get(export_id)

    def list(self) -> tuple[ExportStatus, ...]:
        """All exports, the newest first."""
        return self._store.all()

    def cancel(self, export_id: str) -> ExportStatus:
        """Abort the export; one that has ended stays as it is. Raises ExportNotFound.

        A running worker sees it within a second, stops and removes what is unfinished; without one that is done here.
        """
        self._store.apply(export_id, Aborted())
        status = self._store.get(export_id)
        lock = WorkerLock(self._database)
        if lock.try_acquire():
            sweep(status)
            lock.release()
        return status

    def remove(self, export_id: str) -> None:
        """Take an export that has ended off the list for good, then remove its files.

        Raises ExportNotFound, ExportBusy, or StorageError where a file cannot be removed: the export is off the list
        then, and another call, or `finish_removals`, goes on.
        """
        self._finish(self._store.mark_removed(export_id, time.time()))

    def finish_removals(self) -> int:
        """Go on with what was removed and is not gone yet; how many could not be. Logs what fails."""
        failed = 0
        for status in self._store.removed():
            try:
                self._finish(status)
            except MediaError as error:
                failed += 1
                _log.error("export_removal_failed", export=status.export_id, code=error.code, error=str(error))
        return failed

    def _finish(self, status: ExportStatus) -> None:
        remove_files(status, self._store.all())
        with translated_database_errors(self._database):
            # Until a worker knows that it was cancelled it would enter it anew, as if it had just been asked for.
            if not self._client.list_workflows(workflow_ids=[status.export_id], status=engine.UNFINISHED):
                self._client.delete_workflows([status.export_id])
                self._store.forget_removed(status.export_id)

    def forget_recording(self, recording_path: Path) -> None:
        """The recording in the folder `recording_path` was deleted; exports made of it stay."""
        self._store.forget_recording(recording_path.absolute())

    async def wait(self, export_id: str) -> ExportStatus:
        """The status once the export has ended, however. Raises ExportNotFound."""
        while not (status := await asyncio.to_thread(self.status, export_id)).state.final:  # noqa: ASYNC110 - its end is in another process
            await asyncio.sleep(_WAIT_POLL_S)
        return status

    def _enqueue(self, queue: str, workflow: str, workflow_id: str, *arguments: object) -> None:
        options: EnqueueOptions = {"queue_name": queue, "workflow_name": workflow, "workflow_id": workflow_id}
        with translated_database_errors(self._database):
            self._client.enqueue(options, *arguments)

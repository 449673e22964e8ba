"""What a worker does for one export, as DBOS steps: each can die half way and be done again.

Values that go into or come out of a step are JSON. A step's orderly failure is a value too, so that
a replay meets the same failure. DBOS retries steps, and nothing else does.
"""

import contextlib
import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from dbos import DBOS

from media.delivery.local import LocalStorage
from media.delivery.storage import Artifact
from media.errors import ExportError, ExportVerificationFailed, MediaError, RecordingBusy, RecordingNotFound
from media.export.catalogue import RecordedFile, verify_recorded_file
from media.export.job import (
    Aborted,
    Completed,
    ExportEvent,
    ExportFailure,
    ExportRequest,
    ExportResult,
    ExportState,
    ExportStatus,
    ExportStep,
    Failed,
    Progressed,
    TakenUp,
    advance,
    request_from_json,
)
from media.export.processes import ExportCancelled, StepFailed, run_child
from media.export.removal import remove_files
from media.export.store import ExportStore
from media.process.output import ExportOutput, JsonObject, output_from_json, to_json
from media.process.timeline import Program, plan_programs, program_from_json
from media.record.entries import RecordingState
from media.record.journal import JOURNAL_NAME
from media.record.reader import RecordingView, read_recording
from media.record.storage import is_locked, make_directory, translated
from media.record.unfinished import finish_unfinished

log = logging.getLogger(__name__)

# A worker that dies this often on one export dies because of it.
_MAX_ATTEMPTS = 20

# What the steps' results look like, where their files are and what later steps make of them. Raise it when that
# changes: a step that an older worker has done is then done again.
STEP_FORMAT = 2

# Often enough for who watches or cancels. A recording has tens of thousands of files, and each look is a transaction.
_PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class StepSettings:
    """How patient the steps are. `interrupted_grace_s` is how long a recording whose writer died may take to go on."""

    max_attempts: int = 3
    retry_interval_s: float = 2.0
    recording_poll_s: float = 1.0
    interrupted_grace_s: float = 30.0


def work_dir(status: ExportStatus) -> Path:
    """Where an export's unfinished files are: beside the finished ones, so that a rename can publish them."""
    return status.request.out_dir / f".roomhand-export-{status.export_id}"


def sweep(status: ExportStatus) -> None:
    """Remove the unfinished files of an export that has ended. Those that failed verification are evidence and stay."""
    if status.state.final and not (status.error and status.error.code == ExportVerificationFailed.code):
        shutil.rmtree(work_dir(status), ignore_errors=True)


class ExportWorkflow:
    """Runs exports and segment checks against one store. `slots` bounds the CPU work at one time."""

    def __init__(self, store: ExportStore, slots: threading.Semaphore, settings: StepSettings) -> None:
        self._store = store
        self._slots = slots
        self._settings = settings

    def run(self, export_id: str, request_values: JsonObject) -> JsonObject:
        """The workflow's body. Ends with the export in a final state, unless this process dies first."""
        self._store.add(export_id, request_from_json(request_values), time.time())
        self._store.apply(export_id, TakenUp())
        status = self._store.get(export_id, removed=True)
        if not status.state.final:
            self._end(status, self._outcome(status))
        return {"state": self._store.get(export_id, removed=True).state.value}

    def _outcome(self, status: ExportStatus) -> ExportEvent:
        try:
            return Completed(self._produce(status))
        except ExportCancelled:
            return Aborted()
        except MediaError as error:
            log.warning("export %s failed: %s", status.export_id, error)
            return Failed(ExportFailure(*_code_and_message(error)))
        except Exception as error:
            # The border of one export: a bug that it meets must not stop the others.
            log.exception("export %s met an unexpected error", status.export_id)
            return Failed(ExportFailure(ExportError.code, f"unexpected {type(error).__name__}: {error}"))

    def _end(self, status: ExportStatus, event: ExportEvent) -> None:
        """Clean up first: who sees the end may look at the folder at once."""
        sweep(advance(status, event, time.time()))
        self._store.apply(status.export_id, event)
        ended = self._store.get(status.export_id, removed=True)
        sweep(ended)
        if isinstance(event, Completed) and ended.state is not ExportState.COMPLETE:
            self._take_back(replace(ended, result=event.result))

    def _take_back(self, delivered: ExportStatus) -> None:
        """Somebody cancelled it while its files were delivered: nobody would ever be told of those."""
        try:
            remove_files(delivered, self._store.all())
        except MediaError as error:
            log.warning("what export %s delivered could not be removed: %s", delivered.export_id, error)

    def _produce(self, status: ExportStatus) -> ExportResult:
        if status.attempt > _MAX_ATTEMPTS:
            raise ExportError(f"{_MAX_ATTEMPTS} workers died in step {status.step}; see the worker's log")
        run = _Run(self._store, self._settings, self._slots, status)
        run.step(ExportStep.AWAIT_RECORDING, "", run.await_recording)
        planned = run.step(ExportStep.CHECK_SEGMENTS, "", run.check_segments)["programs"]
        assert isinstance(planned, list)
        programs = [program_from_json(cast(JsonObject, values)) for values in planned]
        shares = [_Share(index, len(programs)) for index in range(len(programs))]
        drafts = [
            run.step(ExportStep.PROCESS, str(share.index), partial(run.process, program, share))
            for program, share in zip(programs, shares, strict=True)
        ]
        outputs = [
            run.step(ExportStep.VERIFY, str(share.index), partial(run.verify, draft, share))
            for draft, share in zip(drafts, shares, strict=True)
        ]
        delivered = run.step(ExportStep.DELIVER, "", lambda: run.deliver(outputs))["outputs"]
        assert isinstance(delivered, list)
        return ExportResult(tuple(output_from_json(cast(JsonObject, item)) for item in delivered))


@dataclass(frozen=True, slots=True)
class _Share:
    """The part of a step's progress that one of several outputs is."""

    index: int
    count: int

    def of(self, fraction: float) -> float:
        return (self.index + fraction) / self.count


class _Run:
    """The steps of one export."""

    def __init__(
        self, store: ExportStore, settings: StepSettings, slots: threading.Semaphore, status: ExportStatus
    ) -> None:
        self._store = store
        self._settings = settings
        self._slots = slots
        self._export_id = status.export_id
        self._request: ExportRequest = status.request
        self._work_dir = work_dir(status)

    def step(self, step: ExportStep, suffix: str, work: Callable[[], JsonObject]) -> JsonObject:
        """Do `work` once and for all, or return what it returned before. Raises what it failed with."""

        def attempt() -> JsonObject:
            self._store.apply(self._export_id, Progressed(step))
            try:
                return {"value": work(), "format": STEP_FORMAT}
            except ExportCancelled:
                return {"cancelled": True}
            except MediaError as error:
                status = DBOS.step_status
                last = status is None or (status.current_attempt or 0) + 1 >= self._settings.max_attempts
                if _is_retryable(error) and not last:
                    raise
                code, message = _code_and_message(error)
                return {"error": {"code": code, "message": message}}

        answer = DBOS.run_step(
            {
                "name": f"{step.value}{suffix and '-' + suffix}",
                "retries_allowed": True,
                "max_attempts": self._settings.max_attempts,
                "interval_seconds": self._settings.retry_interval_s,
                "should_retry": lambda error: isinstance(error, MediaError),
            },
            attempt,
        )
        if "cancelled" in answer:
            raise ExportCancelled
        if isinstance(failure := answer.get("error"), dict):
            raise StepFailed(str(failure["code"]), str(failure["message"]), retryable=False)
        return cast(JsonObject, answer["value"])

    def await_recording(self) -> JsonObject:
        """Wait until the recording has ended, or its writer has been dead for the grace period.

        What a dead writer left open is finished then, so that it is exported too.
        """
        path = self._request.recording_path
        journal = path / JOURNAL_NAME
        interrupted: tuple[int, int] | None = None
        while True:
            self._raise_if_cancelled()
            # All of a journal may take seconds to read: it is read when its writer is gone, and when it changed since.
            if is_locked(journal):
                interrupted = None
            elif (version := _version(journal)) != interrupted:
                state = read_recording(path).state
                if state is RecordingState.COMPLETE:
                    return {"state": state.value}
                interrupted = version if state is RecordingState.INTERRUPTED else None
            if interrupted is not None and self._silent_for_s() >= self._settings.interrupted_grace_s:
                # Who is faster with the lock writes again: it is waited for as before.
                with contextlib.suppress(RecordingBusy):
                    finish_unfinished(path)
                    return {"state": RecordingState.INTERRUPTED.value}
            time.sleep(self._settings.recording_poll_s)

    def _silent_for_s(self) -> float:
        journal = self._request.recording_path / JOURNAL_NAME
        with translated(f"read {journal}"):
            return time.time() - journal.stat().st_mtime

    def check_segments(self) -> JsonObject:
        """Compare every file that will be read with the journal; say what will be produced from them."""
        view = read_recording(self._request.recording_path)
        programs = plan_programs(view, self._request.participant_identity)
        known = self._store.catalogued(self._request.recording_path)
        files = recorded_files(view, programs)
        told_at = -math.inf
        for done, file in enumerate(files):
            if time.monotonic() - told_at >= _PROGRESS_INTERVAL_S:
                self._raise_if_cancelled()
                self._progress(ExportStep.CHECK_SEGMENTS, done / len(files))
                told_at = time.monotonic()
            verify_recorded_file(self._store, self._request.recording_path, file, known.get(file.path))
        return {"programs": [to_json(program) for program in programs]}

    def process(self, program: Program, share: _Share) -> JsonObject:
        """Produce one output in a child process, from nothing: what an earlier attempt left is removed."""
        directory = self._directory(share.index)
        with self._slots:
            self._raise_if_cancelled()
            with translated(f"prepare {directory}"):
                if directory.exists():
                    shutil.rmtree(directory)
            make_directory(directory)
            task: JsonObject = {
                "task": self._request.format.value,
                "recording_path": str(self._request.recording_path),
                "program": to_json(program),
                "directory": str(directory),
            }
            return run_child(task, lambda f: self._progress(ExportStep.PROCESS, share.of(f)), self._is_cancelled)

    def verify(self, draft: JsonObject, share: _Share) -> JsonObject:
        """Compare what was produced with the recording, in a child process."""
        task: JsonObject = {"task": "verify", "directory": str(self._directory(share.index)), "output": draft}
        with self._slots:
            return run_child(task, lambda f: self._progress(ExportStep.VERIFY, share.of(f)), self._is_cancelled)

    def deliver(self, outputs: list[JsonObject]) -> JsonObject:
        """Move all verified files to where they were asked for."""
        self._raise_if_cancelled()
        verified = [output_from_json(values) for values in outputs]
        artifacts = [
            Artifact(self._directory(index) / file.path, file.path, file.size_bytes, file.sha256)
            for index, output in enumerate(verified)
            for file in output.files
        ]
        LocalStorage(self._request.out_dir).deliver(artifacts)
        return {"outputs": [to_json(_placed(output, self._request.out_dir)) for output in verified]}

    def _directory(self, index: int) -> Path:
        """Where one output is made: by itself, so that doing it again touches no other."""
        return self._work_dir / str(index)

    def _progress(self, step: ExportStep, fraction: float) -> None:
        self._store.apply(self._export_id, Progressed(step, fraction))

    def _is_cancelled(self) -> bool:
        return self._store.is_final(self._export_id)

    def _raise_if_cancelled(self) -> None:
        if self._is_cancelled():
            raise ExportCancelled


def is_outdated(answer: object) -> bool:
    """Whether what a step returned is a result of another version of the steps. Failures are the same in all."""
    return isinstance(answer, dict) and "value" in answer and answer.get("format") != STEP_FORMAT


def recorded_files(view: RecordingView, programs: Iterable[Program]) -> tuple[RecordedFile, ...]:
    """Every file of the recording that `programs` read, each once."""
    tracks = {track.number: track for track in view.tracks}
    files: dict[str, RecordedFile] = {}
    for program in programs:
        for part in (*program.video, *program.audio):
            track = tracks[part.number]
            for segment in track.segments[: part.segments]:
                init = track.init_of(segment)
                files[init.path] = RecordedFile("", init.path, init.sha256, init.size_bytes)
                files[segment.path] = RecordedFile(segment.id, segment.path, segment.sha256, segment.size_bytes)
    return tuple(files.values())


def _version(journal: Path) -> tuple[int, int]:
    """Another one for each change. Raises RecordingNotFound, StorageError."""
    with translated(f"read {journal}"):
        try:
            found = journal.stat()
        except FileNotFoundError as error:
            raise RecordingNotFound(f"there is no recording at {journal.parent}") from error
    return found.st_size, found.st_mtime_ns


def _placed(output: ExportOutput, out_dir: Path) -> ExportOutput:
    root = out_dir.absolute()
    files = tuple(replace(file, path=str(root / file.path)) for file in output.files)
    return replace(output, entry=str(root / output.entry), files=files)


def _is_retryable(error: MediaError) -> bool:
    return error.reported_retryable if isinstance(error, StepFailed) else error.retryable


def _code_and_message(error: MediaError) -> tuple[str, str]:
    return (error.reported_code if isinstance(error, StepFailed) else error.code), str(error)

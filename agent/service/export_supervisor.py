"""Keeps one export worker running beside the rooms, and tells of exports that move."""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from agent.metrics import Metrics
from agent.service.event_log import EventLog
from agent.service.event_report import event_fields, event_name
from agent.service.service_events import ExportChanged
from agent.service.supervision import BACKOFF_FACTOR, BACKOFF_FIRST_S, BACKOFF_LONGEST_S, HEALTHY_AFTER_S
from agent.tasks import Tasks
from media.clock import SteadyClock
from media.errors import MediaError
from media.export.job import ExportState, ExportStatus

POLL_S = 2.0
ANOTHER_WORKER = 75  # exit status (EX_TEMPFAIL): another process works the queue off; look again later
STANDARD_ERROR = 2
STOP_TIMEOUT_S = 10.0  # a worker is built to be killed; this lets it end its children first

log = structlog.get_logger(__name__)


class ExportList(Protocol):
    """The queue, as far as it is watched."""

    def list(self) -> tuple[ExportStatus, ...]:
        """All exports."""


class ExportWorker:
    """Runs `command` from `start` to `aclose`, and starts it again whenever it ends."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], clock: SteadyClock) -> None:
        self._command = command
        self._environment = environment
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._tasks = Tasks("export_worker")

    def start(self) -> None:
        """Start the worker, soon."""
        self._tasks.start(self._keep(), name="keep")

    async def _keep(self) -> None:
        pause_s = BACKOFF_FIRST_S
        while True:
            began = self._clock.now()
            try:
                code = await self._run()
            except OSError as error:
                log.exception("export_worker_not_started")
                code = error.errno or 1
            if code == ANOTHER_WORKER:
                pause_s = BACKOFF_LONGEST_S
                log.info("export_worker_elsewhere", looked_again_in_s=pause_s)
            else:
                if self._clock.now() - began >= HEALTHY_AFTER_S:
                    pause_s = BACKOFF_FIRST_S
                log.warning("export_worker_ended", returncode=code, started_again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * BACKOFF_FACTOR, BACKOFF_LONGEST_S)

    async def _run(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=dict(self._environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=STANDARD_ERROR,  # standard output is for what `serve` itself prints
            start_new_session=True,  # Ctrl-C is for the service, which ends its processes in order
        )
        self._process = process
        log.info("export_worker_started", pid=process.pid)
        return await process.wait()

    async def aclose(self) -> None:
        """End the worker; exports that it was at are taken up by the next one. Idempotent."""
        await self._tasks.aclose()
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class ExportWatch:
    """Looks at the queue now and then, and tells what moved: as events and in the metrics."""

    def __init__(self, queue: ExportList, events: EventLog, metrics: Metrics, clock: SteadyClock) -> None:
        self._queue = queue
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._states: dict[str, ExportState] | None = None
        self._tasks = Tasks("export_watch")

    def start(self) -> None:
        """Look from now on."""
        self._tasks.start(self._watch(), name="watch")

    async def _watch(self) -> None:
        while True:
            try:
                self.take(await asyncio.to_thread(self._queue.list))
            except (MediaError, sqlite3.Error) as error:
                log.warning("export_queue_unreadable", error=str(error))
            await asyncio.sleep(POLL_S)

    def take(self, statuses: Sequence[ExportStatus]) -> None:
        """Tell what is new in `statuses`; at the first call, nothing is."""
        self._metrics.set_exports(Counter(status.state.value for status in statuses))
        if self._states is not None:
            for status in statuses:
                if self._states.get(status.export_id) is not status.state:
                    self._tell(status)
        self._states = {status.export_id: status.state for status in statuses}

    def _tell(self, status: ExportStatus) -> None:
        if status.state is ExportState.COMPLETE:
            self._metrics.observe_export(status.request.format.value, status.updated_at - status.created_at)
        code = status.error.code if status.error else ""
        changed = ExportChanged(status.export_id, status.request.recording_path.name, status.state.value, code)
        self._events.append(event_name(changed), "", self._clock.now(), event_fields(changed))

    async def aclose(self) -> None:
        """Look no more; idempotent."""
        await self._tasks.aclose()

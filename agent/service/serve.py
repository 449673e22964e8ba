"""`roomhand serve`: the composition root of the service, and its order of starting and ending."""

import asyncio
import fcntl
import importlib.metadata
import os
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from agent.api.app import create_app
from agent.api.live_recordings import LiveRecordings, LiveSettings
from agent.api.service import ApiService
from agent.config import Settings
from agent.errors import InvalidSettings
from agent.metrics import build_metrics
from agent.service.deletions import Deletions
from agent.service.environment import child_environment
from agent.service.event_log import EventLog
from agent.service.export_supervisor import ExportWatch, ExportWorker
from agent.service.http_server import HttpServer, address_of, bind
from agent.service.interrupted import Interrupted
from agent.service.retention import Retention
from agent.service.supervisor import Supervisor, SupervisorParts
from media.clock import SteadyClock
from media.export.queue import ExportQueue
from media.own_programs import own_program
from media.record.storage import make_directory, translated

SAME_SIGNAL_S = 1.0
ROOM_COMMAND = own_program("agent.service.room_process")
EXPORT_COMMAND = own_program("agent.service.export_process")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Commands:
    """How the service's processes are started."""

    room: Sequence[str] = ROOM_COMMAND
    export_worker: Sequence[str] = EXPORT_COMMAND


async def run_service(
    settings: Settings,
    *,
    on_listening: Callable[[str], None] | None = None,
    commands: Commands = Commands(),
) -> None:
    """Run until SIGTERM or SIGINT, then drain: rooms close their recordings, the export worker ends last.

    `on_listening` is told the URL once requests are answered. Raises PortInUse, InvalidSettings or StorageError
    before anything was started.
    """
    settings.credentials()
    stop = _Stop()
    with bind(settings.host, settings.port) as listening, stop.on_signals(), _state_lock(settings.state_dir):
        queue = await asyncio.to_thread(ExportQueue, settings.export_database)
        service = _Service(settings, commands, queue, listening)
        try:
            await service.start()
            url = address_of(listening)
            log.info("listening", url=url, pid=os.getpid())
            if on_listening is not None:
                on_listening(url)
            await stop.wanted.wait()
            log.info("draining", timeout_s=settings.drain_timeout_s)
            await _unless(stop.at_once, service.drain())
        finally:
            await service.aclose()
            log.info("ended")


class _Stop:
    """The first signal asks for a drain, a second one for an end at once.

    Within `SAME_SIGNAL_S` it is the same one: whoever started us may pass on what our group was told anyway.
    """

    def __init__(self) -> None:
        self._first_at = 0.0
        self.wanted = asyncio.Event()
        self.at_once = asyncio.Event()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self.wanted.is_set():
            self._first_at = now
            self.wanted.set()
        elif now - self._first_at > SAME_SIGNAL_S:
            self.at_once.set()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, or as much of it as can be done until `stop`."""
    working = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working.done():
        working.result()
    else:
        log.warning("drain_cut_short")
        working.cancel()
        await asyncio.wait({working})


@contextmanager
def _state_lock(state_dir: Path) -> Iterator[None]:
    """Two services over one state would run the same rooms under the same identities."""
    make_directory(state_dir)
    path = state_dir / "serve.lock"
    with translated(f"open {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidSettings(
                f"another `roomhand serve` uses {state_dir}; stop it, or give this one its own ROOMHAND_STATE_DIR"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _version() -> str:
    try:
        return importlib.metadata.version("roomhand")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # a checkout that was not installed


class _Service:
    """Everything that runs, in one place."""

    def __init__(self, settings: Settings, commands: Commands, queue: ExportQueue, listening: socket.socket) -> None:
        clock = SteadyClock()
        version = _version()
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        metrics = build_metrics(registry, version)
        self._queue = queue
        self._events = EventLog(epoch=secrets.token_hex(4))
        parts = SupervisorParts(settings, clock, self._events, metrics, commands.room)
        self._supervisor = Supervisor(parts)
        self._worker = ExportWorker(commands.export_worker, child_environment(settings), clock)
        self._watch = ExportWatch(self._queue, self._events, metrics, clock)
        deletions = Deletions(self._events, metrics, clock)
        self._retention = Retention(settings, self._supervisor.recorded_ids, self._queue, deletions)
        self._interrupted = Interrupted(settings.recordings_dir.absolute(), self._supervisor.recorded_ids)
        api = ApiService(
            credentials=settings.credentials(),
            rooms=self._supervisor,
            exports=self._queue,
            events=self._events,
            metrics=metrics,
            deletions=deletions,
            clock=clock,
            recordings_dir=settings.recordings_dir.absolute(),
            exports_dir=settings.exports_dir.absolute(),
            sources_dir=settings.sources_dir.absolute(),
            state_dir=settings.state_dir.absolute(),
            version=version,
            live=LiveRecordings(LiveSettings(settings.segment_duration_s, settings.part_duration_s)),
        )
        self._http = HttpServer(create_app(api), listening)

    async def start(self) -> None:
        await self._retention.recover()
        await self._supervisor.start()
        self._worker.start()
        self._watch.start()
        self._retention.start()
        self._interrupted.start()
        await self._http.start()

    async def drain(self) -> None:
        """Rooms end in order, each within the drain timeout; who asks meanwhile is told so, and may look on."""
        self._events.close()
        await self._supervisor.drain()
        await self._http.aclose()

    async def aclose(self) -> None:
        """End what still runs, the export worker last. Idempotent."""
        self._events.close()
        await self._supervisor.aclose()
        await self._http.aclose()
        await self._interrupted.aclose()
        await self._retention.aclose()
        await self._watch.aclose()
        await self._worker.aclose()
        await asyncio.to_thread(self._queue.close)

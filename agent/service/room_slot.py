"""One room of the service: runs its process, and starts it again when it dies, as `supervision.step` decides."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from agent.errors import RoomUnavailable
from agent.room.state import ConnectionState, RoomState
from agent.service import service_events, supervision
from agent.service.event_report import event_fields, event_name
from agent.service.protocol import (
    Command,
    Done,
    RoomEnded,
    RoomEventReport,
    RoomOptions,
    RoomReport,
    RoomStarted,
    Up,
    error_from_report,
)
from agent.service.room_child import RoomChild, RoomFault
from agent.service.room_metrics import RoomMetrics
from agent.service.supervision import (
    Action,
    Happening,
    Phase,
    ProcessExited,
    ProcessReported,
    ProcessSpawned,
    RoomSupervisionState,
    StopRequested,
    Tick,
)
from media.clock import SteadyClock

TICK_S = 0.1  # how late a restart can be

log = structlog.get_logger(__name__)


class RoomObserver(Protocol):
    """Who is told what happens to a room."""

    def on_event(self, room: str, event: str, at: float, fields: Mapping[str, object]) -> None:
        """Something happened in the room or to its process."""

    def on_metrics(self, room: str, process: int, sample: RoomMetrics) -> None:
        """A sample of the process with that id."""


@dataclass(frozen=True, slots=True)
class RoomView:
    """A room as the service runs it.

    `phase` is of its process, `process_id` is None while none runs. `state` is the process's last report,
    None before its first. `error_code` and `error` tell why the last one ended.
    """

    room: str
    phase: Phase
    process_id: int | None
    restarts: int
    error_code: str
    error: str
    recording_id: str | None
    state: RoomState | None


class RoomSlot:
    """Runs one room until it is stopped, is gone or has failed for good."""

    def __init__(
        self,
        options: RoomOptions,
        command: Sequence[str],
        environment: Mapping[str, str],
        clock: SteadyClock,
        observer: RoomObserver,
        *,
        default_e2ee_key: str = "",
    ) -> None:
        """`default_e2ee_key` is for a room that has none of its own."""
        self._default_e2ee_key = default_e2ee_key
        self.options = options
        self._command = command
        self._environment = environment
        self._clock = clock
        self._observer = observer
        self._supervision = RoomSupervisionState(reported_at=clock.now())
        self._child: RoomChild | None = None
        self._state: RoomState | None = None
        self._stop_wanted = asyncio.Event()
        self._backed_off = asyncio.Event()
        self._decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def phase(self) -> Phase:
        """Where its process stands."""
        return self._supervision.phase

    @property
    def gone(self) -> bool:
        """Whether it was ended on purpose, here or by the server, and shall not run again."""
        return self._supervision.gone

    def view(self) -> RoomView:
        """The room as it is now."""
        error = self._supervision.error
        return RoomView(
            room=self.options.room,
            phase=self._supervision.phase,
            process_id=self._child.pid if self._child else None,
            restarts=self._supervision.restarts,
            error_code=error.code if error else "",
            error=error.message if error else "",
            recording_id=self.options.recording_id,
            state=self._state,
        )

    async def started(self) -> None:
        """Until the room is joined for the first time. Raises RoomFault when its first process ended before."""
        await asyncio.shield(self._decided)

    async def call(self, command: Command) -> Done:
        """Have the room carry out `command`. Raises RoomUnavailable or RoomFault."""
        return await self.check_running().call(command)

    def check_running(self) -> RoomChild:
        """The process that can carry out commands now. Raises RoomUnavailable when there is none."""
        if self._child is None or self.phase is not Phase.RUNNING:
            phase = self.phase.value.replace("_", " ")
            raise RoomUnavailable(f"room {self.options.room!r} is {phase}; try again in a moment")
        return self._child

    async def run(self, kill_after_s: float) -> None:
        """Run the room's processes, one after the other, until the last. After a stop each gets `kill_after_s`."""
        ticks = asyncio.create_task(self._tick(kill_after_s), name=f"room.{self.options.room}.tick")
        try:
            while not self._supervision.phase.final:
                await self._run_one()
                await self._backed_off.wait()
        finally:
            ticks.cancel()
            if not self._decided.done():
                self._give_up(RoomUnavailable(f"room {self.options.room!r} was stopped before it was joined"))

    async def _run_one(self) -> None:
        try:
            key = self._default_e2ee_key if self.options.e2ee_key is None else self.options.e2ee_key
            told = replace(self.options, e2ee_key=key)
            child = await RoomChild.spawn(self._command, self._environment, told, self._take)
        except OSError as error:
            log.exception("room_process_not_started", room=self.options.room)
            self._exited(ProcessExited(error.errno or 1, None))
            return
        self._child = child
        self._step(ProcessSpawned())
        log.info("room_process_started", room=self.options.room, pid=child.pid, restarts=self._supervision.restarts)
        if self._supervision.phase is Phase.DRAINING:
            child.terminate()  # it was asked to stop before there was a process to ask
        try:
            exited = await child.run()
        finally:
            self._child = None
        self._exited(exited)

    def _exited(self, exited: ProcessExited) -> None:
        self._step(exited)
        now = self._supervision
        kind = _END_OF.get(now.phase, service_events.RoomRestarting)
        code = now.error.code if now.error else ""
        end = kind(exited.returncode, now.reason, now.phase.value, now.restarts, code)
        expected = now.phase is Phase.ENDED
        (log.info if expected else log.warning)("room_process_ended", room=self.options.room, **event_fields(end))
        self._tell(end)
        self._state = _after_the_end(self._state) if now.phase.final else None
        if not self._decided.done():
            gone = RoomUnavailable(f"room {self.options.room!r} ended at once: {now.reason}")
            self._give_up(RoomFault(error_from_report(now.error)) if now.error else gone)

    def _give_up(self, error: RoomFault | RoomUnavailable) -> None:
        self._decided.set_exception(error)
        self._decided.exception()  # nobody may wait for a room that the state file brought

    def _take(self, message: Up) -> None:
        match message:
            case RoomStarted():
                self._step(ProcessReported(running=True))
                if not self._decided.done():
                    self._decided.set_result(None)
                self._tell(service_events.RoomStarted(self._pid()))
            case RoomReport(state, metrics):
                self._state = state
                self._step(ProcessReported(running=False))
                self._observer.on_metrics(self.options.room, self._pid(), metrics)
            case RoomEventReport(event, at, fields):
                self._observer.on_event(self.options.room, event, at, fields)
            case RoomEnded(reason):
                log.debug("room_process_ending", room=self.options.room, reason=reason)
            case _:
                log.error("room_message_unexpected", room=self.options.room, type=type(message).__name__)

    def _tell(self, event: service_events.ServiceEvent) -> None:
        self._observer.on_event(self.options.room, event_name(event), self._clock.now(), event_fields(event))

    def _pid(self) -> int:
        return self._child.pid if self._child else 0

    def stop(self, *, for_good: bool) -> None:
        """Have the room drained: its publications end, its recording is closed. `run` returns when that is done."""
        self._step(StopRequested(for_good))
        self._stop_wanted.set()

    async def _tick(self, kill_after_s: float) -> None:
        killing_at: float | None = None
        while True:
            await asyncio.sleep(TICK_S)
            now = self._clock.now()
            self._step(Tick())
            if self._stop_wanted.is_set() and killing_at is None:
                killing_at = now + kill_after_s
            if killing_at is not None and now >= killing_at and self._child is not None:
                log.error("room_process_killed", room=self.options.room, waited_s=kill_after_s)
                self._child.kill()
                killing_at = now + kill_after_s

    def _step(self, happening: Happening) -> None:
        self._supervision, actions = supervision.step(self._supervision, happening, self._clock.now())
        if self.phase is Phase.BACKING_OFF:
            self._backed_off.clear()
        else:
            self._backed_off.set()
        for action in actions:
            if action is Action.TERMINATE and self._child is not None:
                self._child.terminate()
            elif action is Action.KILL and self._child is not None:
                log.error("room_process_silent", room=self.options.room, pid=self._child.pid)
                self._child.kill()


_END_OF: Mapping[Phase, type[service_events.RoomEnd]] = {
    Phase.ENDED: service_events.RoomEnded,
    Phase.FAILED: service_events.RoomFailed,
}


def _after_the_end(state: RoomState | None) -> RoomState | None:
    """What is left of a room's last report when no process will send another."""
    if state is None:
        return None
    return replace(state, connection=ConnectionState.DISCONNECTED, participants=(), tracks=(), publications=())

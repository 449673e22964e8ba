"""Runs the rooms of the service, a process each, and remembers which ones shall run."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from pydantic import JsonValue, TypeAdapter

from agent.config import Settings
from agent.errors import RecordingConflict, RoomConflict, RoomNotFound, RoomUnavailable
from agent.metrics import Metrics
from agent.room.recording_plan import EndedReason, RecordingPlan, RecordWhen
from agent.room.subscription import SubscriptionPolicy
from agent.service.desired_rooms import DesiredRooms
from agent.service.environment import child_environment
from agent.service.event_log import EventLog
from agent.service.protocol import (
    ChangeRecording,
    Command,
    Done,
    RoomOptions,
    SetEncryptionKey,
    SetPolicy,
    StartRecording,
    StopRecording,
)
from agent.service.room_child import RoomFault
from agent.service.room_metrics import RoomMetrics
from agent.service.room_slot import RoomSlot, RoomView
from agent.tasks import Tasks
from media.clock import SteadyClock
from media.errors import StorageError
from media.record.recording_id import new_recording_id

START_WAIT_S = 30.0  # a start takes some 5 s, on a busy machine more; then the caller gets the room as it is
MAX_ROOMS = 200  # each is a process of some 100 MB; past this another machine is needed

log = structlog.get_logger(__name__)

_FIELDS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class SupervisorParts:
    """What a supervisor works with. `room_command` starts a room's process."""

    settings: Settings
    clock: SteadyClock
    events: EventLog
    metrics: Metrics
    room_command: Sequence[str]


class Supervisor:
    """All rooms of the service. Its methods run on the event loop that `start` ran on."""

    def __init__(self, parts: SupervisorParts) -> None:
        self._parts = parts
        self._slots: dict[str, RoomSlot] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks("supervisor")
        self._desired = DesiredRooms(parts.settings.state_dir)
        self._saving = asyncio.Lock()
        self._recording: dict[str, asyncio.Lock] = {}
        self._draining = False
        self._environment: Mapping[str, str] = {}

    @property
    def draining(self) -> bool:
        """Whether the service is ending."""
        return self._draining

    async def start(self) -> None:
        """Run the rooms that ran when the service last ended. Raises StorageError when that cannot be read."""
        self._environment = child_environment(self._parts.settings)
        for options in await asyncio.to_thread(self._desired.load):
            log.info("room_resumed", room=options.room, recording=options.recording_id)
            self._run(options)

    def rooms(self) -> tuple[RoomView, ...]:
        """All rooms, by name."""
        return tuple(self._slots[name].view() for name in sorted(self._slots))

    def room(self, name: str) -> RoomView:
        """One room. Raises RoomNotFound."""
        return self._slot(name).view()

    def recorded_ids(self) -> frozenset[str]:
        """Recordings that rooms write, or go on with when their process is started again. For any thread."""
        options = [slot.options for slot in tuple(self._slots.values())]
        return frozenset(item.recording_id for item in options if item.recording_id is not None)

    async def start_room(self, options: RoomOptions, *, record: bool) -> RoomView:
        """Run a room, and wait until it is joined, or START_WAIT_S. With `record` it is recorded as its plan says.

        Raises RoomConflict when it runs already, RoomUnavailable when there is no place for it, RoomFault when it could
        not be joined: it is not kept then.
        """
        self._check_free(options.room)
        plan = options.recording_plan or RecordingPlan()
        if not record:
            # What begins by itself is part of being asked for.
            options = replace(options, recording_plan=replace(plan, when=RecordWhen.NOW))
        elif options.recording_id is None and not plan.when.begins_by_itself:
            recording_id = new_recording_id(options.room, time.time())
            options = replace(options, recording_id=recording_id)
        slot = self._run(options)
        try:
            await self._save()
            async with asyncio.timeout(START_WAIT_S):
                await slot.started()
        except TimeoutError:
            log.warning("room_start_slow", room=options.room, waited_s=START_WAIT_S)
        except (RoomFault, RoomUnavailable, StorageError):
            await self.stop_room(options.room)
            raise
        return slot.view()

    def _check_free(self, name: str) -> None:
        if self._draining:
            raise RoomUnavailable("the service is ending and starts no more rooms")
        present = self._slots.get(name)
        if present is not None and not present.phase.final:
            raise RoomConflict(f"room {name!r} is being run already; end it first, or use it as it is")
        if present is None and len(self._slots) >= MAX_ROOMS:
            raise RoomUnavailable(
                f"{MAX_ROOMS} rooms are running here, which is the most; end one or use another machine"
            )

    async def stop_room(self, name: str) -> None:
        """Drain a room and forget it. Raises RoomNotFound."""
        slot = self._slot(name)
        slot.stop(for_good=True)
        run = self._runs.get(name)
        if run is not None:
            await asyncio.wait({run})
        self._forget(name, slot)
        await self._save()

    async def command(self, name: str, command: Command) -> Done:
        """Have a room carry out `command`. Raises RoomNotFound, RoomUnavailable or RoomFault.

        A policy outlives the room's process, and so does a key with index 0: they hold for the next one too, and so
        does what changes its recordings.
        """
        slot = self._slot(name)
        done = await slot.call(command)
        if isinstance(command, SetPolicy):
            slot.options = replace(slot.options, policy=command.policy)
            await self._save()
        elif isinstance(command, ChangeRecording):
            slot.options = _changed(slot.options, command.policy, command.plan)
            await self._save()
        elif isinstance(command, SetEncryptionKey) and command.key_index == 0:
            slot.options = _with_key(slot.options, command)
            await self._save()
        return done

    async def start_recording(self, name: str, wanted: StartRecording) -> Done:
        """Record a room, in a new recording (an empty `recording_id`) or going on with one.

        Raises RecordingConflict when it is being recorded, else as `command`.
        """
        slot = self._slot(name)
        async with self._recording.setdefault(name, asyncio.Lock()):
            slot.check_running()
            if slot.options.recording_id is not None:
                raise RecordingConflict(
                    f"room {name!r} is being recorded as {slot.options.recording_id}; stop that recording first"
                )
            recording_id = wanted.recording_id or new_recording_id(name, time.time())
            before = slot.options
            # Kept before the room is told: should its process die in between, the next one goes on with it.
            asked = replace(
                _changed(before, wanted.policy, wanted.plan),
                recording_id=recording_id,
                recording_stopped=False,
                e2ee_key=wanted.e2ee_key or before.e2ee_key,
            )
            slot.options = asked
            try:
                await self._save()
                return await slot.call(replace(wanted, recording_id=recording_id))
            except (RoomFault, StorageError):
                slot.options = _taken_back(slot.options, asked, before)
                await self._save()
                raise

    async def stop_recording(self, name: str) -> Done:
        """Close a room's recording. Raises RecordingConflict when there is none, else as `command`."""
        slot = self._slot(name)
        async with self._recording.setdefault(name, asyncio.Lock()):
            if slot.options.recording_id is None:
                raise RecordingConflict(f"room {name!r} is not being recorded; start a recording first")
            done = await slot.call(StopRecording())
            ended = done.recording.recording_id if done.recording else slot.options.recording_id
            if slot.options.recording_id == ended:  # else the plan has begun another one by now
                slot.options = _stopped(slot.options)
            await self._save()
            return done

    async def drain(self) -> None:
        """End all rooms in order: each closes its recording. They run again when the service starts again.

        What is not done after `drain_timeout_s` is killed; nothing recorded is lost but the last part.
        """
        self._draining = True
        for slot in self._slots.values():
            slot.stop(for_good=False)
        if self._runs:
            await asyncio.wait(self._runs.values())

    async def aclose(self) -> None:
        """Kill what still runs; idempotent."""
        self._draining = True
        await self._tasks.aclose()

    def _slot(self, name: str) -> RoomSlot:
        slot = self._slots.get(name)
        if slot is None:
            raise RoomNotFound(f"no room {name!r} is being run here; start it first")
        return slot

    def _run(self, options: RoomOptions) -> RoomSlot:
        parts = self._parts
        key = parts.settings.e2ee_key.get_secret_value()
        slot = RoomSlot(options, parts.room_command, self._environment, parts.clock, self, default_e2ee_key=key)
        self._slots[options.room] = slot
        self._runs[options.room] = self._tasks.start(self._run_slot(slot), name=options.room)
        return slot

    async def _run_slot(self, slot: RoomSlot) -> None:
        name = slot.options.room
        try:
            await slot.run(self._parts.settings.drain_timeout_s)
        finally:
            self._parts.metrics.forget_room(name)
        if slot.gone:
            self._forget(name, slot)
            await self._save()

    def _forget(self, name: str, slot: RoomSlot) -> None:
        if self._slots.get(name) is slot:
            del self._slots[name]
            self._runs.pop(name, None)
            self._recording.pop(name, None)

    async def _save(self) -> None:
        async with self._saving:
            rooms = [slot.options for slot in self._slots.values() if not slot.gone]
            await asyncio.to_thread(self._desired.save, rooms)

    def on_event(self, room: str, event: str, at: float, fields: Mapping[str, object]) -> None:
        """Pass a room's event on to the listeners."""
        checked = _FIELDS.validate_python(dict(fields))
        self._parts.events.append(event, room, at, checked)
        if event == "recording_changed":
            self._note_recording(room, checked.get("status"))
        if event == "room_restarting":
            self._parts.metrics.room_restarts.inc()
            self._parts.metrics.forget_room(room)

    def _note_recording(self, room: str, status: JsonValue) -> None:
        """Recordings begin and end by themselves too; a process that dies is to go on with the one that runs."""
        slot = self._slots.get(room)
        if slot is None or not isinstance(status, dict):
            return
        recording_id, reason = str(status.get("recording_id", "")), status.get("ended_reason")
        known = slot.options.recording_id
        if not reason and known != recording_id:
            slot.options = replace(slot.options, recording_id=recording_id, recording_stopped=False)
        elif reason and reason != EndedReason.LEFT and known == recording_id:
            slot.options = _stopped(slot.options)
        else:
            return
        self._tasks.start(self._save(), name=f"save.{room}")

    def on_metrics(self, room: str, process: int, sample: RoomMetrics) -> None:
        """Add a room's sample to the service's metrics."""
        self._parts.metrics.apply(room, process, sample)


def _changed(options: RoomOptions, policy: SubscriptionPolicy | None, plan: RecordingPlan | None) -> RoomOptions:
    """The options with another record policy and plan (None: as before); what begins recordings stays."""
    if policy is not None:
        options = replace(options, record_policy=policy)
    if plan is not None:
        before = options.recording_plan or RecordingPlan()
        options = replace(options, recording_plan=replace(plan, when=before.when))
    return options


def _stopped(options: RoomOptions) -> RoomOptions:
    """The options of a room whose recording was ended."""
    return replace(options, recording_id=None, recording_stopped=True)


def _taken_back(now: RoomOptions, asked: RoomOptions, before: RoomOptions) -> RoomOptions:
    """The options `now` without what `asked` changed of `before`; what others changed since stays."""
    for name in ("recording_id", "recording_stopped", "record_policy", "recording_plan", "e2ee_key"):
        if getattr(now, name) == getattr(asked, name):
            now = replace(now, **{name: getattr(before, name)})
    return now


def _with_key(options: RoomOptions, command: SetEncryptionKey) -> RoomOptions:
    if command.participant_identity is None:
        return replace(options, e2ee_key=command.key)
    keys = options.e2ee_participant_keys | {command.participant_identity: command.key}
    return replace(options, e2ee_participant_keys=keys)

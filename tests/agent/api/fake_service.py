"""An API over small fakes: rooms and exports in memory, real tokens, events, metrics and files."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from agent.api.app import create_app
from agent.api.service import ApiService
from agent.credentials import Credentials
from agent.errors import RecordingConflict, RoomConflict, RoomNotFound, TrackNotFound
from agent.metrics import build_metrics
from agent.room.state import ConnectionState, PublicationState, RecordingStatus, RoomState, TrackState
from agent.service.deletions import Deletions
from agent.service.event_log import EventLog
from agent.service.protocol import (
    Command,
    Done,
    Publish,
    RoomOptions,
    SetLayer,
    SetMuted,
    SetSubscribed,
    StartRecording,
    Unpublish,
)
from agent.service.room_child import RoomFault
from agent.service.room_slot import RoomView
from agent.service.supervision import Phase
from agent.tokens import ServiceGrants, mint_service_token
from media.clock import SteadyClock
from media.errors import ExportBusy, ExportNotFound
from media.export.job import ExportRequest, ExportResult, ExportState, ExportStatus
from media.process.output import ExportOutput, OutputFile
from media.record.entries import RecordingClosed, RecordingStarted
from media.record.journal import JOURNAL_NAME
from media.record.journal_line import encode_entry

CREDENTIALS = Credentials("ws://127.0.0.1:1", "APIkey", "a-secret-of-at-least-32-characters")
ALL_GRANTS = ServiceGrants(room_admin=True, room_record=True, room_list=True, room_create=True)
TRACK = TrackState("TR_1", "camera", "video", "camera", "alice", "video/VP8", False, True, 1280, 720)
PUBLICATION = PublicationState("TR_2", "camera", "video", "camera", "live", False)
EXPORT_ID = "EX_complete"


def bearer(
    grants: ServiceGrants = ALL_GRANTS, *, ttl_s: float = 600, credentials: Credentials = CREDENTIALS
) -> dict[str, str]:
    """Headers of a caller with `grants`."""
    return {"Authorization": f"Bearer {mint_service_token(credentials, grants, ttl_s=ttl_s)}"}


@dataclass
class FakeRooms:
    """Room "lobby" runs from the start. Commands are kept, and answered as a room would."""

    views: dict[str, RoomView] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    started: list[RoomOptions] = field(default_factory=list)
    asked: list[tuple[RoomOptions, bool]] = field(default_factory=list)
    fault: RoomFault | None = None
    draining: bool = False

    def __post_init__(self) -> None:
        self.views["lobby"] = _view("lobby")

    def rooms(self) -> tuple[RoomView, ...]:
        return tuple(self.views.values())

    def room(self, name: str) -> RoomView:
        if name not in self.views:
            raise RoomNotFound(f"no room {name!r} is being run here; start it first")
        return self.views[name]

    async def start_room(self, options: RoomOptions, *, record: bool) -> RoomView:
        if self.fault:
            raise self.fault
        if options.room in self.views:
            raise RoomConflict("it runs already")
        self.started.append(options)
        self.asked.append((options, record))
        self.views[options.room] = _view(options.room)
        return self.views[options.room]

    async def stop_room(self, name: str) -> None:
        del self.views[self.room(name).room]

    async def command(self, name: str, command: Command) -> Done:
        self.room(name)
        if self.fault:
            raise self.fault
        known = {TRACK.sid, PUBLICATION.sid}
        if isinstance(command, SetSubscribed | SetLayer) and command.track_sid not in known:
            raise RoomFault(TrackNotFound("no such track"))
        if isinstance(command, SetMuted | Unpublish) and command.sid not in {PUBLICATION.sid, PUBLICATION.name}:
            raise RoomFault(TrackNotFound("no such publication"))
        self.commands.append(command)
        return Done(publications=(PUBLICATION,)) if isinstance(command, Publish) else Done()

    async def start_recording(self, name: str, wanted: StartRecording) -> Done:
        view = self.room(name)
        if view.recording_id:
            raise RecordingConflict("it is being recorded")
        self.commands.append(wanted)
        recording_id = wanted.recording_id or "new"
        self.views[name] = replace(view, recording_id=recording_id)
        return Done(recording=_recording(recording_id, "recording"))

    def recorded_ids(self) -> frozenset[str]:
        return frozenset(view.recording_id for view in self.views.values() if view.recording_id)

    async def stop_recording(self, name: str) -> Done:
        view = self.room(name)
        if not view.recording_id:
            raise RecordingConflict("it is not being recorded")
        self.views[name] = replace(view, recording_id=None)
        return Done(recording=_recording(view.recording_id, "complete"))


def _recording(recording_id: str, state: str) -> RecordingStatus:
    return RecordingStatus(recording_id, f"/r/{recording_id}", state, 1.0, 0, 0, 0, 0, 0)


def _view(room: str) -> RoomView:
    state = RoomState(
        room, "RM_1", "roomhand", ConnectionState.CONNECTED, 1.0, tracks=(TRACK,), publications=(PUBLICATION,)
    )
    return RoomView(room, Phase.RUNNING, 4242, 0, "", "", None, state)


@dataclass
class FakeExports:
    """A queue without a worker: what is submitted stays queued."""

    statuses: dict[str, ExportStatus] = field(default_factory=dict)
    forgotten: list[Path] = field(default_factory=list)

    def submit(self, request: ExportRequest) -> str:
        export_id = f"EX_{len(self.statuses)}"
        self.statuses[export_id] = ExportStatus(export_id, request, ExportState.QUEUED, 1.0, 1.0)
        return export_id

    def status(self, export_id: str) -> ExportStatus:
        if export_id not in self.statuses:
            raise ExportNotFound(f"there is no export {export_id!r} here")
        return self.statuses[export_id]

    def list(self) -> tuple[ExportStatus, ...]:
        return tuple(self.statuses.values())

    def cancel(self, export_id: str) -> ExportStatus:
        status = self.status(export_id)
        if not status.state.final:
            self.statuses[export_id] = replace(status, state=ExportState.ABORTED)
        return self.statuses[export_id]

    def remove(self, export_id: str) -> None:
        self.status(export_id)
        if not self.statuses[export_id].state.final:
            raise ExportBusy(f"export {export_id} has not ended")
        del self.statuses[export_id]

    def forget_recording(self, recording_path: Path) -> None:
        self.forgotten.append(recording_path)

    def complete(self, request: ExportRequest, *paths: Path) -> None:
        """Add a complete export of `paths`, all below its folder."""
        files = tuple(OutputFile(str(path), path.stat().st_size, "0" * 64) for path in paths)
        output = ExportOutput("alice", "camera", request.format.value, str(paths[0]), 0.0, 12.5, (), files, ())
        self.statuses[EXPORT_ID] = ExportStatus(
            EXPORT_ID, request, ExportState.COMPLETE, 1.0, 2.0, progress=1.0, result=ExportResult((output,))
        )


@dataclass
class FakeService:
    """The app and what it works on."""

    app: FastAPI
    service: ApiService
    rooms: FakeRooms
    exports: FakeExports
    folder: Path

    def client(self, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        """A client without a network; faults become 500s as they do over one."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://roomhand", headers=headers)


def fake_service(folder: Path) -> FakeService:
    """A new service with its files in `folder`."""
    rooms, exports = FakeRooms(), FakeExports()
    events, metrics, clock = EventLog("boot", capacity=50), build_metrics(CollectorRegistry(), "0.0.0"), SteadyClock()
    service = ApiService(
        credentials=CREDENTIALS,
        rooms=rooms,
        exports=exports,
        events=events,
        metrics=metrics,
        deletions=Deletions(events, metrics, clock),
        clock=clock,
        recordings_dir=folder / "recordings",
        exports_dir=folder / "exports",
        sources_dir=folder / "sources",
        state_dir=folder / "state",
        version="0.0.0",
    )
    return FakeService(create_app(service), service, rooms, exports, folder)


def make_recording(api: FakeService, recording_id: str, room: str) -> Path:
    """A closed recording without tracks; its folder."""
    path = api.folder / "recordings" / recording_id
    path.mkdir(parents=True)
    lines = [
        encode_entry(RecordingStarted(recording_id, room, "RM_1", 100.0), 100.0),
        encode_entry(RecordingClosed(), 160.0),
    ]
    (path / JOURNAL_NAME).write_bytes(b"".join(lines))
    return path

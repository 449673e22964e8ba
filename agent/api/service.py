"""What the API works on, and how its handlers get hold of it and of their caller."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request

from agent.api.folders import Folders
from agent.api.live_recordings import LiveRecordings
from agent.api.long_reads import LongReads
from agent.credentials import Credentials
from agent.metrics import Metrics
from agent.running_reports import RunningReports
from agent.service.deletions import Deletions
from agent.service.event_log import EventLog
from agent.service.protocol import Command, Done, RoomOptions, StartRecording
from agent.service.room_slot import RoomView
from agent.tokens import ServiceGrants
from media.clock import SteadyClock
from media.export.job import ExportRequest, ExportStatus


class Rooms(Protocol):
    """The supervisor, as the API sees it."""

    @property
    def draining(self) -> bool:
        """Whether the service is ending."""

    def rooms(self) -> tuple[RoomView, ...]:
        """All rooms."""

    def room(self, name: str) -> RoomView:
        """One room."""

    async def start_room(self, options: RoomOptions, *, record: bool) -> RoomView:
        """Run a room."""

    async def stop_room(self, name: str) -> None:
        """End a room."""

    async def command(self, name: str, command: Command) -> Done:
        """Have a room do something."""

    async def start_recording(self, name: str, wanted: StartRecording) -> Done:
        """Record a room; an empty `recording_id` is a new recording."""

    async def stop_recording(self, name: str) -> Done:
        """Close a room's recording."""

    def recorded_ids(self) -> Collection[str]:
        """Recordings that rooms write or are to go on with; for any thread."""


class Exports(Protocol):
    """The export queue; every method blocks for a moment."""

    def submit(self, request: ExportRequest) -> str:
        """Queue an export."""

    def status(self, export_id: str) -> ExportStatus:
        """One export."""

    def list(self) -> tuple[ExportStatus, ...]:
        """All exports."""

    def cancel(self, export_id: str) -> ExportStatus:
        """Abort an export."""

    def remove(self, export_id: str) -> None:
        """Take an export that has ended off the list, and its files from the disk."""

    def forget_recording(self, recording_path: Path) -> None:
        """The recording is gone for good."""


@dataclass(frozen=True, slots=True)
class ApiService:
    """All that the API needs. `sources_dir` holds the files that callers may have published.

    `folders` takes the places of the folders out of what is answered.
    """

    credentials: Credentials
    rooms: Rooms
    exports: Exports
    events: EventLog
    metrics: Metrics
    deletions: Deletions
    clock: SteadyClock
    recordings_dir: Path
    exports_dir: Path
    sources_dir: Path
    state_dir: Path
    version: str
    live: LiveRecordings = field(default_factory=LiveRecordings)
    reports: RunningReports = field(default_factory=RunningReports)
    long_reads: LongReads = field(default_factory=LongReads)
    folders: Folders = field(init=False)

    def __post_init__(self) -> None:
        named = {
            "recordings": self.recordings_dir,
            "exports": self.exports_dir,
            "sources": self.sources_dir,
            "state": self.state_dir,
        }
        object.__setattr__(self, "folders", Folders(named))


def service_of(request: Request) -> ApiService:
    """What the API that `request` is for works on."""
    return cast(ApiService, request.app.state.service)


def _grants(request: Request) -> ServiceGrants:
    return cast(ServiceGrants, request.state.grants)


Service = Annotated[ApiService, Depends(service_of)]
Caller = Annotated[ServiceGrants, Depends(_grants)]

"""What the service itself tells, beside what its rooms' processes tell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoomStarted:
    """A room's process has joined the room, for the first time or again."""

    pid: int


@dataclass(frozen=True, slots=True)
class RoomEnd:
    """A room's process ended. `returncode` is -N for signal N; `reason` is a word, or LiveKit's `DisconnectReason`.

    `phase` is the room's now, `restarts` how often its process was started again; `error_code` is empty without one.
    """

    returncode: int
    reason: str
    phase: str
    restarts: int
    error_code: str


@dataclass(frozen=True, slots=True)
class RoomRestarting(RoomEnd):
    """The process is started again after a pause."""


@dataclass(frozen=True, slots=True)
class RoomEnded(RoomEnd):
    """The room was ended on purpose, here or by the server."""


@dataclass(frozen=True, slots=True)
class RoomFailed(RoomEnd):
    """No process is started again: what is wrong does not mend by itself."""


@dataclass(frozen=True, slots=True)
class ExportChanged:
    """An export was queued, taken up by a worker, or ended."""

    export_id: str
    recording_id: str
    state: str
    error_code: str


@dataclass(frozen=True, slots=True)
class RecordingDeleted:
    """A recording was deleted; `reason` is one of `media.record.retention.RetentionReason`."""

    recording_id: str
    reason: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ExportDeleted:
    """An export that had ended was deleted with its files; `reason` as in `RecordingDeleted`."""

    export_id: str
    recording_id: str
    reason: str
    size_bytes: int


ServiceEvent = RoomStarted | RoomEnd | ExportChanged | RecordingDeleted | ExportDeleted

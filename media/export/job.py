"""One export as values: what was asked, how far it is, what came of it (pure).

`advance` is the one place that moves an export's state. The words are those of LiveKit's
`EgressStatus` where they fit; `queued` stands for EGRESS_STARTING, since no process has it yet.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from media.process.output import ExportOutput, JsonObject, to_json
from media.record.entries import JsonValue


class ExportFormat(StrEnum):
    """What is produced: one MP4 a participant, or one HLS presentation (fMP4, VOD) a participant."""

    MP4 = "mp4"
    HLS = "hls"


class ExportState(StrEnum):
    """Where an export stands. COMPLETE, FAILED and ABORTED are final."""

    QUEUED = "queued"
    ACTIVE = "active"
    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def final(self) -> bool:
        """Whether nothing will move it any more."""
        return self in {ExportState.COMPLETE, ExportState.FAILED, ExportState.ABORTED}


class ExportStep(StrEnum):
    """The steps of an active export, in order; each can be run again after a crash."""

    AWAIT_RECORDING = "await_recording"
    CHECK_SEGMENTS = "check_segments"
    PROCESS = "process"
    VERIFY = "verify"
    DELIVER = "deliver"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export. `participant_identity` None means everybody, each on their own.

    `room` is the recording's, which the queue enters: it is known of an export also once its recording was deleted.
    """

    recording_path: Path
    format: ExportFormat
    out_dir: Path
    participant_identity: str | None = None
    room: str = ""

    @property
    def has_own_folder(self) -> bool:
        """Whether `out_dir` was made for this export alone (`own_folder_name`)."""
        return re.fullmatch(rf"{re.escape(self.recording_path.name)}-[0-9a-f]{{12}}", self.out_dir.name) is not None


def own_folder_name(recording_id: str, random_hex: str) -> str:
    """The name of a folder for one export; `random_hex` are 12 digits."""
    return f"{recording_id}-{random_hex}"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """All that a complete export produced."""

    outputs: tuple[ExportOutput, ...]


@dataclass(frozen=True, slots=True)
class ExportFailure:
    """Why an export failed: `code` as in `media.errors`, and what to do."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """An export as the queue knows it. `progress` runs from 0 to 1, `created_at`/`updated_at` are Unix seconds.

    `attempt` counts the workers that took it up; more than 1 means that one died. `segments_verified`
    is how many segments of its recording are in the catalogue by now.
    """

    export_id: str
    request: ExportRequest
    state: ExportState
    created_at: float
    updated_at: float
    step: ExportStep | None = None
    progress: float = 0.0
    attempt: int = 0
    segments_verified: int = 0
    result: ExportResult | None = None
    error: ExportFailure | None = None


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A worker began, or began again after a worker died."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """`fraction` (0..1) of `step` is done."""

    step: ExportStep
    fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class Completed:
    """All is verified and delivered."""

    result: ExportResult


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot be done."""

    failure: ExportFailure


@dataclass(frozen=True, slots=True)
class Aborted:
    """Somebody cancelled it."""


ExportEvent: TypeAlias = TakenUp | Progressed | Completed | Failed | Aborted

# Where each step begins on the whole export's scale: processing is what takes the time.
_PROGRESS_AT = {
    ExportStep.AWAIT_RECORDING: (0.0, 0.0),
    ExportStep.CHECK_SEGMENTS: (0.0, 0.1),
    ExportStep.PROCESS: (0.1, 0.85),
    ExportStep.VERIFY: (0.85, 0.97),
    ExportStep.DELIVER: (0.97, 1.0),
}


def advance(status: ExportStatus, event: ExportEvent, now: float) -> ExportStatus:
    """The status after `event`. A final state stays as it is, whatever comes: the first end counts."""
    if status.state.final:
        return status
    match event:
        case TakenUp():
            moved = replace(status, state=ExportState.ACTIVE, attempt=status.attempt + 1)
        case Progressed(step, fraction):
            begin, end = _PROGRESS_AT[step]
            progress = begin + (end - begin) * min(max(fraction, 0.0), 1.0)
            moved = replace(status, state=ExportState.ACTIVE, step=step, progress=progress)
        case Completed(result):
            moved = replace(status, state=ExportState.COMPLETE, step=None, progress=1.0, result=result)
        case Failed(failure):
            moved = replace(status, state=ExportState.FAILED, error=failure)
        case Aborted():
            moved = replace(status, state=ExportState.ABORTED)
    return replace(moved, updated_at=now)


def request_to_json(request: ExportRequest) -> JsonObject:
    """`request` as JSON."""
    return {
        "recording_path": str(request.recording_path),
        "format": request.format.value,
        "out_dir": str(request.out_dir),
        "participant_identity": request.participant_identity,
        "room": request.room,
    }


def request_from_json(values: Mapping[str, JsonValue]) -> ExportRequest:
    """The request that `request_to_json` wrote. Raises KeyError or ValueError when it is not one."""
    identity = values["participant_identity"]
    return ExportRequest(
        Path(str(values["recording_path"])),
        ExportFormat(str(values["format"])),
        Path(str(values["out_dir"])),
        None if identity is None else str(identity),
        str(values.get("room", "")),  # exports of before it was kept lack it
    )


def status_to_json(status: ExportStatus) -> JsonObject:
    """`status` for people and programs: what `--json` and the API print."""
    outputs = [] if status.result is None else [to_json(item) for item in status.result.outputs]
    return {
        "export_id": status.export_id,
        "state": status.state.value,
        "step": None if status.step is None else status.step.value,
        "progress": round(status.progress, 4),
        "attempt": status.attempt,
        "segments_verified": status.segments_verified,
        "created_at": status.created_at,
        "updated_at": status.updated_at,
        "request": request_to_json(status.request),
        "outputs": list(outputs),
        "error": None if status.error is None else to_json(status.error),
    }

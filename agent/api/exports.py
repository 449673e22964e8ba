"""Exports: request, follow, cancel, fetch what they produced, delete."""

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse

from agent.api.auth import Grant, GuardedRoute, get_and_head, needs
from agent.api.models import ExportBody
from agent.api.recording_files import covers_export, read_recording_for
from agent.api.service import ApiService, Caller, Service
from agent.tokens import ServiceGrants
from media.errors import ExportNotFound
from media.export import prune
from media.export.job import (
    ExportFailure,
    ExportFormat,
    ExportRequest,
    ExportState,
    ExportStatus,
    ExportStep,
    own_folder_name,
)
from media.process.output import Check, ExportOutput, OutputTrack

router = APIRouter(route_class=GuardedRoute, tags=["exports"])

ExportId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]

MEDIA_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",  # RFC 8216 section 4
    ".m4s": "video/iso.segment",  # RFC 8216 leaves it to ISO/IEC 23000-19
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".json": "application/json",
}


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that was produced. `url` is its path on this server, to be fetched with a token."""

    url: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportedOutput:
    """What a player opens, at `entry_url`. `start_media_time_s` is the recording's media time of its zero."""

    participant_identity: str
    source: str
    entry_url: str
    start_media_time_s: float
    duration_s: float
    files: tuple[ExportedFile, ...]
    tracks: tuple[OutputTrack, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class ExportView:
    """An export. `progress` runs from 0 to 1, times are Unix seconds; more than one `attempt`: a worker died."""

    export_id: str
    state: ExportState
    format: ExportFormat
    recording_id: str
    participant_identity: str | None
    step: ExportStep | None
    progress: float
    attempt: int
    created_at: float
    updated_at: float
    outputs: tuple[ExportedOutput, ...]
    error: ExportFailure | None


@router.post("/v1/exports", status_code=202, openapi_extra=needs(Grant.ROOM_RECORD))
async def request_export(body: ExportBody, service: Service, caller: Caller, response: Response) -> ExportView:
    """Queue an export. It is done by a worker process, and survives the end of this one."""
    status = await asyncio.to_thread(_submit, service, caller, body)
    response.headers["Location"] = f"/v1/exports/{status.export_id}"
    return _view(service, status)


@router.get("/v1/exports", openapi_extra=needs(Grant.ROOM_RECORD))
async def list_exports(service: Service, caller: Caller) -> list[ExportView]:
    """All exports of the rooms that the token is for, the newest first."""
    return [_view(service, status) for status in await asyncio.to_thread(_visible, service, caller)]


@router.get("/v1/exports/{export_id}", openapi_extra=needs(Grant.ROOM_RECORD))
async def get_export(export_id: ExportId, service: Service, caller: Caller) -> ExportView:
    """How an export stands, and what it produced."""
    return _view(service, await asyncio.to_thread(_status, service, caller, export_id))


_DELETE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": ExportView, "description": "It had not ended, and is aborted now"},
    204: {"description": "It had ended; it and its files are gone"},
}


@router.delete(
    "/v1/exports/{export_id}",
    response_model=None,
    responses=_DELETE_ANSWERS,
    openapi_extra=needs(Grant.ROOM_RECORD),
)
async def delete_export(export_id: ExportId, service: Service, caller: Caller) -> ExportView | Response:
    """Abort an export that has not ended; it stays in the list. Delete one that has, however, with its files."""
    status = await asyncio.to_thread(_status, service, caller, export_id)
    if not status.state.final:
        return _view(service, await asyncio.to_thread(service.exports.cancel, export_id))
    deletion = await asyncio.to_thread(prune.delete_export, service.exports, export_id, time.time())
    service.deletions.export(deletion)
    return Response(status_code=204)


_FILE = "/v1/exports/{export_id}/files/{path:path}"
_FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}},
    206: {"description": "The range asked for"},
}


@get_and_head(router, _FILE, "export_file", Grant.ROOM_RECORD, _FILE_ANSWERS)
async def export_file(export_id: ExportId, path: str, service: Service, caller: Caller) -> FileResponse:
    """A file of a complete export, whole or by ranges. Players may send the token as `access_token`."""
    file = await asyncio.to_thread(_file, service, caller, export_id, path)
    media_type = MEDIA_TYPES.get(file.suffix, "application/octet-stream")
    return FileResponse(file, media_type=media_type, headers={"Cache-Control": "private, no-cache"})


def _view(service: ApiService, status: ExportStatus) -> ExportView:
    """`status` as the API shows it; one that was asked for elsewhere has folders of its own."""
    request = status.request
    folders = service.folders.including({"export": request.out_dir, "recordings": request.recording_path.parent})
    return folders.hidden(_view_of(status))


def _view_of(status: ExportStatus) -> ExportView:
    outputs = status.result.outputs if status.result else ()
    return ExportView(
        export_id=status.export_id,
        state=status.state,
        format=status.request.format,
        recording_id=status.request.recording_path.name,
        participant_identity=status.request.participant_identity,
        step=status.step,
        progress=status.progress,
        attempt=status.attempt,
        created_at=status.created_at,
        updated_at=status.updated_at,
        outputs=tuple(_output(status, output) for output in outputs),
        error=status.error,
    )


def _output(status: ExportStatus, output: ExportOutput) -> ExportedOutput:
    return ExportedOutput(
        participant_identity=output.participant_identity,
        source=output.source,
        entry_url=_url(status, output.entry),
        start_media_time_s=output.start_media_time_s,
        duration_s=output.duration_s,
        files=tuple(ExportedFile(_url(status, file.path), file.size_bytes, file.sha256) for file in output.files),
        tracks=output.tracks,
        checks=output.checks,
    )


def _name(status: ExportStatus, path: str) -> str:
    """A delivered file's path relative to the export's folder, which is its name in URLs."""
    return (status.request.out_dir / path).relative_to(status.request.out_dir).as_posix()


def _url(status: ExportStatus, path: str) -> str:
    return f"/v1/exports/{status.export_id}/files/{quote(_name(status, path))}"


def _submit(service: ApiService, caller: ServiceGrants, body: ExportBody) -> ExportStatus:
    view = read_recording_for(service.recordings_dir, body.recording_id, caller)
    # A folder of its own: deliveries refuse to write over what another export left.
    out_dir = service.exports_dir.absolute() / own_folder_name(body.recording_id, secrets.token_hex(6))
    request = ExportRequest(view.path, ExportFormat(body.format), out_dir, body.participant_identity)
    return service.exports.status(service.exports.submit(request))


def _visible(service: ApiService, caller: ServiceGrants) -> list[ExportStatus]:
    found = service.exports.list()
    if not caller.room:
        return list(found)
    return [status for status in found if covers_export(status.request, caller)]


def _status(service: ApiService, caller: ServiceGrants, export_id: str) -> ExportStatus:
    status = service.exports.status(export_id)
    if not covers_export(status.request, caller):
        # The same answer as for an id that does not exist: ids are nothing to guess at.
        raise ExportNotFound(f"there is no export {export_id!r} here; list the exports")
    return status


def _file(service: ApiService, caller: ServiceGrants, export_id: str, path: str) -> Path:
    """The file at `path`, if it is one that the export produced: nothing else can be named."""
    status = _status(service, caller, export_id)
    outputs = status.result.outputs if status.result else ()
    produced = {_name(status, file.path) for output in outputs for file in output.files}
    file = status.request.out_dir / path
    if (
        path not in produced
        or not file.is_file()
        or not file.resolve().is_relative_to(status.request.out_dir.resolve())
    ):
        raise ExportNotFound(f"export {export_id} has no file {path!r}; its `outputs` list those there are")
    return file

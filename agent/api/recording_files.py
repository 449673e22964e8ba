"""Recordings on disk, as API callers name them: by id, below one folder, each belonging to a room. Blocking."""

import contextlib
from pathlib import Path

from agent.errors import RecordingConflict
from agent.tokens import ServiceGrants
from media.errors import LiveNotReady, MediaError, RecordingDamaged, RecordingNotFound
from media.export.job import ExportRequest
from media.record.manifest import read_manifest
from media.record.reader import RecordingView, read_recording, summarise


def read_recording_for(recordings_dir: Path, recording_id: str, caller: ServiceGrants) -> RecordingView:
    """The recording, if it is of a room that the caller's token is for.

    Raises RecordingNotFound, RecordingDamaged or StorageError.
    """
    path = recordings_dir / recording_id
    try:
        view = read_recording(path)
    except (RecordingNotFound, RecordingDamaged) as error:
        raise for_caller(error, path, caller) from error
    if not caller.covers_room(view.room):
        raise not_found(recording_id)
    return view


def check_is_of(recordings_dir: Path, recording_id: str, caller: ServiceGrants) -> None:
    """Raises RecordingNotFound unless there is one, sound or not, of a room that the caller's token is for."""
    try:
        read_recording_for(recordings_dir, recording_id, caller)
    except RecordingDamaged:
        return  # where it says of which room it is, it is the caller's
    except RecordingNotFound:
        summary = summarise(recordings_dir / recording_id)  # one whose journal is missing is listed too
        if summary is None or not caller.covers_room(summary.room):
            raise


def not_found(recording_id: str) -> RecordingNotFound:
    """The one answer for what is not there and for what is another room's: ids are nothing to guess at."""
    return RecordingNotFound(f"there is no recording {recording_id!r} here; `GET /v1/recordings` lists those there are")


def for_caller(
    error: RecordingNotFound | RecordingDamaged | LiveNotReady, path: Path, caller: ServiceGrants
) -> MediaError:
    """`error` of the recording in the folder `path` as the caller may know it. Blocking.

    Of one that cannot be read, its manifest may still say that it is of the caller's room.
    """
    if not isinstance(error, RecordingNotFound):
        if not caller.room:
            return error
        with contextlib.suppress(MediaError):
            if caller.covers_room(read_manifest(path).room):
                return error
    return not_found(path.name)


def check_continues(recordings_dir: Path, recording_id: str, room: str) -> None:
    """Raises RecordingConflict when a recording of that id exists and is of another room."""
    try:
        view = read_recording(recordings_dir / recording_id)
    except RecordingNotFound:
        return
    if view.room != room:
        raise RecordingConflict(f"recording {recording_id} is of another room; give a new id, or none")


def covers_export(request: ExportRequest, caller: ServiceGrants) -> bool:
    """Whether the caller's token is for the room of an export's recording, which may have been deleted since.

    Where the export does not say of which room it is, its recording does; without that it is of no room.
    """
    if not caller.room:
        return True
    if request.room:
        return caller.covers_room(request.room)
    try:
        return caller.covers_room(read_recording(request.recording_path).room)
    except MediaError:
        return False

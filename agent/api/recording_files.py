"""Recordings on disk, as API callers name them: by id, below one folder, each belonging to a room. Blocking."""

from pathlib import Path

from agent.errors import PermissionDenied, RecordingConflict
from agent.tokens import ServiceGrants
from media.errors import MediaError, RecordingNotFound
from media.record.reader import RecordingView, read_recording


def read_recording_for(recordings_dir: Path, recording_id: str, caller: ServiceGrants) -> RecordingView:
    """The recording, if it is of a room that the caller's token is for.

    Raises RecordingNotFound, RecordingDamaged, StorageError or PermissionDenied.
    """
    view = read_recording(recordings_dir / recording_id)
    if not caller.covers_room(view.room):
        raise PermissionDenied("the access token is for another room than the recording; make one for that room")
    return view


def check_continues(recordings_dir: Path, recording_id: str, room: str) -> None:
    """Raises RecordingConflict when a recording of that id exists and is of another room."""
    try:
        view = read_recording(recordings_dir / recording_id)
    except RecordingNotFound:
        return
    if view.room != room:
        raise RecordingConflict(f"recording {recording_id} is of another room; give a new id, or none")


def covers_recording(recording_path: Path, caller: ServiceGrants) -> bool:
    """Whether the caller's token is for the room of an export's recording; a lost recording is of no room."""
    if not caller.room:
        return True
    try:
        return read_recording(recording_path).room == caller.room
    except MediaError:
        return False

"""Names of recordings: readable, sortable by time, safe as a folder's name on any file system."""

import datetime as dt
import re
import secrets

from media.errors import RecordingNotFound

MAX_ROOM_CHARS = 48  # file names have 255 bytes; the rest of the id takes 24
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
RECORDING_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"  # it names a folder, and goes into URLs


def new_recording_id(room: str, now: float) -> str:
    """An id for a recording of `room` that starts at `now` (Unix seconds): `<room>-<UTC time>-<random>`."""
    name = _UNSAFE.sub("-", room).strip("-_")[:MAX_ROOM_CHARS] or "room"
    started = dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{name}-{started}-{secrets.token_hex(3)}"


def is_recording_id(text: str) -> bool:
    """Whether `text` can be a recording's id."""
    return re.match(RECORDING_ID_PATTERN, text) is not None


def check_recording_id(recording_id: str) -> str:
    """`recording_id`, if it can be a folder's name and nothing else; RecordingNotFound otherwise."""
    if not is_recording_id(recording_id):
        raise RecordingNotFound(f"{recording_id!r} is no recording id; ids have letters, digits, dots, - and _ only")
    return recording_id

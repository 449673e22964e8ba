"""The rooms that shall run, kept in a file so that they run again after the service was restarted."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from agent.service.protocol import RoomOptions
from media.record.storage import make_directory, translated, write_durably

FILE_NAME = "rooms.json"
FORMAT_VERSION = 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _File:
    version: int
    rooms: tuple[RoomOptions, ...]


_ADAPTER = TypeAdapter(_File)


class DesiredRooms:
    """The file `rooms.json` in `folder`. It holds no token and no API key, but rooms' keys for end-to-end encryption.

    So nobody else may read it. Blocking: call it in a thread.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def load(self) -> tuple[RoomOptions, ...]:
        """The rooms that were saved last, none if there is no file. A damaged file is kept aside and reported."""
        with translated(f"read {self._path}"):
            if not self._path.exists():
                return ()
            data = self._path.read_bytes()
        rooms = _parse(data)
        if rooms is None:
            aside = self._path.with_suffix(".damaged")
            with translated(f"keep {aside}"):
                self._path.replace(aside)
            log.error("desired_rooms_damaged", kept_as=str(aside))
            return ()
        return rooms

    def save(self, rooms: Iterable[RoomOptions]) -> None:
        """Replace the file, on disk before this returns. Raises StorageError, DiskFull or DiskReadOnly."""
        data = _ADAPTER.dump_json(_File(FORMAT_VERSION, tuple(rooms)), indent=1)
        make_directory(self._path.parent)
        write_durably(self._path, data, mode=0o600)


def _parse(data: bytes) -> tuple[RoomOptions, ...] | None:
    try:
        loaded = _ADAPTER.validate_json(data)
    except ValidationError:
        return None
    return loaded.rooms if loaded.version == FORMAT_VERSION else None

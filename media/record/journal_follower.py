"""Reads a recording's journal as it grows, from any process. Only whole, sound lines count."""

import os
from pathlib import Path

from media.errors import RecordingNotFound
from media.record.journal import JOURNAL_NAME
from media.record.journal_line import JournalRecord, decode_line
from media.record.storage import translated


class JournalFollower:
    """Gives each record once, in order."""

    def __init__(self, recording_path: Path) -> None:
        self._path = recording_path / JOURNAL_NAME
        self._position = 0
        self._file_id: tuple[int, int] | None = None

    def replaced(self) -> bool:
        """Whether the journal is another than was read so far: it was rebuilt, or cut behind what was read.

        Raises RecordingNotFound, StorageError.
        """
        status = self._status()
        return self._file_id is not None and (
            self._file_id != (status.st_dev, status.st_ino) or status.st_size < self._position
        )

    def read(self) -> list[JournalRecord]:
        """The records since the last call; damaged lines are left out. Raises RecordingNotFound, StorageError."""
        status = self._status()
        self._file_id = (status.st_dev, status.st_ino)
        if status.st_size <= self._position:
            return []
        with translated(f"read {self._path}"), self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._position += end
        return [record for line in data[:end].splitlines() if (record := _record(line)) is not None]

    def _status(self) -> os.stat_result:
        with translated(f"read {self._path}"):
            try:
                return self._path.stat()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise RecordingNotFound(f"there is no recording at {self._path.parent}") from error


def _record(line: bytes) -> JournalRecord | None:
    try:
        return decode_line(line)
    except ValueError:
        return None

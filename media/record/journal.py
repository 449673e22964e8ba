"""The journal file: append-only, one entry per line, the truth about a recording."""

import os
from dataclasses import dataclass
from pathlib import Path

from media.errors import RecordingDamaged, RecordingNotFound
from media.record.entries import JournalEntry
from media.record.journal_line import JournalRecord, decode_line, encode_entry
from media.record.storage import append_whole, open_locked, translated

JOURNAL_NAME = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class JournalContents:
    """What could be read. `valid_bytes` is where the good lines end; `torn_bytes` follow it.

    `bad_lines` are line numbers (from 1) that do not decode though good ones follow: damage, not a torn tail.
    """

    records: tuple[JournalRecord, ...]
    valid_bytes: int
    torn_bytes: int
    bad_lines: tuple[int, ...]


def parse_journal(data: bytes) -> JournalContents:
    """Read all of a journal's bytes; what a crash left at the end is the torn tail, never an error."""
    records: list[JournalRecord] = []
    suspects: list[int] = []
    bad_lines: list[int] = []
    position = valid_bytes = 0
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        position += len(line)
        try:
            record = decode_line(line) if line.endswith(b"\n") else None
        except ValueError:
            record = None
        if record is None:
            suspects.append(number)
            continue
        bad_lines += suspects
        suspects.clear()
        records.append(record)
        valid_bytes = position
    return JournalContents(tuple(records), valid_bytes, len(data) - valid_bytes, tuple(bad_lines))


def read_journal(recording_path: Path) -> JournalContents:
    """The journal of the recording in the folder `recording_path`.

    Raises RecordingNotFound without a journal file, StorageError when it cannot be read.
    """
    path = recording_path / JOURNAL_NAME
    with translated(f"read {path}"):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RecordingNotFound(f"there is no recording at {recording_path}") from error
    return parse_journal(data)


def read_sound_journal(recording_path: Path) -> JournalContents:
    """As `read_journal`; raises RecordingDamaged when a line other than the torn tail is bad."""
    contents = read_journal(recording_path)
    if contents.bad_lines:
        raise RecordingDamaged(
            f"line {contents.bad_lines[0]} of {recording_path / JOURNAL_NAME} is damaged; repair the recording"
        )
    return contents


def never_begun(recording_path: Path) -> bool:
    """Whether a folder holds no more than what a creation leaves that was killed: no whole line, and nothing else.

    Raises StorageError.
    """
    journal = recording_path / JOURNAL_NAME
    with translated(f"read {recording_path}"):
        try:
            names = {entry.name for entry in recording_path.iterdir()}
        except NotADirectoryError:
            return False
        return names <= {JOURNAL_NAME} and (not names or b"\n" not in journal.read_bytes())


class Journal:
    """The open journal of a writer, which also holds the recording's lock.

    Entries are buffered by `append` and made durable by `flush`. When the disk refuses, the file is cut back to its
    last good line and the entries stay buffered for the next `flush`.
    """

    def __init__(self, recording_path: Path, *, must_exist: bool = False) -> None:
        """Open (or create) the journal and take the lock. Whoever creates it makes its name durable.

        Raises RecordingNotFound without a folder, or a journal that `must_exist`, RecordingBusy, or StorageError and
        its subclasses.
        """
        self._path = recording_path / JOURNAL_NAME
        self._pending: list[bytes] = []
        flags = os.O_RDWR | os.O_APPEND | (0 if must_exist else os.O_CREAT)
        with translated(f"open {self._path}"):
            try:
                self._descriptor = open_locked(self._path, flags)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise RecordingNotFound(f"there is no recording at {recording_path}") from error
        self._size_bytes = os.fstat(self._descriptor).st_size

    def cut(self, size_bytes: int) -> None:
        """Drop a torn tail: what lies behind the first `size_bytes`."""
        with translated(f"cut {self._path}"):
            os.ftruncate(self._descriptor, size_bytes)
            os.fsync(self._descriptor)
        self._size_bytes = size_bytes

    def append(self, entry: JournalEntry, at: float) -> None:
        """Buffer `entry`, said at `at` (Unix seconds)."""
        self._pending.append(encode_entry(entry, at))

    def flush(self) -> None:
        """Write and fsync what is buffered. Raises StorageError and keeps the buffer when that fails."""
        if not self._pending:
            return
        data = b"".join(self._pending)
        with translated(f"append to {self._path}"):
            append_whole(self._descriptor, data, self._size_bytes, sync=True)
        self._size_bytes += len(data)
        self._pending.clear()

    @property
    def pending(self) -> int:
        """How many entries wait for `flush`."""
        return len(self._pending)

    def remove(self) -> None:
        """Take the file away, of a recording that did not come about; the lock is held until `close`."""
        with translated(f"remove {self._path}"):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and give the lock back. Buffered entries that were never flushed are gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

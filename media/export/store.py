"""The export queue's own tables, beside DBOS's in the same SQLite file: exports, and the segment catalogue.

DBOS knows what must run and which steps are done; these tables hold what people ask for. Every
method is one short transaction on a connection of its own, so any thread and process may call.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from media.errors import ExportBusy, ExportNotFound
from media.export.database_errors import translated_database_errors
from media.export.job import (
    ExportEvent,
    ExportFailure,
    ExportRequest,
    ExportResult,
    ExportState,
    ExportStatus,
    ExportStep,
    advance,
    request_from_json,
    request_to_json,
)
from media.json_text import parse_json
from media.process.output import output_from_json, to_json

_SCHEMA = """
CREATE TABLE IF NOT EXISTS exports (
    export_id TEXT PRIMARY KEY, request TEXT NOT NULL, state TEXT NOT NULL, step TEXT, progress REAL NOT NULL,
    attempt INTEGER NOT NULL, result TEXT, error_code TEXT, error_message TEXT,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, removed_at REAL
);
CREATE INDEX IF NOT EXISTS exports_by_state ON exports (state);
CREATE TABLE IF NOT EXISTS segments (
    recording_path TEXT NOT NULL, path TEXT NOT NULL, segment_id TEXT NOT NULL, sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, verified_at REAL NOT NULL,
    PRIMARY KEY (recording_path, path)
);
CREATE INDEX IF NOT EXISTS segments_to_count ON segments (recording_path) WHERE segment_id != '';
CREATE TABLE IF NOT EXISTS damaged_segments (
    recording_path TEXT NOT NULL, path TEXT NOT NULL, message TEXT NOT NULL, found_at REAL NOT NULL,
    PRIMARY KEY (recording_path, path)
);
"""

# Longer than any write of DBOS or ours can take on a slow disk.
_BUSY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A file of a recording whose sha256 was compared with its journal's. `mtime_ns` dates the comparison."""

    recording_path: Path
    path: str
    segment_id: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    verified_at: float


class ExportStore:
    """Opens or creates the tables in `database`. Write-ahead logging lets readers ask while a worker writes.

    All methods raise StorageError, DiskFull or DiskReadOnly when the database cannot be used.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)
            _add_missing_columns(connection)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with translated_database_errors(self._database):
            connection = sqlite3.connect(self._database, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            connection.row_factory = sqlite3.Row
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    def add(self, export_id: str, request: ExportRequest, now: float) -> None:
        """Enter a queued export. Does nothing when it is there already."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO exports (export_id, request, state, progress, attempt, created_at,"
                " updated_at) VALUES (?, ?, ?, 0, 0, ?, ?)",
                (export_id, json.dumps(request_to_json(request)), ExportState.QUEUED.value, now, now),
            )

    def get(self, export_id: str, *, removed: bool = False) -> ExportStatus:
        """The export's status; `removed`: also of one that was removed, whose files may not have gone yet.

        Raises ExportNotFound.
        """
        with self._connection() as connection:
            row = _row(connection, export_id)
            if row["removed_at"] is not None and not removed:
                raise _unknown(export_id)
            (verified,) = connection.execute(
                "SELECT count(*) FROM segments WHERE segment_id != '' AND recording_path = ?",
                (parse_json(row["request"])["recording_path"],),
            ).fetchone()
            return _status(row, verified)

    def is_final(self, export_id: str) -> bool:
        """Whether the export has ended. Raises ExportNotFound."""
        with self._connection() as connection:
            return ExportState(_row(connection, export_id)["state"]).final

    def all(self) -> tuple[ExportStatus, ...]:
        """All exports but removed ones, the newest first."""
        return self._where("removed_at IS NULL")

    def removed(self) -> tuple[ExportStatus, ...]:
        """Exports that were removed and are still known."""
        return self._where("removed_at IS NOT NULL")

    def mark_removed(self, export_id: str, now: float) -> ExportStatus:
        """Take an export that has ended off the list, for good; its status. Raises ExportNotFound, ExportBusy."""
        with self._transaction() as connection:
            status = _status(_row(connection, export_id), 0)
            if not status.state.final:
                raise ExportBusy(f"export {export_id} is {status.state.value}; cancel it first, or wait for its end")
            connection.execute(
                "UPDATE exports SET removed_at = coalesce(removed_at, ?) WHERE export_id = ?", (now, export_id)
            )
        return status

    def forget_removed(self, export_id: str) -> None:
        """Forget an export that was removed; nothing for any other."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM exports WHERE export_id = ? AND removed_at IS NOT NULL", (export_id,))

    def _where(self, condition: str) -> tuple[ExportStatus, ...]:
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT * FROM exports WHERE {condition} ORDER BY created_at DESC, export_id"  # noqa: S608 - ours
            ).fetchall()
            verified = dict(
                connection.execute(
                    "SELECT recording_path, count(*) FROM segments WHERE segment_id != '' GROUP BY recording_path"
                ).fetchall()
            )
            return tuple(_status(row, verified.get(parse_json(row["request"])["recording_path"], 0)) for row in rows)

    def apply(self, export_id: str, event: ExportEvent) -> None:
        """Move the export by `event`. Raises ExportNotFound."""
        with self._transaction() as connection:
            # It is done often, and which event leads where depends on no count of segments.
            before = _status(_row(connection, export_id), 0)
            after = advance(before, event, time.time())
            if after is not before:
                _save(connection, after)

    def catalogue(self, entry: CatalogueEntry) -> None:
        """Enter a file that was verified, in place of an older entry."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)",
                (str(entry.recording_path), *astuple(entry)[1:]),
            )
            connection.execute(
                "DELETE FROM damaged_segments WHERE recording_path = ? AND path = ?",
                (str(entry.recording_path), entry.path),
            )

    def report_damaged(self, recording_path: Path, path: str, message: str) -> None:
        """Note that a file is not what the journal says, and take it out of the catalogue."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO damaged_segments VALUES (?, ?, ?, ?)",
                (str(recording_path), path, message, time.time()),
            )
            connection.execute(
                "DELETE FROM segments WHERE recording_path = ? AND path = ?", (str(recording_path), path)
            )

    def forget_recording(self, recording_path: Path) -> None:
        """Take the files of a recording that was deleted out of the catalogue."""
        with self._transaction() as connection:
            for statement in (
                "DELETE FROM segments WHERE recording_path = ?",
                "DELETE FROM damaged_segments WHERE recording_path = ?",
            ):
                connection.execute(statement, (str(recording_path),))

    def catalogued(self, recording_path: Path) -> dict[str, CatalogueEntry]:
        """The catalogue of one recording, by the files' paths in it."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT * FROM segments WHERE recording_path = ?", (str(recording_path),)
            ).fetchall()
        return {row["path"]: CatalogueEntry(Path(row["recording_path"]), *tuple(row)[1:]) for row in rows}

    def damaged(self, recording_path: Path) -> dict[str, str]:
        """What is wrong with which file of one recording."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT path, message FROM damaged_segments WHERE recording_path = ?", (str(recording_path),)
            ).fetchall()
        return {row["path"]: row["message"] for row in rows}


def _row(connection: sqlite3.Connection, export_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute("SELECT * FROM exports WHERE export_id = ?", (export_id,)).fetchone()
    if row is None:
        raise _unknown(export_id)
    return row


def _unknown(export_id: str) -> ExportNotFound:
    return ExportNotFound(f"there is no export {export_id!r} here; `roomhand exports list` shows those there are")


def _add_missing_columns(connection: sqlite3.Connection) -> None:
    """Databases of before exports could be removed lack a column. Two processes may find that at once."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if "removed_at" not in {row["name"] for row in connection.execute("PRAGMA table_info(exports)")}:
            connection.execute("ALTER TABLE exports ADD COLUMN removed_at REAL")


def _status(row: sqlite3.Row, verified: int) -> ExportStatus:
    request = request_from_json(parse_json(row["request"]))
    result = None
    if row["result"] is not None:
        result = ExportResult(tuple(output_from_json(item) for item in parse_json(row["result"])))
    error = None
    if row["error_code"] is not None:
        error = ExportFailure(row["error_code"], row["error_message"])
    return ExportStatus(
        row["export_id"],
        request,
        ExportState(row["state"]),
        row["created_at"],
        row["updated_at"],
        None if row["step"] is None else ExportStep(row["step"]),
        row["progress"],
        row["attempt"],
        verified,
        result,
        error,
    )


def _save(connection: sqlite3.Connection, status: ExportStatus) -> None:
    result = None
    if status.result is not None:
        result = json.dumps([to_json(item) for item in status.result.outputs])
    connection.execute(
        "UPDATE exports SET state = ?, step = ?, progress = ?, attempt = ?, result = ?, error_code = ?,"
        " error_message = ?, updated_at = ? WHERE export_id = ?",
        (
            status.state.value,
            None if status.step is None else status.step.value,
            status.progress,
            status.attempt,
            result,
            None if status.error is None else status.error.code,
            None if status.error is None else status.error.message,
            status.updated_at,
            status.export_id,
        ),
    )

"""What SQLite says, in our error tree."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from media.errors import DiskFull, DiskReadOnly, StorageError

_READ_ONLY = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})

# Extended result codes carry more in their upper bits (sqlite.org/rescode.html).
_PRIMARY_CODE = 0xFF


@contextmanager
def translated_database_errors(database: Path) -> Iterator[None]:
    """Raises DiskFull, DiskReadOnly or StorageError in place of errors of SQLite, also when DBOS met them."""
    try:
        yield
    except sqlite3.Error as error:
        raise _storage_error(error, database) from error
    except DBAPIError as error:
        # DBOS reaches SQLite through SQLAlchemy, which wraps the driver's error.
        raise _storage_error(error.orig, database) from error


def _storage_error(error: BaseException | None, database: Path) -> StorageError:
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(f"{database}: {error}; free some space")
    if code in _READ_ONLY:
        return DiskReadOnly(f"{database}: {error}; make the file and its folder writable")
    return StorageError(f"{database}: {error}; check the disk and the file")

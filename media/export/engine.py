"""How DBOS is used here, in one place: names, versions, settings. SQLite embedded, no network, no telemetry.

DBOS keeps its tables in the same file as ours (`media.export.store`).
"""

import logging
import sqlite3
import time
from pathlib import Path

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer
from sqlalchemy import event
from sqlalchemy.engine import Engine

from media.export.database_errors import translated_database_errors
from media.record.storage import make_directory

APPLICATION = "roomhand"

# Pinned: a workflow that was begun goes on under a later release too. Raise it when the steps of a
# workflow change so that an old one cannot be replayed.
APPLICATION_VERSION = "1"

EXPORT_QUEUE = "exports"
SEGMENT_QUEUE = "segments"
EXPORT_WORKFLOW = "export"
SEGMENT_WORKFLOW = "verify_segment"

UNFINISHED = ["ENQUEUED", "PENDING", "DELAYED"]

# Exports that wait for their recording to end hold a thread each, no CPU; real work is bounded apart.
_EXPORTS_AT_ONCE = 64

# One to read while another waits for the disk.
_SEGMENTS_AT_ONCE = 2

_POLL_S = 0.2


# From this version on SQLite knows unixepoch('subsec'), which DBOS writes into its tables' defaults where Python is
# 3.12 or newer. Debian 12 has 3.40, whatever the Python: there the function gives NULL and nothing can be queued.
_SQLITE_WITH_SUBSECONDS = (3, 42, 0)


def know_subseconds(connection: object, _record: object = None) -> None:
    """Give a SQLite connection that needs it the `unixepoch('subsec')` that DBOS counts on."""
    if isinstance(connection, sqlite3.Connection) and sqlite3.sqlite_version_info < _SQLITE_WITH_SUBSECONDS:
        connection.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(modifier: object) -> float:
    if modifier != "subsec":
        raise ValueError(f"unixepoch({modifier!r}) is more than DBOS was seen to use")
    return time.time()


event.listen(Engine, "connect", know_subseconds)


def prepare_database(database: Path) -> None:
    """Create or migrate DBOS's tables in `database`. Raises StorageError."""
    make_directory(database.absolute().parent)
    logging.getLogger("dbos").setLevel(logging.WARNING)
    with translated_database_errors(database):
        DBOS.migrate(_url(database))


def connect(database: Path) -> DBOSClient:
    """A client of the queue in `database`, which `prepare_database` has prepared. Sets the queues up."""
    client = DBOSClient(
        system_database_url=_url(database),
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
    )
    for name, at_once in ((EXPORT_QUEUE, _EXPORTS_AT_ONCE), (SEGMENT_QUEUE, _SEGMENTS_AT_ONCE)):
        client.register_queue(name, worker_concurrency=at_once, polling_interval_sec=_POLL_S)
    return client


def configuration(database: Path, executor_id: str) -> DBOSConfig:
    """The settings of a worker's DBOS. `executor_id` must be new for each worker process."""
    return {
        "name": APPLICATION,
        "system_database_url": _url(database),
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "enable_otlp": False,
        "use_listen_notify": False,
    }


def _url(database: Path) -> str:
    return f"sqlite:///{database.absolute()}"

"""How DBOS is used here, in one place: names, versions, settings. SQLite embedded, no network, no telemetry.

DBOS keeps its tables in the same file as ours (`media.export.store`).
"""

import logging
from pathlib import Path

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer

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

"""What DBOS takes for granted of SQLite is there, whichever SQLite this Python has."""

import sqlite3
import time
from pathlib import Path

import pytest

from media.export import engine


def test_milliseconds_by_default_on_any_sqlite() -> None:
    connection = sqlite3.connect(":memory:")
    engine.know_subseconds(connection)
    connection.execute("CREATE TABLE t (a INT, at BIGINT NOT NULL DEFAULT (unixepoch('subsec') * 1000))")
    connection.execute("INSERT INTO t (a) VALUES (1)")
    ((at,),) = connection.execute("SELECT at FROM t")
    assert abs(at / 1000 - time.time()) < 5
    connection.close()


@pytest.mark.skipif(sqlite3.sqlite_version_info >= (3, 42), reason="this SQLite knows it by itself")
def test_what_was_not_foreseen_is_refused() -> None:
    connection = sqlite3.connect(":memory:")
    engine.know_subseconds(connection)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT unixepoch('now')").fetchall()
    connection.close()


def test_a_queue_can_be_made(tmp_path: Path) -> None:
    database = tmp_path / "queue.sqlite"
    engine.prepare_database(database)
    client = engine.connect(database)
    client.destroy()
    with sqlite3.connect(database) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM queues WHERE created_at > 1e12")}
    connection.close()
    assert {engine.EXPORT_QUEUE, engine.SEGMENT_QUEUE} <= names

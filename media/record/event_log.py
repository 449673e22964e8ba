"""Timeline events as JSON lines: data.jsonl and quality.jsonl."""

import json
import os
from pathlib import Path

import structlog

from media.record.entries import TimelineEvent
from media.record.storage import append_whole, fsync, translated, write_all_at

_log = structlog.get_logger(__name__)

_MAX_PENDING_BYTES = 1 << 20
"""What a disk that refuses may make us hold, or one line that is longer; beyond it the newest are dropped, counted
and told."""

_SYNC_INTERVAL_S = 2.0
"""A power cut costs that much of the chat; the end of the process costs nothing."""

_SYNC_BYTES = 1 << 20
"""Lines are kept until an fsync said that they are on disk; with so many of them it is due."""


def encode_event(event: TimelineEvent, started_at: float) -> bytes:
    """The line of `event`. `started_at`: the zero of media time. Raises ValueError when its payload is no JSON."""
    values = {
        "type": event.type,
        "at": event.at,
        "media_time_s": round(event.at - started_at, 6),
        "participant_identity": event.participant_identity,
        "payload": dict(event.payload),
    }
    try:
        return json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except TypeError as error:
        raise ValueError(f"the payload of a {event.type!r} event is no JSON: {error}") from error


class EventLog:
    """Appends lines to one file, which is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._size_bytes = 0
        self._pending = bytearray()
        self._unsynced = bytearray()
        self._doubtful = False
        self._synced_at = float("-inf")
        self._losing = False
        self.lost = 0

    def append(self, line: bytes) -> None:
        """Take a line, of whatever length where none waits; it is written with the next `flush`."""
        if self._pending and len(self._pending) + len(line) > _MAX_PENDING_BYTES:
            if not self._losing:
                _log.warning("recording_events_lost", path=str(self._path), waiting_bytes=len(self._pending))
            self._losing = True
            self.lost += 1
            return
        self._pending += line

    def flush(self) -> None:
        """Write what was appended. Raises StorageError; nothing is forgotten and no torn line stays."""
        if not self._pending:
            return
        with translated(f"append to {self._path}"):
            self._open()
            append_whole(self._descriptor, bytes(self._pending), self._size_bytes, sync=False)
        self._size_bytes += len(self._pending)
        self._unsynced += self._pending
        self._pending.clear()
        self._losing = False

    def tick(self, now: float) -> None:
        """Flush, and fsync now and then. Raises StorageError."""
        self.flush()
        if now - self._synced_at >= _SYNC_INTERVAL_S or len(self._unsynced) >= _SYNC_BYTES:
            self.sync(now)

    def sync(self, now: float) -> None:
        """Flush and fsync. Raises StorageError; the next one then writes all again that it was for."""
        self.flush()
        if not self._unsynced:
            return
        with translated(f"sync {self._path}"):
            if self._doubtful:
                write_all_at(self._descriptor, self._unsynced, self._size_bytes - len(self._unsynced))
            self._doubtful = True
            fsync(self._descriptor)
        self._doubtful = False
        self._unsynced.clear()
        self._synced_at = now

    def close(self) -> None:
        """Close the file. What could not be written is gone; `flush` first."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        """Open to append, behind the last whole line."""
        if self._descriptor >= 0:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            size_bytes = _whole_lines(descriptor)
            os.ftruncate(descriptor, size_bytes)
            os.lseek(descriptor, size_bytes, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)  # what was not seen to the end is not written behind
            raise
        self._descriptor, self._size_bytes = descriptor, size_bytes


def _whole_lines(descriptor: int) -> int:
    """The size of an open file up to its last newline."""
    end = os.fstat(descriptor).st_size
    step = 1 << 16
    while end > 0:
        start = max(0, end - step)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0

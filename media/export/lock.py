"""The lock that keeps one worker per database: SQLite has one, so two could not share the work."""

import fcntl
import os
from pathlib import Path


class WorkerLock:
    """An advisory lock (flock) on `<database>.lock`. The kernel frees it when its holder dies, however it dies."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if nobody holds it. True when this object holds it then."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held(self) -> bool:
        """Whether some process holds the lock now. Takes it for a moment to find out."""
        if self._descriptor is not None:
            return True
        if self.try_acquire():
            self.release()
            return False
        return True

    def holder_pid(self) -> int | None:
        """The process id that the last holder wrote down; it may have died since."""
        try:
            text = self._path.read_text().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None

"""A disk whose fsync fails once for a file, as Linux lets it: the next one of the same file says that all is well."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest


class FailingFsync:
    """While `fails` says so of a path, its fsync fails, once for each file; `doubtful` are the inodes of those.

    `drop`: the second half of its pages is gone too, so that zeros are read in their place, as after they were evicted.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.doubtful: set[int] = set()
        self.fails: Callable[[Path], bool] = lambda _: False
        self.drop = False
        self._held: list[int] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._call)

    def vouches_for(self, path: Path) -> bool:
        """Whether no fsync failed of the file that is at `path` now."""
        return path.stat().st_ino not in self.doubtful

    def close(self) -> None:
        """Let go of the files."""
        while self._held:
            os.close(self._held.pop())

    def _call(self, descriptor: int) -> None:
        path, inode = Path(f"/proc/self/fd/{descriptor}").readlink(), os.fstat(descriptor).st_ino
        if inode in self.doubtful or not self.fails(path):
            self._fsync(descriptor)
            return
        self.doubtful.add(inode)
        self._held.append(os.dup(descriptor))  # no other file gets that inode
        if self.drop:
            kept = path.read_bytes()[: path.stat().st_size // 2]
            path.write_bytes(kept + bytes(path.stat().st_size - len(kept)))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

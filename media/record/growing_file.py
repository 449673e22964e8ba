"""A file that grows by whole pieces as `<name>.part`, and gets its name when it is done."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media.record.storage import (
    TEMPORARY_SUFFIX,
    FsyncFailed,
    append_whole,
    cut_back,
    fsync,
    fsync_path,
    rewrite,
    translated,
)


class GrowingFile:
    """An open file. Each piece is one write; one that fails is cut off again, so the rest stays whole."""

    def __init__(self, path: Path, head: bytes, *, fsync_pieces: bool = False) -> None:
        """Create `path` with `.part` added, beginning with `head`.

        `fsync_pieces` makes each piece survive a power cut, not only the end of the process. Raises StorageError.
        """
        self.path = path
        self.size_bytes = 0
        self._fsync_pieces = fsync_pieces
        self._doubtful = False
        self._sha256 = hashlib.sha256()
        self._temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        with translated(f"create {self._temporary}"):
            self._descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self.append(head)
        except BaseException:
            self.discard()
            raise

    @property
    def sha256(self) -> str:
        """The hash of what is written so far."""
        return self._sha256.hexdigest()

    def append(self, data: bytes) -> None:
        """Write one piece. Raises StorageError; the file then ends with the piece before."""
        with translated(f"write {self._temporary}"), self._doubting():
            append_whole(self._descriptor, data, self.size_bytes, sync=self._fsync_pieces)
        self._sha256.update(data)
        self.size_bytes += len(data)

    def finish(self) -> None:
        """Make the file durable under its name. Raises StorageError; may then be called again.

        No fsync is believed behind one that failed: what can be read goes into a new file, which has its own. Raises
        DataLost where that is not what was written, and leaves the file as it is.
        """
        with translated(f"finish {self.path}"), self._doubting():
            if self._doubtful:
                self.close()
                rewrite(self._temporary if self._temporary.exists() else self.path, self.size_bytes, self.sha256)
                self._doubtful = False
            if self._descriptor >= 0:
                cut_back(self._descriptor, self.size_bytes)
                fsync(self._descriptor)
                self.close()
            if self._temporary.exists():
                self._temporary.replace(self.path)
            fsync_path(self.path.parent)

    def discard(self) -> None:
        """Drop the file. Raises StorageError."""
        self.close()
        with translated(f"remove {self._temporary}"):
            self._temporary.unlink(missing_ok=True)

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Note that an fsync failed, of the file or of its folder."""
        try:
            yield
        except FsyncFailed:
            self._doubtful = True
            raise

    def close(self) -> None:
        """Leave the file as it is: a resume or repair of the recording finishes it. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

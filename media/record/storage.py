"""File operations that survive a crash, with their errors in our tree."""

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media.errors import DataLost, DiskFull, DiskReadOnly, RecordingBusy, StorageError

TEMPORARY_SUFFIX = ".part"

_REWRITTEN_SUFFIX = ".again"
"""Not `.part`: what is written again is often such a file itself."""

_COPIED_AT_ONCE_BYTES = 1 << 20

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""EFBIG: a limit on file size (RLIMIT_FSIZE) is a quota like any other."""

_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_TO_DO = {
    errno.EISDIR: "move away the folder that is where the file should be",
    errno.ENOTDIR: "move away the file that is where a folder should be",
    errno.ENAMETOOLONG: "give a shorter name",
}
"""Where the disk is sound, and what is on it is not."""

_LOCK_ATTEMPTS = 20
_LOCK_PAUSE_S = 0.05
"""A reader that asks `is_locked` holds the lock for microseconds; a writer must outlast that."""

_OPEN_ATTEMPTS = 5
"""A file is replaced once in a repair, and moved away once by retention."""


class FsyncFailed(OSError):
    """An fsync failed. Linux may then call pages clean that it dropped: another fsync of the file says nothing."""


def storage_error(error: OSError, doing: str) -> StorageError:
    """The error of our tree for `error`; `doing` says what was tried and on which path."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _DISK_FULL:
        return DiskFull(f"{doing}: {reason}; free some space")
    if error.errno in _READ_ONLY:
        return DiskReadOnly(f"{doing}: {reason}; make the place writable")
    return StorageError(f"{doing}: {reason}; {_TO_DO.get(error.errno or 0, 'check the disk')}")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises DiskFull, DiskReadOnly or StorageError in place of any OSError of the block."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing) from error


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a short write goes on until the system says why."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_all_at(descriptor: int, data: bytes | bytearray, start: int) -> None:
    """As `write_all`, from byte `start` of the file on; where the next `write_all` goes stays as it is."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, start)
        view, start = view[written:], start + written


def fsync(descriptor: int) -> None:
    """Raises FsyncFailed: of what was written since the last one nothing is known from then on."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise FsyncFailed(*error.args) from error


def cut_back(descriptor: int, size_bytes: int) -> None:
    """Have the file end after `size_bytes`, and be written on from there, where it is longer."""
    if os.fstat(descriptor).st_size != size_bytes:
        os.ftruncate(descriptor, size_bytes)
        os.lseek(descriptor, size_bytes, os.SEEK_SET)


def append_whole(descriptor: int, data: bytes, size_bytes: int, *, sync: bool) -> None:
    """Append `data` to a file of `size_bytes`, all of it or nothing. Raises OSError.

    What a failed write left is cut off, now or, where that fails too, before the next one. `sync`: with an fsync,
    which says something of `data` also after one that failed: all of them are then written again.
    """
    cut_back(descriptor, size_bytes)
    try:
        write_all(descriptor, data)
        if sync:
            fsync(descriptor)
    except OSError:
        cut_back(descriptor, size_bytes)
        raise


def fsync_path(path: Path) -> None:
    """Make the content of the file `path` durable, or the names created or renamed in a folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put `data` at `path` all or nothing: temporary file, fsync, rename, fsync of the folder.

    `mode`: who may read and write it, less what the umask takes.

    Raises StorageError or a subclass; `path` is then what it was before.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    with translated(f"write {path}"):
        with _synced(temporary, mode) as descriptor:
            write_all(descriptor, data)
        try:
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        fsync_path(path.parent)


def rewrite(path: Path, size_bytes: int, sha256: str) -> None:
    """Put the first `size_bytes` of the file at `path` into a new file in its place, durable but for its name.

    Raises StorageError, and DataLost where they cannot be read or `sha256` is not theirs; the file is then as it was.
    """
    temporary = path.with_name(path.name + _REWRITTEN_SUFFIX)
    with translated(f"write {path} again"):
        with _synced(temporary, 0o644) as descriptor:
            _copy(path, descriptor, size_bytes, sha256)
        temporary.replace(path)


@contextmanager
def _synced(path: Path, mode: int) -> Iterator[int]:
    """A new file to write to, with an fsync at the end; gone again where any of that fails."""
    path.unlink(missing_ok=True)  # one that was left behind would keep its mode
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        yield descriptor
        fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _copy(path: Path, descriptor: int, size_bytes: int, sha256: str) -> None:
    """Write the first `size_bytes` of the file at `path`. Raises DataLost where they are not those of `sha256`."""
    digest = hashlib.sha256()
    for data in _read_back(path, size_bytes):
        digest.update(data)
        write_all(descriptor, data)
    if digest.hexdigest() != sha256:
        raise DataLost(f"{path} is not what was written to it; check the disk, and repair the recording")


def _read_back(path: Path, size_bytes: int) -> Iterator[bytes]:
    try:
        source = os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise DataLost(f"{path} is not there any more; repair the recording") from error
    try:
        for start in range(0, size_bytes, _COPIED_AT_ONCE_BYTES):
            try:
                data = os.pread(source, min(_COPIED_AT_ONCE_BYTES, size_bytes - start), start)
            except OSError as error:
                raise DataLost(f"read {path}: {error.strerror}; check the disk, and repair the recording") from error
            yield data
    finally:
        os.close(source)


def make_directory(path: Path) -> None:
    """Create the folder `path` (and its parents) durably; one that is there already is fine."""
    with translated(f"create {path}"):
        made = [folder for folder in path.parents if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in (path, *made):
            fsync_path(folder.parent)


def lock(descriptor: int, path: Path) -> None:
    """Take the writer's lock on an open file; it ends with the process or the descriptor.

    Raises RecordingBusy when another writer has it.
    """
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return
    raise RecordingBusy(f"{path} is being written by another process; stop that one first")


def open_locked(path: Path, flags: int) -> int:
    """A descriptor of the file that is at `path`, opened with `flags`, which holds the writer's lock as `lock` does.

    Who had the lock may have replaced the file or moved it away, so that what was opened before is nobody's any more:
    then what is there by now is opened. Raises RecordingBusy, OSError.
    """
    for _ in range(_OPEN_ATTEMPTS):
        descriptor = os.open(path, flags, 0o644)
        try:
            lock(descriptor, path)
            there = _is_at(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        if there:
            return descriptor
        os.close(descriptor)
    raise RecordingBusy(f"{path} is replaced by other processes all the time; stop those first")


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`. Raises OSError."""
    opened = os.fstat(descriptor)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino)


def is_locked(path: Path) -> bool:
    """Whether a writer has `path` open. False when the file is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, f"open {path}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False

"""How a recording leaves its folder so that the end of the process, at any time, neither loses nor strands it.

It moves twice: out of everybody's reach, where it is only set aside, and from there, once nobody was found to use it,
into the trash. Only what is in the trash is removed; what was set aside and not confirmed goes back to its place.
Blocking.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import structlog

from media.errors import RecordingBusy, StorageError
from media.record.storage import fsync_path, lock, make_directory, translated

SET_ASIDE_NAME = ".set-aside"
TRASH_NAME = ".trash"
LOCK_NAME = ".prune.lock"

_log = structlog.get_logger(__name__)


@contextmanager
def only_pruner(root: Path) -> Iterator[None]:
    """Be the only one who deletes in the folder `root`. Raises RecordingBusy when another process does."""
    path = root / LOCK_NAME
    with translated(f"open {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            lock(descriptor, path)
        except RecordingBusy as error:
            raise RecordingBusy(
                f"{root} is being pruned by another process; try again when that one is done"
            ) from error
        yield
    finally:
        os.close(descriptor)


def throw_away(root: Path, name: str, in_use: Callable[[], bool]) -> Path | None:
    """Move the recording `name` into the trash, and say where it is; None, and nothing moved, when it is in use.

    `in_use` is asked once nobody can open the recording any more; whatever it raises, the recording is back in its
    place then. Raises that, and StorageError.
    """
    path, aside, thrown = root / name, root / SET_ASIDE_NAME / name, root / TRASH_NAME / name
    make_directory(aside.parent)
    make_directory(thrown.parent)
    if thrown.exists():
        remove(thrown)
    try:
        move(path, aside)
        if in_use():
            return None
        move(aside, thrown)
    finally:
        if aside.exists():
            move(aside, path)
    return thrown


def put_back(root: Path) -> int:
    """Put back what an earlier run set aside and could not ask about; how many recordings. Logs what fails.

    One whose place was taken meanwhile gets a name beside it, such as `name.2`.
    """
    done = 0
    for path in _entries(root / SET_ASIDE_NAME):
        target = _free_place(root / path.name)
        try:
            move(path, target)
        except StorageError as error:
            _log.error("retention_stays_set_aside", path=str(path), code=error.code, error=str(error))
        else:
            done += 1
            _log.warning("retention_put_back", recording=path.name, path=str(target))
    return done


def has_set_aside(root: Path) -> bool:
    """Whether an earlier run left something that `put_back` would put back."""
    return bool(_entries(root / SET_ASIDE_NAME))


def empty_trash(root: Path) -> int:
    """Remove what an earlier run threw away and could not remove; how many recordings that was. Logs what fails."""
    removed = 0
    for path in _entries(root / TRASH_NAME):
        try:
            remove(path)
        except StorageError as error:
            _log.error("retention_trash_stays", path=str(path), code=error.code, error=str(error))
        else:
            removed += 1
            _log.info("retention_trash_removed", recording=path.name)
    return removed


def remove(path: Path) -> None:
    """Remove a folder or file. Raises StorageError; what is left then can be removed later."""
    with translated(f"remove {path}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _entries(folder: Path) -> list[Path]:
    with translated(f"list {folder}"):
        return sorted(folder.iterdir()) if folder.is_dir() else []


def _free_place(path: Path) -> Path:
    if not path.exists():
        return path
    return next(place for number in count(2) if not (place := path.with_name(f"{path.name}.{number}")).exists())


def move(path: Path, target: Path) -> None:
    """Give a folder or file another place on the same disk, durably. Raises StorageError."""
    with translated(f"move {path} to {target}"):
        path.rename(target)
        fsync_path(path.parent)
        fsync_path(target.parent)

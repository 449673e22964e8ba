"""Retention carried out on a folder of recordings. Blocking; safe against the end of the process at any time.

A recording is renamed into the folder's `.trash` and is gone with that; what is there is then removed, now or by the
next run.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from media.errors import MediaError, RecordingBusy, StorageError
from media.record.handoff import JournalTail
from media.record.handoff_cursor import CURSOR_NAME, read_cursor
from media.record.journal import JOURNAL_NAME
from media.record.reader import RecordingSummary, list_recordings
from media.record.retention import Deletion, Hold, RetentionCandidate, RetentionLimits, decide_deletions
from media.record.storage import fsync_directory, is_locked, lock, make_directory, translated

TRASH_NAME = ".trash"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InUse:
    """Ids of recordings that a room writes or is to go on with, and of those that an export has yet to read."""

    recorded: Collection[str] = ()
    exported: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run did. `held`: recordings kept whatever the limits, and why. `failed`: could not be deleted."""

    deleted: tuple[Deletion, ...]
    held: tuple[RetentionCandidate, ...]
    failed: tuple[Deletion, ...] = ()


def prune_recordings(
    root: Path, limits: RetentionLimits, in_use: Callable[[], InUse], now: float, *, dry_run: bool = False
) -> Pruned:
    """Delete what is over the limits in the folder `root`, at `now` (Unix seconds); `dry_run` only says what.

    `in_use` is asked before, and again for each recording once nobody can open it any more: one that came into use in
    between is put back. Raises StorageError when `root` cannot be read, and what `in_use` raises.
    """
    if not dry_run:
        empty_trash(root)
    uses = in_use()
    candidates = [_candidate(summary, uses) for summary in list_recordings(root)]
    planned = decide_deletions(candidates, limits, now)
    held = tuple(item for item in candidates if item.hold is not None)
    if dry_run:
        return Pruned(planned, held)
    deleted: list[Deletion] = []
    failed: list[Deletion] = []
    for deletion in planned:
        try:
            if _delete(root, deletion, in_use):
                deleted.append(deletion)
        except MediaError as error:
            failed.append(deletion)
            _log.error("retention_failed", recording=deletion.recording_id, code=error.code, error=str(error))
    return Pruned(tuple(deleted), held, tuple(failed))


def empty_trash(root: Path) -> int:
    """Remove what an earlier run threw away and could not remove; how many recordings that was. Logs what fails."""
    trash = root / TRASH_NAME
    if not trash.is_dir():
        return 0
    with translated(f"list {trash}"):
        left = sorted(trash.iterdir())
    removed = 0
    for path in left:
        try:
            _remove(path)
        except StorageError as error:
            _log.error("retention_trash_stays", path=str(path), code=error.code, error=str(error))
        else:
            removed += 1
            _log.info("retention_trash_removed", recording=path.name)
    return removed


def _candidate(summary: RecordingSummary, uses: InUse) -> RetentionCandidate:
    journal = summary.path / JOURNAL_NAME
    try:
        hold = _hold(summary, uses)
        with translated(f"read {journal}"):
            ended_at = summary.ended_at or (journal.stat().st_mtime if journal.exists() else 0.0)
    except MediaError as error:
        _log.warning("retention_unreadable", recording=summary.path.name, code=error.code, error=str(error))
        hold, ended_at = Hold.DAMAGED, summary.started_at
    return RetentionCandidate(summary.path.name, ended_at, summary.size_bytes, hold)


def _hold(summary: RecordingSummary, uses: InUse) -> Hold | None:
    name = summary.path.name
    if name in uses.recorded or is_locked(summary.path / JOURNAL_NAME):
        return Hold.RECORDED
    if name in uses.exported:
        return Hold.EXPORTED
    if summary.problem:
        return Hold.DAMAGED
    return None if _is_handed_off(summary) else Hold.NOT_HANDED_OFF


def _is_handed_off(summary: RecordingSummary) -> bool:
    """Whether nobody waits for a segment. A recording without a cursor was never to be handed off."""
    if not (summary.path / CURSOR_NAME).exists():
        return True
    cursor = read_cursor(summary.path)
    return all((segment.track, segment.sequence) in cursor for segment in JournalTail(summary.path).read())


def _delete(root: Path, deletion: Deletion, in_use: Callable[[], InUse]) -> bool:
    """Delete one recording; False when it came into use after all."""
    path, trash = root / deletion.recording_id, root / TRASH_NAME
    make_directory(trash)
    thrown = trash / deletion.recording_id
    if thrown.exists():
        _remove(thrown)
    try:
        with _written_by_nobody(path):
            _rename(path, thrown)
            uses = in_use()
            if deletion.recording_id in {*uses.recorded, *uses.exported}:
                _rename(thrown, path)
                return False
    except RecordingBusy:
        return False
    _remove(thrown)
    _log.info(
        "recording_deleted",
        recording=deletion.recording_id,
        reason=deletion.reason.value,
        age_s=round(deletion.age_s),
        size_bytes=deletion.size_bytes,
    )
    return True


@contextmanager
def _written_by_nobody(path: Path) -> Iterator[None]:
    """Keep writers out of the recording for as long. Raises RecordingBusy when one has it."""
    journal = path / JOURNAL_NAME
    with translated(f"open {journal}"):
        descriptor = os.open(journal, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lock(descriptor, journal)
        yield
    finally:
        os.close(descriptor)


def _rename(path: Path, target: Path) -> None:
    with translated(f"move {path} to {target}"):
        path.rename(target)
        fsync_directory(path.parent)
        fsync_directory(target.parent)


def _remove(path: Path) -> None:
    with translated(f"remove {path}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

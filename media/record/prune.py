"""Recordings deleted from a folder: those over limits, or one. Blocking; safe against the process's end any time."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from media.errors import MediaError, RecordingBusy, RecordingNotFound
from media.record.handoff import JournalTail
from media.record.handoff_cursor import CURSOR_NAME, read_cursor
from media.record.journal import JOURNAL_NAME
from media.record.reader import RecordingSummary, list_recordings, summarise
from media.record.recording_id import is_recording_id
from media.record.retention import (
    Deletion,
    Hold,
    RetentionCandidate,
    RetentionLimits,
    RetentionReason,
    awaits_handoff,
    decide_deletions,
)
from media.record.storage import is_locked, open_locked, translated
from media.record.trash import empty_trash, has_set_aside, only_pruner, put_back, remove, throw_away

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
    between is put back. Raises RecordingBusy, with nothing done, while another process prunes `root`, StorageError
    when `root` cannot be read, and what `in_use` raises.
    """
    with translated(f"list {root}"):
        if not root.exists():
            return Pruned((), ())
    if dry_run:
        return _plan(root, limits, in_use, now)
    with only_pruner(root):
        put_back(root)
        empty_trash(root)
        return _carry_out(root, _plan(root, limits, in_use, now), in_use)


def delete_recording(root: Path, recording_id: str, in_use: Callable[[], InUse], now: float) -> Deletion:
    """Delete a recording of the folder `root`, whole or damaged, handed off or not. `in_use`: as `prune_recordings`.

    Who reads its files meanwhile goes on with those that are open, and finds no others. Raises RecordingNotFound,
    RecordingBusy with nothing done where it is in use or another process prunes `root`, and StorageError.
    """
    path = root / recording_id
    missing = RecordingNotFound(f"there is no recording at {path}")
    if not is_recording_id(recording_id) or not path.is_dir():
        raise missing
    with only_pruner(root):
        put_back(root)
        if (summary := summarise(path)) is None:
            raise missing
        _raise_if_used(recording_id, in_use())
        size_bytes = summary.size_bytes + summary.muxed_bytes
        age_s = now - _candidate(summary, InUse(), now).ended_at
        deletion = Deletion(recording_id, RetentionReason.REQUESTED, age_s, size_bytes, summary.room)
        if not _delete(root, deletion, in_use):
            _raise_if_used(recording_id, in_use())
            raise RecordingBusy(f"recording {recording_id} is being written; stop that first")
    return deletion


def _raise_if_used(recording_id: str, uses: InUse) -> None:
    if recording_id in uses.recorded:
        raise RecordingBusy(f"a room writes recording {recording_id}, or is to go on with it; stop the recording first")
    if recording_id in uses.exported:
        raise RecordingBusy(f"an export still reads recording {recording_id}; cancel it, or wait until it has ended")


def recover_set_aside(root: Path) -> int:
    """Put back what a run that died had set aside, and how many recordings that was; to be done before rooms go on.

    Raises StorageError, and RecordingBusy while another process prunes `root`, which puts back what it does not delete.
    """
    if not has_set_aside(root):
        return 0
    with only_pruner(root):
        return put_back(root)


def _plan(root: Path, limits: RetentionLimits, in_use: Callable[[], InUse], now: float) -> Pruned:
    uses = in_use()
    candidates = [_candidate(summary, uses, now) for summary in list_recordings(root)]
    return Pruned(
        decide_deletions(candidates, limits, now), tuple(item for item in candidates if item.hold is not None)
    )


def _carry_out(root: Path, plan: Pruned, in_use: Callable[[], InUse]) -> Pruned:
    deleted: list[Deletion] = []
    failed: list[Deletion] = []
    for deletion in plan.deleted:
        try:
            if _delete(root, deletion, in_use):
                deleted.append(deletion)
        except MediaError as error:
            failed.append(deletion)
            _log.error("retention_failed", recording=deletion.recording_id, code=error.code, error=str(error))
    return Pruned(tuple(deleted), plan.held, tuple(failed))


def _candidate(summary: RecordingSummary, uses: InUse, now: float) -> RetentionCandidate:
    try:
        ended_at = _ended_at(summary)
        hold = _hold(summary, uses, may_await_handoff=awaits_handoff(ended_at, now))
    except MediaError as error:
        _log.warning("retention_unreadable", recording=summary.path.name, code=error.code, error=str(error))
        hold, ended_at = Hold.DAMAGED, summary.started_at
    return RetentionCandidate(summary.path.name, ended_at, summary.size_bytes + summary.muxed_bytes, hold, summary.room)


def _ended_at(summary: RecordingSummary) -> float:
    """When it was closed, or else last written. Raises StorageError."""
    if summary.ended_at is not None:
        return summary.ended_at
    journal = summary.path / JOURNAL_NAME
    with translated(f"read {journal}"):
        return journal.stat().st_mtime if journal.exists() else 0.0


def _hold(summary: RecordingSummary, uses: InUse, *, may_await_handoff: bool) -> Hold | None:
    name = summary.path.name
    if name in uses.recorded or is_locked(summary.path / JOURNAL_NAME):
        return Hold.RECORDED
    if name in uses.exported:
        return Hold.EXPORTED
    if summary.problem:
        return Hold.DAMAGED
    return Hold.NOT_HANDED_OFF if may_await_handoff and not _is_handed_off(summary) else None


def _is_handed_off(summary: RecordingSummary) -> bool:
    """Whether nobody waits for a segment. A recording without a cursor was never to be handed off."""
    if not (summary.path / CURSOR_NAME).exists():
        return True
    cursor = read_cursor(summary.path)
    return all((segment.track, segment.sequence) in cursor for segment in JournalTail(summary.path).read())


def _delete(root: Path, deletion: Deletion, in_use: Callable[[], InUse]) -> bool:
    """Delete one recording; False when it came into use after all."""
    name = deletion.recording_id

    def used() -> bool:
        uses = in_use()
        return name in uses.recorded or name in uses.exported

    try:
        with _written_by_nobody(root / name):
            thrown = throw_away(root, name, used)
    except RecordingBusy:
        return False
    if thrown is None:
        return False
    remove(thrown)
    _log.info(
        "recording_deleted",
        recording=name,
        reason=deletion.reason.value,
        age_s=round(deletion.age_s),
        size_bytes=deletion.size_bytes,
    )
    return True


@contextmanager
def _written_by_nobody(path: Path) -> Iterator[None]:
    """Keep writers out of the recording for as long; without its journal nobody can write it.

    Raises RecordingBusy when one has it, StorageError.
    """
    descriptor = None
    with translated(f"open {path / JOURNAL_NAME}"), contextlib.suppress(FileNotFoundError):
        descriptor = open_locked(path / JOURNAL_NAME, os.O_RDONLY)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)

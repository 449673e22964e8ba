"""Exports deleted: one that somebody names, or those over limits. Blocking."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from media.errors import ExportNotFound, MediaError
from media.export.job import ExportStatus
from media.export.removal import size_on_disk
from media.record.retention import RetentionCandidate, RetentionLimits, RetentionReason, decide_deletions

_log = structlog.get_logger(__name__)


class RemovableExports(Protocol):
    """The export queue, as far as deleting needs it."""

    def list(self) -> tuple[ExportStatus, ...]:
        """All exports."""

    def status(self, export_id: str) -> ExportStatus:
        """One export."""

    def remove(self, export_id: str) -> None:
        """Take an export that has ended off the list, and its files from the disk."""


@dataclass(frozen=True, slots=True)
class ExportDeletion:
    """An export to delete, and why. `age_s` counts from its end."""

    export_id: str
    recording_id: str
    reason: RetentionReason
    age_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PrunedExports:
    """What a run did. `failed`: could not be deleted, or not wholly."""

    deleted: tuple[ExportDeletion, ...]
    failed: tuple[ExportDeletion, ...] = ()


def delete_export(exports: RemovableExports, export_id: str, now: float) -> ExportDeletion:
    """Delete an export that has ended, with its files. Raises ExportNotFound, ExportBusy, StorageError."""
    status = exports.status(export_id)
    deletion = _deletion(status, RetentionReason.REQUESTED, now)
    exports.remove(export_id)
    _tell(deletion)
    return deletion


def prune_exports(
    exports: RemovableExports, root: Path, limits: RetentionLimits, now: float, *, dry_run: bool = False
) -> PrunedExports:
    """Delete the exports below the folder `root` that are over the limits at `now` (Unix seconds).

    Never one that has not ended. What was exported to elsewhere is its owner's: it neither goes nor counts. `dry_run`
    only says what would go. Raises StorageError when the queue cannot be read.
    """
    planned = _plan(exports.list(), root, limits, now)
    if dry_run:
        return PrunedExports(planned)
    deleted: list[ExportDeletion] = []
    failed: list[ExportDeletion] = []
    for deletion in planned:
        try:
            exports.remove(deletion.export_id)
        except ExportNotFound:
            continue  # somebody else was faster
        except MediaError as error:
            failed.append(deletion)
            _log.error("export_retention_failed", export=deletion.export_id, code=error.code, error=str(error))
        else:
            deleted.append(deletion)
            _tell(deletion)
    return PrunedExports(tuple(deleted), tuple(failed))


def _plan(
    statuses: Iterable[ExportStatus], root: Path, limits: RetentionLimits, now: float
) -> tuple[ExportDeletion, ...]:
    """The same decision as for recordings, with an export for each of them."""
    folder = root.resolve()
    ended = {
        status.export_id: status
        for status in statuses
        if status.state.final and status.request.out_dir.resolve().is_relative_to(folder)
    }
    candidates = [RetentionCandidate(key, status.updated_at, _size(status)) for key, status in ended.items()]
    return tuple(
        _deletion(ended[item.recording_id], item.reason, now)
        for item in decide_deletions(candidates, limits, now)
        if item.reason is not RetentionReason.SIZE or item.size_bytes > 0  # one without files makes no room
    )


def _size(status: ExportStatus) -> int:
    try:
        return size_on_disk(status)
    except MediaError as error:
        _log.warning("export_unreadable", export=status.export_id, code=error.code, error=str(error))
        return 0


def _deletion(status: ExportStatus, reason: RetentionReason, now: float) -> ExportDeletion:
    name = status.request.recording_path.name
    return ExportDeletion(status.export_id, name, reason, now - status.updated_at, _size(status))


def _tell(deletion: ExportDeletion) -> None:
    _log.info(
        "export_deleted",
        export=deletion.export_id,
        recording=deletion.recording_id,
        reason=deletion.reason.value,
        age_s=round(deletion.age_s),
        size_bytes=deletion.size_bytes,
    )

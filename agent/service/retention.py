"""Deletes old recordings and exports each minute, where limits are set; or a single recording.

`media.record.prune` and `media.export.prune` with what this service knows.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol

import structlog

from agent.config import Settings
from agent.service.deletions import Deletions
from agent.tasks import Tasks
from media.errors import MediaError, RecordingBusy
from media.export.job import ExportStatus
from media.export.prune import RemovableExports, prune_exports
from media.record.prune import InUse, Pruned, delete_recording, prune_recordings, recover_set_aside
from media.record.retention import Deletion, RetentionLimits

INTERVAL_S = 60.0

log = structlog.get_logger(__name__)


class ExportUses(Protocol):
    """The export queue, as far as deleting needs it."""

    def list(self) -> tuple[ExportStatus, ...]:
        """All exports."""

    def forget_recording(self, recording_path: Path) -> None:
        """The recording is gone for good."""


class KeptExports(ExportUses, RemovableExports, Protocol):
    """The export queue, as far as retention needs it."""

    def finish_removals(self) -> int:
        """Go on with what was removed and is not gone yet; how many could not be."""


class RecordedIds(Protocol):
    """Who knows which recordings rooms write or are to go on with."""

    def __call__(self) -> Iterable[str]:
        """Their ids; safe to call from any thread."""


def retention_limits(settings: Settings) -> RetentionLimits:
    """The limits that are set."""
    return RetentionLimits(settings.retention_max_age_s, settings.retention_max_bytes)


def export_retention_limits(settings: Settings) -> RetentionLimits:
    """The limits that are set for exports."""
    return RetentionLimits(settings.export_retention_max_age_s, settings.export_retention_max_bytes)


def in_use(root: Path, recorded: Iterable[str], exports: Iterable[ExportStatus]) -> InUse:
    """What of the folder `root` is in use: exports that have not ended still have to read their recording."""
    folder = root.resolve()
    exported = frozenset(
        status.request.recording_path.name
        for status in exports
        if not status.state.final and status.request.recording_path.resolve().parent == folder
    )
    return InUse(frozenset(recorded), exported)


def prune(
    root: Path,
    limits: RetentionLimits,
    recorded: RecordedIds,
    exports: ExportUses,
    now: float,
    *,
    dry_run: bool = False,
) -> Pruned:
    """Delete what is over `limits`, and have the export queue forget it. Blocking. Raises as `prune_recordings`."""
    pruned = prune_recordings(root, limits, lambda: in_use(root, recorded(), exports.list()), now, dry_run=dry_run)
    if not dry_run:
        for deletion in pruned.deleted:
            exports.forget_recording(root / deletion.recording_id)
    return pruned


def delete(root: Path, recording_id: str, recorded: RecordedIds, exports: ExportUses, now: float) -> Deletion:
    """Delete one recording, and have the export queue forget it. Blocking. Raises as `delete_recording`."""
    deletion = delete_recording(root, recording_id, lambda: in_use(root, recorded(), exports.list()), now)
    exports.forget_recording(root / recording_id)
    return deletion


class Retention:
    """Prunes the folders of recordings and exports from `start` to `aclose`."""

    def __init__(
        self,
        settings: Settings,
        recorded: RecordedIds,
        exports: KeptExports,
        deletions: Deletions,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now`: Unix seconds as the system's clock says, which may be set right only after the service has started."""
        self._root = settings.recordings_dir.absolute()
        self._limits = retention_limits(settings)
        self._exports_root = settings.exports_dir.absolute()
        self._export_limits = export_retention_limits(settings)
        self._recorded = recorded
        self._exports = exports
        self._deletions = deletions
        self._now = now
        self._tasks = Tasks("retention")

    async def recover(self) -> None:
        """Put back what a run that died had set aside; before rooms look for the recordings they go on with."""
        try:
            await asyncio.to_thread(recover_set_aside, self._root)
        except MediaError as error:
            log.error("retention_failed", code=error.code, error=str(error))

    def start(self) -> None:
        """Prune now and then each minute; where no limit is set, only removals that were begun are finished."""
        self._tasks.start(self._keep_pruning(), name="prune")

    async def _keep_pruning(self) -> None:
        while True:
            await self.run_once()
            await asyncio.sleep(INTERVAL_S)

    async def run_once(self) -> None:
        """Prune once, and tell what was done. What fails keeps nothing else from it, nor the next run."""
        await self._attempt(self._prune_recordings)
        await self._attempt(self._prune_exports)

    async def _attempt(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except RecordingBusy as error:
            log.info("retention_busy", reason=str(error))
        except MediaError as error:
            self._deletions.failed()
            log.error("retention_failed", code=error.code, error=str(error))
        except Exception:  # what is old is to be deleted the next minute all the same
            self._deletions.failed()
            log.exception("retention_failed")

    async def _prune_recordings(self) -> None:
        """Nothing while another process prunes the folder."""
        if not self._limits.any:
            return
        pruned = await asyncio.to_thread(prune, self._root, self._limits, self._recorded, self._exports, self._now())
        for deletion in pruned.deleted:
            self._deletions.recording(deletion)
        self._deletions.failed(len(pruned.failed))

    async def _prune_exports(self) -> None:
        self._deletions.failed(await asyncio.to_thread(self._exports.finish_removals))
        if not self._export_limits.any:
            return
        root, limits = self._exports_root, self._export_limits
        pruned = await asyncio.to_thread(prune_exports, self._exports, root, limits, self._now())
        for deletion in pruned.deleted:
            self._deletions.export(deletion)
        self._deletions.failed(len(pruned.failed))

    async def aclose(self) -> None:
        """Prune no more; idempotent. A deletion that is under way in its thread is finished by the next run."""
        await self._tasks.aclose()

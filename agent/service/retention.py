"""Deletes old recordings each minute, where limits are set; or one: `media.record.prune` as this service knows it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import structlog

from agent.config import Settings
from agent.service.deletions import Deletions
from agent.tasks import Tasks
from media.errors import MediaError, RecordingBusy
from media.export.job import ExportStatus
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


class RecordedIds(Protocol):
    """Who knows which recordings rooms write or are to go on with."""

    def __call__(self) -> Iterable[str]:
        """Their ids; safe to call from any thread."""


def retention_limits(settings: Settings) -> RetentionLimits:
    """The limits that are set."""
    return RetentionLimits(settings.retention_max_age_s, settings.retention_max_bytes)


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
    """Prunes one folder from `start` to `aclose`."""

    def __init__(
        self,
        settings: Settings,
        recorded: RecordedIds,
        exports: ExportUses,
        deletions: Deletions,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now`: Unix seconds as the system's clock says, which may be set right only after the service has started."""
        self._root = settings.recordings_dir.absolute()
        self._limits = retention_limits(settings)
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
        """Prune now and then each minute; nothing where no limit is set."""
        if self._limits.any:
            self._tasks.start(self._keep_pruning(), name="prune")

    async def _keep_pruning(self) -> None:
        while True:
            await self.run_once()
            await asyncio.sleep(INTERVAL_S)

    async def run_once(self) -> None:
        """Prune once, and count what was done; nothing while another process prunes the folder."""
        try:
            pruned = await asyncio.to_thread(
                prune, self._root, self._limits, self._recorded, self._exports, self._now()
            )
        except RecordingBusy as error:
            log.info("retention_busy", reason=str(error))
            return
        except MediaError as error:
            self._deletions.failed()
            log.error("retention_failed", code=error.code, error=str(error))
            return
        except Exception:  # old recordings are to be deleted the next minute all the same
            self._deletions.failed()
            log.exception("retention_failed")
            return
        for deletion in pruned.deleted:
            self._deletions.recording(deletion)
        self._deletions.failed(len(pruned.failed))

    async def aclose(self) -> None:
        """Prune no more; idempotent. A deletion that is under way in its thread is finished by the next run."""
        await self._tasks.aclose()

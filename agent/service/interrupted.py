"""Finishes, once after the service has started, what writers that died left open in the folder of recordings."""

import asyncio
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from agent.tasks import Tasks
from media.errors import MediaError, RecordingBusy
from media.record.journal import JOURNAL_NAME
from media.record.storage import is_locked, translated
from media.record.unfinished import finish_unfinished, is_left_open

log = structlog.get_logger(__name__)


class Interrupted:
    """For one folder. `recorded_ids`: recordings that rooms write or go on with, who finish them themselves."""

    def __init__(self, root: Path, recorded_ids: Callable[[], Collection[str]]) -> None:
        self._root = root
        self._recorded_ids = recorded_ids
        self._closing = threading.Event()
        self._tasks = Tasks("interrupted")

    def start(self) -> None:
        """Begin, once rooms know which recordings they go on with. It takes as long as it takes to read the files."""
        self._tasks.start(asyncio.to_thread(self.finish_all), name="finish")

    def finish_all(self) -> None:
        """Finish one recording after the other. Blocking. What cannot be finished is logged, and left to a repair."""
        try:
            with translated(f"list {self._root}"):
                folders = sorted(self._root.iterdir()) if self._root.exists() else []
        except MediaError as error:
            log.error("interrupted_not_listed", code=error.code, error=str(error))
            return
        for folder in folders:
            if self._closing.is_set():
                return
            self._finish(folder)

    def _finish(self, path: Path) -> None:
        journal = path / JOURNAL_NAME
        try:
            with translated(f"look at {path}"):
                if not journal.exists():
                    return
            if path.name in self._recorded_ids() or is_locked(journal) or not is_left_open(path):
                return
            segments = finish_unfinished(path)
        except RecordingBusy:
            pass  # somebody else went on with it
        except MediaError as error:
            log.warning("interrupted_not_finished", recording=path.name, code=error.code, error=str(error))
        else:
            log.info("interrupted_finished", recording=path.name, segments=segments)

    async def aclose(self) -> None:
        """Begin with no further recording; idempotent. The one that is under way in its thread is finished."""
        self._closing.set()
        await self._tasks.aclose()

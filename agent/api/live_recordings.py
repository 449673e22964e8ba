"""The recordings that somebody watches while they go on: one reader each, shared by all who watch, let go when idle."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from media.errors import RecordingNotFound
from media.package.live_playlist import PlaylistOptions
from media.package.live_reader import LiveBytes, LiveReader, LiveView

T = TypeVar("T")

POLL_S = 0.05  # a tenth of a part: the delay it adds is small beside a part's own
_IDLE_S = 60.0  # a player that is paused asks no more; reading a long recording anew takes a moment
_MOST = 200  # readers kept; the one asked for longest ago goes first

_PROMISED_SLACK_S = 2.0  # until a sender answers a request for a sync sample, a segment grows beyond its duration


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """The recorder's settings, which the playlists promise to players."""

    segment_duration_s: float = 6.0
    part_duration_s: float = 0.5

    @property
    def target_duration_s(self) -> int:
        """The target duration of all playlists."""
        return math.ceil(self.segment_duration_s + _PROMISED_SLACK_S)

    def options(self, view: LiveView, *, window_s: float | None, query: str) -> PlaylistOptions:
        """How a track of `view` is told."""
        return PlaylistOptions(self.target_duration_s, self.part_duration_s, view.started_at, window_s, query)


class LiveRecording:
    """One recording's reader. Its reads run in threads, one at a time; those who ask meanwhile share the answer."""

    def __init__(self, path: Path, settings: LiveSettings) -> None:
        self._reader = LiveReader(
            path, segment_duration_s=settings.segment_duration_s, part_duration_s=settings.part_duration_s
        )
        self._lock = asyncio.Lock()
        self._refreshing: asyncio.Task[LiveView] | None = None
        self.asked_at = 0.0

    async def refresh(self) -> LiveView:
        """The recording as it is now. Raises RecordingNotFound, LiveNotReady, StorageError."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._read(self._reader.refresh), name="live.refresh")
        return await asyncio.shield(self._refreshing)

    async def until(self, view: LiveView, condition: Callable[[LiveView], bool], timeout_s: float) -> LiveView:
        """The recording, which was `view` just now, once `condition` holds. Raises TimeoutError, and as `refresh`."""
        async with asyncio.timeout(timeout_s):
            while not condition(view):
                await asyncio.sleep(POLL_S)
                view = await self.refresh()
        return view

    async def segment(self, track: int, name: str, start: int, size_bytes: int | None) -> LiveBytes:
        """As `LiveReader.segment`."""
        return await self._read(lambda: self._reader.segment(track, name, start, size_bytes))

    async def init_segment(self, track: int, name: str) -> LiveBytes:
        """As `LiveReader.init_segment`."""
        return await self._read(lambda: self._reader.init_segment(track, name))

    async def _read(self, read: Callable[[], T]) -> T:
        async with self._lock:
            return await asyncio.to_thread(read)


class LiveRecordings:
    """All of them, by folder."""

    def __init__(self, settings: LiveSettings | None = None) -> None:
        self.settings = settings or LiveSettings()
        self._recordings: dict[Path, LiveRecording] = {}

    async def open(self, path: Path) -> tuple[LiveRecording, LiveView]:
        """The recording in the folder `path`, and how it is now. Raises as `LiveRecording.refresh`."""
        found = self._take(path)
        try:
            return found, await found.refresh()
        except RecordingNotFound:
            self._recordings.pop(path, None)
            raise

    def _take(self, path: Path) -> LiveRecording:
        now = asyncio.get_running_loop().time()
        idle = [known for known, item in self._recordings.items() if now - item.asked_at > _IDLE_S]
        for known in idle:
            del self._recordings[known]
        found = self._recordings.pop(path, None) or LiveRecording(path, self.settings)
        found.asked_at = now
        self._recordings[path] = found  # at the end: the first is the one asked for longest ago
        if len(self._recordings) > _MOST:
            del self._recordings[next(iter(self._recordings))]
        return found

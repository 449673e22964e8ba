"""Handing closed segments to whoever exports them: at least once, in order per track, across restarts."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from media.errors import DiskReadOnly, MediaError, RecordingNotFound
from media.record.entries import SegmentEntry
from media.record.handoff_cursor import HandoffCursor, read_cursor, write_cursor
from media.record.journal import JOURNAL_NAME
from media.record.journal_line import decode_line
from media.record.storage import translated

_log = structlog.get_logger(__name__)

_POLL_S = 2.0
"""`notify` says when there is something new; this catches what a writer in another process closed."""

_DRAIN_ATTEMPTS = 3
"""How often `drain` lets a segment fail before it leaves the rest to the next start."""


class SegmentSink(Protocol):
    """Takes closed segments. Must be idempotent by `SegmentEntry.id`: after a crash one may come again."""

    async def hand_off(self, segment: SegmentEntry, recording_path: Path) -> None:
        """Take `segment`, whose file is under `recording_path`. It counts as taken for good once this returns.

        Raises a MediaError: one that is `retryable`, or DiskReadOnly, has it handed off again later, any other sets
        it aside until the next start.
        """


@dataclass(frozen=True, slots=True)
class HandoffConfig:
    """Pauses after a failure: the first, doubled up to the longest."""

    retry_first_s: float = 1.0
    retry_max_s: float = 60.0


@dataclass(slots=True)
class _TrackQueue:
    """Segments of one track that wait, oldest first."""

    waiting: deque[SegmentEntry] = field(default_factory=deque)
    attempts: int = 0
    not_before: float = 0.0
    error: MediaError | None = None


class JournalTail:
    """Reads segment entries from a journal as it grows. Only whole, sound lines count."""

    def __init__(self, recording_path: Path) -> None:
        self._path = recording_path / JOURNAL_NAME
        self._position = 0

    def read(self) -> list[SegmentEntry]:
        """The segments journaled since the last call. Raises RecordingNotFound, StorageError."""
        with translated(f"read {self._path}"):
            try:
                with self._path.open("rb") as file:
                    file.seek(self._position)
                    data = file.read()
            except FileNotFoundError as error:
                raise RecordingNotFound(f"there is no journal at {self._path}") from error
        end = data.rfind(b"\n") + 1
        found: list[SegmentEntry] = []
        for line in data[:end].splitlines(keepends=True):
            with contextlib.suppress(ValueError):
                entry = decode_line(line).entry
                if isinstance(entry, SegmentEntry):
                    found.append(entry)
        self._position += end
        return found


class Handoff:
    """Hands off one recording's segments while it is written, and what an earlier run left.

    It reads the journal, so nothing that was closed can be missed, and holds one small entry in memory per
    segment not yet taken. One segment is handed off at a time; a track that fails waits and holds back only itself.
    """

    def __init__(self, recording_path: Path, sink: SegmentSink, config: HandoffConfig | None = None) -> None:
        self.handed_off = 0
        self.failures = 0
        self.set_aside = 0
        self._path = recording_path
        self._sink = sink
        self._config = config or HandoffConfig()
        self._tail = JournalTail(recording_path)
        self._cursor = HandoffCursor()
        self._queues: dict[int, _TrackQueue] = {}
        self._wake = asyncio.Event()
        self._drains: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Segments closed, as far as the journal was read, and not taken yet."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def start(self) -> None:
        """Begin, in a task of the running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"handoff-{self._path.name}")

    def notify(self) -> None:
        """A segment was closed. Call in the event loop."""
        self._wake.set()

    async def drain(self) -> None:
        """Wait until all that the journal holds now was taken or set aside.

        Raises the MediaError of a segment that failed three times; the next start tries it again.
        """
        self.start()
        assert self._task is not None, "just started"
        drained = asyncio.get_running_loop().create_future()
        self._drains.append(drained)
        for queue in self._queues.values():
            queue.attempts, queue.not_before = 0, 0.0
        self._wake.set()
        await asyncio.wait((drained, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            drained.cancel()
            await self._task
        else:
            drained.result()

    async def aclose(self) -> None:
        """Stop; idempotent. What was not taken is handed off by the next `Handoff` of the recording."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled() and (bug := task.exception()) is not None:
                _log.error("handoff_bug", recording=str(self._path), error=repr(bug))

    async def _run(self) -> None:
        self._cursor = await self._read_cursor()
        await self._write_cursor()  # its presence says that segments are waited for
        while True:
            self._wake.clear()
            drains, self._drains = self._drains, []
            error = await self._read_tail()
            now = asyncio.get_running_loop().time()
            due = [queue for queue in self._queues.values() if queue.waiting and queue.not_before <= now]
            for queue in due:
                await self._attempt(queue)
            unfinished = self._answer(drains, error)
            self._drains += unfinished
            if not any(queue.waiting and queue.not_before <= now for queue in self._queues.values()):
                await self._pause()

    async def _read_cursor(self) -> HandoffCursor:
        try:
            return await asyncio.to_thread(read_cursor, self._path)
        except MediaError as error:
            _log.warning("handoff_cursor_unreadable", error=str(error))
            return HandoffCursor()

    async def _read_tail(self) -> MediaError | None:
        try:
            segments = await asyncio.to_thread(self._tail.read)
        except MediaError as error:
            self.failures += 1
            _log.warning("handoff_journal_unreadable", code=error.code, error=str(error))
            return error
        for segment in segments:
            if (segment.track, segment.sequence) not in self._cursor:
                self._queues.setdefault(segment.track, _TrackQueue()).waiting.append(segment)
        return None

    async def _attempt(self, queue: _TrackQueue) -> None:
        """Hand off the oldest segment of a track."""
        segment = queue.waiting[0]
        try:
            await self._sink.hand_off(segment, self._path)
        except MediaError as error:
            self._failed(queue, segment, error)
        except Exception as error:  # noqa: BLE001 - the border to a sink that is not ours; logged and tried again
            _log.exception("handoff_sink_bug", segment=segment.id)
            self._failed(queue, segment, _SinkBug(f"the sink failed on {segment.id}: {error!r}; report it"))
        else:
            queue.waiting.popleft()
            queue.attempts, queue.not_before, queue.error = 0, 0.0, None
            self.handed_off += 1
            self._cursor.add(segment.track, segment.sequence)
            await self._write_cursor()

    def _failed(self, queue: _TrackQueue, segment: SegmentEntry, error: MediaError) -> None:
        self.failures += 1
        # Who makes the place writable expects that it goes on by itself, as the recording does.
        if not error.retryable and not isinstance(error, DiskReadOnly):
            queue.waiting.popleft()
            self.set_aside += 1
            _log.error("handoff_set_aside", segment=segment.id, code=error.code, error=str(error))
            return
        pause_s = min(self._config.retry_first_s * 2.0**queue.attempts, self._config.retry_max_s)
        queue.attempts += 1
        queue.not_before = asyncio.get_running_loop().time() + pause_s
        queue.error = error
        _log.warning("handoff_failed", segment=segment.id, code=error.code, error=str(error), retry_in_s=pause_s)

    async def _write_cursor(self) -> None:
        """A cursor that cannot be written costs a second hand-off after a restart, nothing more."""
        try:
            await asyncio.to_thread(write_cursor, self._path, self._cursor)
        except MediaError as error:
            _log.warning("handoff_cursor_not_written", code=error.code, error=str(error))

    def _answer(self, drains: list[asyncio.Future[None]], error: MediaError | None) -> list[asyncio.Future[None]]:
        """Answer those who wait for `drain` once nothing is left that may still succeed; the others wait on."""
        waiting = [queue for queue in self._queues.values() if queue.waiting]
        if error is None and any(queue.attempts < _DRAIN_ATTEMPTS for queue in waiting):
            return [drained for drained in drains if not drained.done()]
        failed = error or next((queue.error for queue in waiting if queue.error is not None), None)
        for drained in drains:
            if drained.done():
                continue
            if failed is None:
                drained.set_result(None)
            else:
                drained.set_exception(failed)
        return []

    async def _pause(self) -> None:
        """Until there is something new, or the next track that failed is due."""
        now = asyncio.get_running_loop().time()
        due = [queue.not_before - now for queue in self._queues.values() if queue.waiting]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min([_POLL_S, *due]))):
                await self._wake.wait()


class _SinkBug(MediaError):
    """What a sink raised was no MediaError."""

    retryable = True

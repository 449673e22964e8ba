"""The one thread that touches a recording's files, and what happens there when the disk refuses."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from media.errors import StorageError
from media.frames import MediaKind
from media.record.byte_queue import ByteQueue
from media.record.entries import (
    GapReason,
    RecordingClosed,
    RecordingPaused,
    RecordingState,
    RecordingUnpaused,
    SegmentEntry,
)
from media.record.event_log import EventLog
from media.record.muxed_writer import MuxedWriter
from media.record.recording_context import RecordingContext
from media.record.segmenter import SegmenterConfig
from media.record.state import RecordingEvent, next_state
from media.record.storage import TEMPORARY_SUFFIX, translated, write_all
from media.record.track_writer import TrackProgress, TrackWriter
from media.record.writer_items import (
    AppendEvent,
    Close,
    CloseTrack,
    Item,
    LoseFrames,
    MapClock,
    NoteInterruption,
    OpenTrack,
    Pause,
    Tick,
    Unpause,
    WriteFrame,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """Bounds of a recording.

    `queue_bytes`: frames that wait for the disk; 32 MiB is over a minute of a 4 Mb/s track. Beyond it the
    newest frames are dropped (video up to its next sync sample), counted, and told as a gap.
    `fsync_parts`: make each part survive a power cut (an fsync per track and second); without it a power cut
    can cost the open segments, while the death of the process costs at most their last part.
    `mux_participants`: write each participant's audio and video into one file as well (twice the bytes).
    A disk that refused is asked again with `probe_bytes` after `retry_first_s`, then ever later up to `retry_max_s`.
    """

    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    queue_bytes: int = 32 << 20
    fsync_parts: bool = False
    probe_bytes: int = 256 << 10
    retry_first_s: float = 1.0
    retry_max_s: float = 30.0
    mux_participants: bool = False


def _ignore(*_: object) -> None:
    """A callback nobody asked for."""


@dataclass(frozen=True, slots=True)
class RecordingCallbacks:
    """What a recording tells, from its writer thread: return soon, and hop to your own thread or loop.

    `on_segment`: closed and durable. `on_part`: track number, sequence, parts and samples of the open segment,
    after each part. `on_error`: the disk began to refuse. `on_keyframe_request`: the number of the track
    whose sender to ask for a sync sample. What they raise is logged and goes no further.
    """

    on_segment: Callable[[SegmentEntry], None] = _ignore
    on_part: Callable[[int, int, int, int], None] = _ignore
    on_error: Callable[[StorageError], None] = _ignore
    on_keyframe_request: Callable[[int], None] = _ignore


@dataclass(frozen=True, slots=True)
class RecordingStats:
    """Totals since this writer started, a moment old. `frames_refused`: video that nothing could decode.

    `queue_bytes` wait for the disk now. `frames_lost` sums up both kinds of loss by the kind of track.
    """

    state: RecordingState = RecordingState.RECORDING
    segments: int = 0
    frames_written: int = 0
    frames_refused: int = 0
    frames_lost_storage: int = 0
    frames_lost_overflow: int = 0
    bytes_written: int = 0
    queue_bytes: int = 0
    events_lost: int = 0
    frames_lost: Mapping[MediaKind, int] = field(default_factory=dict)


class RecordingWriter:
    """Works through the queue until `Close`. Only its thread may call anything but the properties.

    `ticks_handled` counts, and `clock_told` has of each track the latest estimate that it came to.
    """

    def __init__(
        self,
        context: RecordingContext,
        config: RecordingConfig,
        on_error: Callable[[StorageError], None],
        state: RecordingState,
        progress: dict[int, TrackProgress],
        next_muxed: dict[str, int],
    ) -> None:
        """`progress` by track number, and by folder the next number of muxed files: where earlier writers stopped."""
        self.queue: ByteQueue[Item] = ByteQueue(config.queue_bytes)
        self._muxed = MuxedWriter(context, next_muxed) if config.mux_participants else None
        self._context = context if self._muxed is None else replace(context, on_samples=self._muxed.take)
        self._config = config
        self._on_error = on_error
        self._state = next_state(state, RecordingEvent.RESUMED)
        self._paused = context.ledger.recorded_time.paused
        if self._paused:
            self._state = next_state(self._state, RecordingEvent.PAUSED)
        self._progress = progress
        self._tracks: dict[int, TrackWriter] = {}
        self._open: set[int] = set()
        self._events: dict[str, EventLog] = {}
        self._retry_at: float | None = None
        self._retry_s = config.retry_first_s
        self._now = context.started.started_at
        self._stats = RecordingStats()
        self.ticks_handled = 0
        self.clock_told: dict[int, MapClock] = {}

    @property
    def state(self) -> RecordingState:
        """What the recording is doing."""
        return self._state

    @property
    def stats(self) -> RecordingStats:
        """Totals after the last batch of items."""
        return replace(self._stats, state=self._state, queue_bytes=self.queue.held_bytes)

    def run(self) -> None:
        """The thread's work. A bug in the handling of one item suspends the tracks for a second, not for good."""
        while True:
            items = self.queue.take()
            for item, size_bytes in items:
                try:
                    self._handle(item)
                    self._write_muxed()
                except StorageError as error:
                    self._storage_failed(error)
                except Exception as error:  # noqa: BLE001 - the thread's border: log, tell, go on
                    _log.exception("recording_writer_bug", item=type(item).__name__)
                    self._storage_failed(StorageError(f"internal error while writing: {error!r}; report it"))
                finally:
                    self.queue.release(size_bytes)
            self._stats = self._totals()
            if isinstance(items[-1][0], Close):
                return

    def _totals(self) -> RecordingStats:
        tracks = [track.counters for track in self._tracks.values()]
        return RecordingStats(
            segments=self._context.ledger.segments,
            frames_written=sum(track.written for track in tracks),
            frames_refused=sum(track.refused for track in tracks),
            frames_lost_storage=sum(track.lost_storage for track in tracks),
            frames_lost_overflow=sum(track.lost_overflow for track in tracks),
            bytes_written=sum(track.bytes_written for track in tracks),
            events_lost=sum(log.lost for log in self._events.values()),
            frames_lost=self._frames_lost(),
        )

    def _frames_lost(self) -> dict[MediaKind, int]:
        lost = dict.fromkeys(MediaKind, 0)
        for track in self._tracks.values():
            lost[track.opened.descriptor.kind] += track.counters.lost_storage + track.counters.lost_overflow
        return lost

    def _handle(self, item: Item) -> None:
        if isinstance(item, WriteFrame):
            self._write(item)
        elif isinstance(item, Tick):
            self.ticks_handled += 1
            self._now = max(self._now, item.now)
            self._tick()
        elif isinstance(item, AppendEvent):
            self._append_event(item)
        elif isinstance(item, OpenTrack):
            self._open_track(item)
        elif isinstance(item, CloseTrack):
            self._now = max(self._now, item.now)
            self._close_track(item)
        elif isinstance(item, NoteInterruption):
            self._tracks[item.track].note_interruption(item.reason)
        elif isinstance(item, Pause):
            self._now = max(self._now, item.now)
            self._pause(item.now)
        elif isinstance(item, Unpause):
            self._now = max(self._now, item.now)
            self._unpause(item.now)
        elif isinstance(item, LoseFrames):
            self._tracks[item.track].lose(item.frames, GapReason.OVERFLOW)
            if item.ask:
                self._ask_for_keyframe(item.track)
        elif isinstance(item, MapClock):
            self.clock_told[item.track] = item
            self._tracks[item.track].set_clock_mapping(item.estimate, item.now)
        else:
            self._now = max(self._now, item.now)
            self._close(item.reason)

    def _move(self, event: RecordingEvent) -> None:
        """The one place that changes the state."""
        before, self._state = self._state, next_state(self._state, event)
        if before is not self._state:
            _log.info("recording_state", state=self._state, before=before, why=event)

    def _write(self, item: WriteFrame) -> None:
        self._now = max(self._now, item.frame.arrival_time)
        if self._paused:
            return
        track = self._tracks[item.track]
        if self._state is RecordingState.STORAGE_ERROR:
            track.lose(1, GapReason.STORAGE)
        else:
            track.write(item.frame)

    def _tick(self) -> None:
        if self._state is RecordingState.STORAGE_ERROR:
            if self._retry_at is not None and self._now >= self._retry_at:
                self._try_again()
            return
        for number in self._open:
            self._tracks[number].tick(self._now)
        for log in self._events.values():
            log.tick(self._now)
        self._context.ledger.tick(self._now, self._state, self._context.on_segment)

    def _write_muxed(self) -> None:
        if self._muxed is not None and self._state is RecordingState.RECORDING:
            self._muxed.write(self._now)

    def _append_event(self, item: AppendEvent) -> None:
        log = self._events.get(item.name)
        if log is None:
            log = self._events[item.name] = EventLog(self._context.path / item.name)
        log.append(item.line)
        if self._state is not RecordingState.STORAGE_ERROR:
            log.flush()

    def _open_track(self, item: OpenTrack) -> None:
        number = item.opened.track
        self._context.ledger.record(item.opened, item.now)
        self._open.add(number)
        if self._muxed is not None:
            self._muxed.open_track(item.opened)
        if number in self._tracks:
            self._tracks[number].reopen(item.opened)
        else:
            progress = self._progress.get(number, TrackProgress())
            self._tracks[number] = TrackWriter(self._context, item.opened, progress)
        if self._paused:
            self._tracks[number].pause(item.now)
        if self._state is not RecordingState.STORAGE_ERROR:
            self._context.ledger.commit(item.now, self._context.on_segment)
        self._context.ledger.outdate_manifest()

    def _close_track(self, item: CloseTrack) -> None:
        self._open.discard(item.track)
        try:
            self._tracks[item.track].close(self._now, item.reason)
        finally:
            if self._muxed is not None:
                self._muxed.close_track(item.track)

    def _pause(self, now: float) -> None:
        """Close all segments and take no frames; where the disk refuses, as soon as it answers again."""
        if self._paused:
            return
        self._paused = True
        self._context.ledger.record(RecordingPaused(), now)
        if self._state is not RecordingState.STORAGE_ERROR:
            self._settle_pause(now)

    def _settle_pause(self, now: float) -> None:
        for number in sorted(self._open):
            self._tracks[number].pause(now)
        if self._muxed is not None:
            self._muxed.close(now)
        self._context.ledger.commit(now, self._context.on_segment)
        self._move(RecordingEvent.PAUSED)
        self._context.ledger.write_manifest(self._state, now, readable=True)

    def _unpause(self, now: float) -> None:
        """Take frames again: video from its next sync sample on, which is asked for."""
        if not self._paused:
            return
        self._paused = False
        self._context.ledger.record(RecordingUnpaused(), now)
        if self._state is RecordingState.STORAGE_ERROR:
            return
        self._move(RecordingEvent.UNPAUSED)
        for number in sorted(self._open):
            self._ask_for_keyframe(number)
        self._context.ledger.commit(now, self._context.on_segment)
        self._context.ledger.write_manifest(self._state, now)

    def _storage_failed(self, error: StorageError) -> None:
        """Suspend all tracks and ask again later, whatever the error: media do not wait for a person to try again."""
        first = self._state is not RecordingState.STORAGE_ERROR
        self._move(RecordingEvent.STORAGE_FAILED)
        for track in self._tracks.values():
            track.suspend()
        if self._muxed is not None:
            self._muxed.suspend()
        if first:
            self._retry_at = self._now + self._retry_s
            _log.error("recording_storage_failed", code=error.code, error=str(error), retry_in_s=self._retry_s)
            self._context.ledger.try_write_manifest(self._state, self._now)
            self._on_error(error)

    def _try_again(self) -> None:
        """Ask the disk; when it answers, finish what it cut short and record again."""
        try:
            self._probe()
            self._catch_up()
        except StorageError as error:
            self._retry_s = min(self._retry_s * 2, self._config.retry_max_s)
            self._retry_at = self._now + self._retry_s
            _log.debug("recording_storage_still_failing", code=error.code, retry_in_s=self._retry_s)
            return
        self._retry_s, self._retry_at = self._config.retry_first_s, None
        self._move(RecordingEvent.STORAGE_ANSWERED)
        if self._paused:
            self._settle_pause(self._now)
        lost = sum(track.counters.lost_storage for track in self._tracks.values())
        _log.warning("recording_storage_answered", frames_lost=lost)
        self._context.ledger.write_manifest(self._state, self._now)
        for number in self._open:
            self._ask_for_keyframe(number)

    def _ask_for_keyframe(self, number: int) -> None:
        if self._tracks[number].opened.descriptor.kind is MediaKind.VIDEO:
            self._context.on_keyframe_request(number)

    def _catch_up(self) -> None:
        for track in self._tracks.values():
            track.finish_unfinished(self._now)
        if self._muxed is not None:
            self._muxed.finish_unfinished(self._now)
        for log in self._events.values():
            log.flush()
        self._context.ledger.commit(self._now, self._context.on_segment)

    def _probe(self) -> None:
        path = self._context.path / f"probe{TEMPORARY_SUFFIX}"
        with translated(f"probe {path}"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                write_all(descriptor, bytes(self._config.probe_bytes))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
                Path(path).unlink(missing_ok=True)

    def _close(self, reason: str) -> None:
        """End in good order, or leave what cannot be finished to a resume or repair."""
        try:
            self._catch_up()
            for number in sorted(self._open):
                self._tracks[number].close(self._now)
            self._open.clear()
            if self._muxed is not None:
                self._muxed.close(self._now)
            for log in self._events.values():
                log.sync(self._now)
            self._context.ledger.record(RecordingClosed(reason), self._now)
            self._context.ledger.commit(self._now, self._context.on_segment)
            if self._state is RecordingState.STORAGE_ERROR:
                self._move(RecordingEvent.STORAGE_ANSWERED)
            closed = next_state(self._state, RecordingEvent.CLOSED)
            if not self._context.ledger.try_write_manifest(closed, self._now, readable=True):
                _log.warning("recording_manifest_not_written", state=closed)
            self._move(RecordingEvent.CLOSED)  # last: who sees it reads files that nobody writes any more
        except StorageError as error:
            self._abandon(error)
        finally:
            for log in self._events.values():
                log.close()
            self._context.ledger.close()

    def _abandon(self, error: StorageError) -> None:
        if self._state is not RecordingState.STORAGE_ERROR:
            self._move(RecordingEvent.STORAGE_FAILED)
        self._move(RecordingEvent.ABANDONED)
        _log.error("recording_not_closed", code=error.code, error=str(error), state=self._state)
        self._on_error(error)
        for track in self._tracks.values():
            track.abandon()
        if self._muxed is not None:
            self._muxed.abandon()
        self._context.ledger.try_write_manifest(self._state, self._now, readable=True)

"""A recording in progress, as the rest of a room's process sees it. Nothing here waits for the disk but
`create`, `resume` and `close`."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec

import structlog

from media.errors import MediaError, RecordingBusy, RecordingNotFound, StorageError
from media.record.decode_timeline import ResumePoint
from media.record.entries import (
    RecordingResumed,
    RecordingStarted,
    RecordingState,
    SegmentEntry,
    TimelineEvent,
    TrackDescriptor,
    TrackOpened,
)
from media.record.event_log import encode_event
from media.record.journal import Journal, never_begun, read_sound_journal
from media.record.journal_line import JournalRecord
from media.record.ledger import Ledger
from media.record.manifest import MANIFEST_NAME, ManifestBuilder
from media.record.muxed_recovery import next_muxed_numbers, recover_muxed
from media.record.reader import EVENTS_NAME, TrackView, view_from_records
from media.record.recorded_time import RecordedTime
from media.record.recording_context import RecordingContext
from media.record.recording_id import is_recording_id
from media.record.recording_writer import (
    RecordingCallbacks,
    RecordingConfig,
    RecordingStats,
    RecordingWriter,
)
from media.record.recovery import track_directories
from media.record.storage import fsync_path, make_directory, translated
from media.record.track_recorder import ITEM_BYTES, TrackRecorder
from media.record.track_writer import TrackProgress
from media.record.unfinished import recover_segments
from media.record.writer_items import AppendEvent, Close, OpenTrack, Pause, Tick, Unpause

_log = structlog.get_logger(__name__)

_MAX_TICKS_WAITING = 2
"""A tick says what time it is; a writer that is behind needs no more of them."""


class Recording:
    """One recording and its writer thread. Make it with `create` or `resume`; end it with `close` or `aclose`."""

    def __init__(
        self,
        started: RecordingStarted,
        writer: RecordingWriter,
        path: Path,
        descriptors: dict[int, TrackDescriptor],
        time: RecordedTime,
        size_bytes: int = 0,
    ) -> None:
        """`descriptors`, `time` and `size_bytes` are of what earlier writers recorded."""
        self.path = path
        self.recording_id = started.recording_id
        self.started_at = started.started_at
        self._writer = writer
        self._descriptors = descriptors
        self._time = time
        self._size_before = size_bytes
        self._last_number = max([0, *descriptors, *track_directories(path)])
        self._recorders: dict[int, TrackRecorder] = {}
        self._events_dropped = 0
        self._ticks_put = 0
        self._closed = False
        self._thread = threading.Thread(target=writer.run, name=f"record-{started.recording_id}", daemon=True)
        self._thread.start()

    @classmethod
    def create(
        cls,
        root: Path,
        recording_id: str,
        room: str,
        *,
        started_at: float,
        room_sid: str = "",
        config: RecordingConfig | None = None,
        callbacks: RecordingCallbacks | None = None,
    ) -> "Recording":
        """Start a recording in the new folder `root / recording_id`. `started_at`: Unix seconds, zero of media time.

        A folder in which a creation was killed before it wrote anything is as good as new. Waits for a few
        fsyncs. Raises RecordingBusy when the folder exists, StorageError and its subclasses, ValueError for an
        id that cannot name a folder.
        """
        if not is_recording_id(recording_id):
            raise ValueError(f"{recording_id!r} is no recording id: use letters, digits, '.', '_' and '-'")
        path = root / recording_id
        make_directory(root)
        with translated(f"create {path}"):
            try:
                path.mkdir()
                made = True
            except FileExistsError as error:
                made = False
                if not never_begun(path):
                    raise RecordingBusy(f"{path} exists already; resume that recording or choose another id") from error
        started = RecordingStarted(recording_id, room, room_sid, started_at)
        ledger = _first_ledger(path, started, made_folder=made)
        return cls._start(path, started, ledger, {}, {}, 0, config, callbacks)

    @classmethod
    def resume(
        cls,
        path: Path,
        now: float,
        *,
        config: RecordingConfig | None = None,
        callbacks: RecordingCallbacks | None = None,
    ) -> "Recording":
        """Go on with the recording in the folder `path`, however its last writer ended.

        Cuts torn tails, finishes what that writer left open and journals it with `recovered` true. A track with
        a known `track_sid` goes on in its folder with the next segment number. A recording that was paused stays
        so until `unpause`. Waits for the disk. Raises
        RecordingNotFound, RecordingDamaged (repair it first), RecordingBusy while another writer has it, StorageError.
        """
        journal = Journal(path, must_exist=True)
        try:
            records, recovered, ledger = _go_on(path, journal, now)
            ledger.commit(now, (callbacks or RecordingCallbacks()).on_segment)
            state = RecordingState.PAUSED if ledger.recorded_time.paused else RecordingState.RECORDING
            ledger.write_manifest(state, now)
            view = view_from_records(path, records, state)
        except BaseException:
            journal.close()
            raise
        _log.info("recording_resumed", recording=view.recording_id, recovered_segments=recovered)
        started = RecordingStarted(view.recording_id, view.room, view.room_sid, view.started_at)
        descriptors = {track.number: track.descriptor for track in view.tracks}
        progress = {track.number: _progress(track, view.started_at) for track in view.tracks}
        size_bytes = sum(segment.size_bytes for track in view.tracks for segment in track.segments)
        return cls._start(path, started, ledger, descriptors, progress, size_bytes, config, callbacks)

    @classmethod
    def _start(
        cls,
        path: Path,
        started: RecordingStarted,
        ledger: Ledger,
        descriptors: dict[int, TrackDescriptor],
        progress: dict[int, TrackProgress],
        size_bytes: int,
        config: RecordingConfig | None,
        callbacks: RecordingCallbacks | None,
    ) -> "Recording":
        config, callbacks = config or RecordingConfig(), callbacks or RecordingCallbacks()
        context = RecordingContext(
            path=path,
            started=started,
            ledger=ledger,
            segmenter_config=config.segmenter,
            fsync_parts=config.fsync_parts,
            on_segment=_guarded(callbacks.on_segment),
            on_part=_guarded(callbacks.on_part),
            on_keyframe_request=_guarded(callbacks.on_keyframe_request),
        )
        time, interrupted = ledger.recorded_time, RecordingState.INTERRUPTED
        next_muxed = next_muxed_numbers(path)
        writer = RecordingWriter(context, config, _guarded(callbacks.on_error), interrupted, progress, next_muxed)
        return cls(started, writer, path, descriptors, time, size_bytes)

    @property
    def state(self) -> RecordingState:
        """What the recording is doing; a pause or its end counts from when it was asked for."""
        state = self._writer.state
        if state in {RecordingState.RECORDING, RecordingState.PAUSED}:
            return RecordingState.PAUSED if self._time.paused else RecordingState.RECORDING
        return state

    @property
    def paused(self) -> bool:
        """Whether frames are left out, as somebody asked."""
        return self._time.paused

    @property
    def size_bytes(self) -> int:
        """Bytes of its media so far, those of earlier writers included."""
        return self._size_before + self._writer.stats.bytes_written

    def recorded_s(self, now: float) -> float:
        """Seconds it has recorded until `now`; see `RecordedTime`."""
        return self._time.recorded_s(now)

    @property
    def stats(self) -> RecordingStats:
        """Totals since this writer started."""
        stats = self._writer.stats
        return replace(stats, events_lost=stats.events_lost + self._events_dropped)

    @property
    def tracks(self) -> int:
        """How many tracks the recording has, those of earlier writers included."""
        return len(self._descriptors)

    def open_track(self, descriptor: TrackDescriptor, now: float) -> TrackRecorder:
        """Start a track, or go on with one: that of the same `track_sid`, else a closed one of the same participant
        identity, kind, source and name (a track that is published again gets another SID).

        Raises ValueError after `close`.
        """
        self._require_open()
        number = self._number_of(descriptor)
        self._descriptors[number] = descriptor
        if number in self._recorders:
            self._recorders[number].close(now)
        opened = TrackOpened(number, f"tracks/{number}-{descriptor.kind}", descriptor.codec.clock_rate, descriptor)
        self._writer.queue.put_always(OpenTrack(opened, now))
        recorder = self._recorders[number] = TrackRecorder(self._writer, number, descriptor)
        return recorder

    def append_event(self, event: TimelineEvent, name: str = EVENTS_NAME) -> bool:
        """Put an event on the timeline (`name`: which file); False when the queue is full and it had to be dropped.

        Raises ValueError when its payload is no JSON, or after `close`.
        """
        self._require_open()
        line = encode_event(event, self.started_at)
        if self._writer.queue.put(AppendEvent(name, line), len(line) + ITEM_BYTES):
            return True
        self._events_dropped += 1
        return False

    def tick(self, now: float) -> None:
        """Let time pass: parts are written in time and a disk that refused is asked again. Call it several times
        a second.
        """
        if not self._closed and self._ticks_put - self._writer.ticks_handled < _MAX_TICKS_WAITING:
            self._ticks_put += 1
            self._writer.queue.put_always(Tick(now))

    def pause(self, now: float) -> None:
        """Write no frames from now on and close all segments; idempotent. Raises ValueError after `close`."""
        self._require_open()
        if not self._time.paused:
            self._time.pause(now)
            self._writer.queue.put_always(Pause(now))

    def unpause(self, now: float) -> None:
        """Write again, after a gap: video from its next sync sample on; idempotent. Raises ValueError after `close`."""
        self._require_open()
        if self._time.paused:
            self._time.unpause(now)
            self._writer.queue.put_always(Unpause(now))

    def close(self, now: float, reason: str = "") -> RecordingState:
        """Write all that is left and close; idempotent. Waits for the disk: from an event loop use `aclose`.

        `reason` says what ended it, in a word.

        COMPLETE, or INTERRUPTED when the disk refused to the end: `resume` or `repair_recording` then finish it.
        """
        if not self._closed:
            for recorder in self._recorders.values():
                recorder.close(now)
            self._closed = True
            self._writer.queue.put_always(Close(now, reason), urgent=True)
        self._thread.join()
        return self._writer.state

    async def aclose(self, now: float, reason: str = "") -> RecordingState:
        """As `close`, without blocking the event loop."""
        return await asyncio.to_thread(self.close, now, reason)

    def _number_of(self, descriptor: TrackDescriptor) -> int:
        free = []
        for number, known in self._descriptors.items():
            if known.track_sid == descriptor.track_sid:
                return number
            recorder = self._recorders.get(number)
            if (recorder is None or recorder.closed) and _key(known) == _key(descriptor):
                free.append(number)
        if free:
            return free[-1]
        self._last_number += 1
        return self._last_number

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("the recording was closed")


def _key(descriptor: TrackDescriptor) -> tuple[str, str, str, str]:
    """What a track is known by when it is published again."""
    return descriptor.participant_identity, descriptor.kind, descriptor.source, descriptor.track_name


def _first_ledger(path: Path, started: RecordingStarted, *, made_folder: bool) -> Ledger:
    """The ledger of a new recording, with its first line and manifest on disk; what a refusing disk took is removed.

    `made_folder`: nobody else did. Raises RecordingBusy, with nothing touched, when another process has the folder by
    now, StorageError.
    """
    try:
        journal = Journal(path)
    except RecordingNotFound as error:
        raise RecordingBusy(f"another process took back what it began at {path}; try again") from error
    try:
        if not never_begun(path):  # somebody else was faster
            raise RecordingBusy(f"{path} was created by another process; resume that recording or choose another id")
    except MediaError:
        journal.close()
        raise
    ledger = Ledger(path, journal, ManifestBuilder())
    try:
        with translated(f"create {path}"):
            fsync_path(path)
            fsync_path(path.parent)
        journal.cut(0)
        ledger.record(started, started.started_at)
        ledger.commit(started.started_at, _nobody)
        ledger.write_manifest(RecordingState.RECORDING, started.started_at)
    except StorageError:
        _take_back(path, journal, made_folder=made_folder)
        raise
    return ledger


def _take_back(path: Path, journal: Journal, *, made_folder: bool) -> None:
    """Remove what a creation wrote that failed, all of it while the lock still keeps others from beginning there."""
    try:
        with translated(f"remove {path}"):
            (path / MANIFEST_NAME).unlink(missing_ok=True)
            journal.remove()
            if made_folder:
                path.rmdir()
    except StorageError as error:
        _log.warning("recording_not_taken_back", path=str(path), code=error.code, error=str(error))
    finally:
        journal.close()


def _go_on(path: Path, journal: Journal, now: float) -> tuple[tuple[JournalRecord, ...], int, Ledger]:
    """What the journal has, read once for it may be long, and what a dead writer left, which the ledger has recorded.

    How many segments that were comes with it. Raises RecordingDamaged, StorageError.
    """
    contents = read_sound_journal(path)
    if contents.torn_bytes:
        journal.cut(contents.valid_bytes)
    ledger = Ledger(path, journal, ManifestBuilder(contents.records))
    before = view_from_records(path, contents.records, RecordingState.INTERRUPTED)
    entries = recover_segments(before, contents.records, now)
    entries += recover_muxed(path, {entry.path for entry in before.muxed}, now)
    recovered = sum(isinstance(entry, SegmentEntry) for entry in entries)
    entries.append(RecordingResumed(recovered))
    for entry in entries:
        ledger.record(entry, now)
    return (*contents.records, *(JournalRecord(now, entry) for entry in entries)), recovered, ledger


def _progress(track: TrackView, started_at: float) -> TrackProgress:
    next_init = max((init.index for init in track.inits), default=0) + 1
    if not track.segments:
        return TrackProgress(next_init=next_init)
    end = max(segment.end_decode_time for segment in track.segments)
    resume = ResumePoint(end, started_at + track.media_time_s(end))
    return TrackProgress(max(segment.sequence for segment in track.segments) + 1, next_init, resume)


_P = ParamSpec("_P")


def _guarded(callback: Callable[_P, None]) -> Callable[_P, None]:
    """`callback`, with what it raises logged: a listener's bug must not cost media."""

    def call(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:  # noqa: BLE001 - the border to code that is not ours; logged
            _log.exception("recording_callback_failed")

    return call


def _nobody(_: object) -> None:
    """Nobody listens before the thread runs."""

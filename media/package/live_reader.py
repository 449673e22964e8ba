"""Reads a recording while another process writes it: what live playlists need, and segments' bytes. Blocking.

Needs nothing of the recording process but its folder: the journal, and the segment files that are still open.
"""

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from media.errors import LiveNotReady, RecordingNotFound
from media.frames import MediaKind
from media.package.live_parts import PartIndex, SegmentScanner, retimed
from media.package.live_program import LiveTrackView
from media.package.live_track import LiveTrack, OpenSegment, segment_name
from media.record.codec_config import RECORDABLE
from media.record.entries import (
    Container,
    InitEntry,
    RecordingClosed,
    RecordingResumed,
    RecordingStarted,
    SegmentEntry,
    TrackClosed,
    TrackOpened,
)
from media.record.journal import JOURNAL_NAME
from media.record.journal_follower import JournalFollower
from media.record.journal_line import JournalRecord
from media.record.note import SegmentNote, decode_segment_note
from media.record.storage import TEMPORARY_SUFFIX, is_locked, translated

_PARTS_OF_SEGMENTS = 4
"""Parts are looked up for so many closed segments: as many as a playlist may list with their parts."""

_ABANDONED_S = 30.0
"""A recording without a writer is taken for one that nobody goes on with once its journal is so old: a process that
died is started again within seconds, and a journal has a line for each segment."""

_HEAD_BYTES = 4096
"""A segment's head with its note takes some 700 bytes."""


@dataclass(frozen=True, slots=True)
class LiveView:
    """A recording as far as it is on disk. `started_at`: Unix seconds. `complete`: it was closed in good order.

    `abandoned`: it was not, and nobody has gone on with it since.
    """

    recording_id: str
    room: str
    started_at: float
    complete: bool
    tracks: tuple[LiveTrackView, ...]
    abandoned: bool = False

    def track(self, number: int) -> LiveTrackView:
        """The track of that number. Raises RecordingNotFound."""
        for track in self.tracks:
            if track.number == number:
                return track
        raise RecordingNotFound(f"recording {self.recording_id} has no track {number}; its live document lists them")


@dataclass(frozen=True, slots=True)
class LiveBytes:
    """Bytes of a segment or init segment, and how many the file has now."""

    data: bytes
    start: int
    file_bytes: int


@dataclass(slots=True)
class _Track:
    opened: TrackOpened
    segments: LiveTrack
    inits: dict[str, InitEntry] = field(default_factory=dict)
    closed: bool = False
    waiting: deque[tuple[SegmentEntry, int]] = field(default_factory=deque)
    recent: deque[tuple[int, SegmentScanner]] = field(default_factory=lambda: deque(maxlen=_PARTS_OF_SEGMENTS))
    view: LiveTrackView | None = None

    def scanner(self, sequence: int) -> SegmentScanner | None:
        """What was seen of that segment while it was open."""
        return next((scanner for number, scanner in self.recent if number == sequence), None)


class LiveReader:
    """Follows one recording. Not for use by two threads at once."""

    def __init__(self, path: Path, *, segment_duration_s: float, part_duration_s: float) -> None:
        """`path`: the recording's folder. The durations are the recorder's settings."""
        self._path = path
        self._gap_target_s = segment_duration_s
        self._part_target_s = part_duration_s
        self._reset()

    def _reset(self) -> None:
        self._journal = JournalFollower(self._path)
        self._tracks: dict[int, _Track] = {}
        self._started: RecordingStarted | None = None
        self._epoch = 0
        self._complete = False

    def refresh(self) -> LiveView:
        """The recording as it is now. Raises RecordingNotFound, LiveNotReady, StorageError."""
        if self._journal.replaced():
            self._reset()
        without_writer = not self._complete and self._has_no_writer()  # asked first: what it wrote last is read then
        for record in self._journal.read():
            self._apply(record)
        if self._started is None:
            raise LiveNotReady(f"the journal of {self._path.name} has not begun yet; try again in a moment")
        started = self._started
        tracks = tuple(self._view(self._tracks[number]) for number in sorted(self._tracks))
        abandoned = without_writer and not self._complete
        return LiveView(started.recording_id, started.room, started.started_at, self._complete, tracks, abandoned)

    def _has_no_writer(self) -> bool:
        """Whether nobody has the journal open, nor has had for a while."""
        path = self._path / JOURNAL_NAME
        with translated(f"read {path}"):
            try:
                changed_at = path.stat().st_mtime
            except FileNotFoundError:
                return False
        return time.time() - changed_at >= _ABANDONED_S and not is_locked(path)

    def segment(self, track: int, name: str, start: int = 0, size_bytes: int | None = None) -> LiveBytes:
        """`size_bytes` of a media segment from `start` on, moved to the media timeline; all of it without a size.

        Raises RecordingNotFound when it is none of a track's segments, StorageError.
        """
        found = self._tracks.get(track)
        sequence = int(name.removesuffix(".m4s")) if name.removesuffix(".m4s").isdecimal() else 0
        offset = None if found is None else found.segments.offset(sequence)
        if found is None or offset is None:
            raise RecordingNotFound(f"track {track} of {self._path.name} has no segment {name!r}; see its playlist")
        with self._opened(found, name) as descriptor:
            scanner = SegmentScanner()
            file_bytes = os.fstat(descriptor).st_size
            scanner.advance(lambda at, size: os.pread(descriptor, size, at), file_bytes)
            whole = scanner.parts[-1].end if scanner.parts else 0
            end = whole if size_bytes is None else min(start + size_bytes, whole)
            data = os.pread(descriptor, max(0, end - start), start)
        return LiveBytes(retimed(data, start, scanner.parts, offset, fill=found.segments.fill), start, whole)

    def init_segment(self, track: int, name: str) -> LiveBytes:
        """An init segment, as it is. Raises RecordingNotFound, StorageError."""
        found = self._tracks.get(track)
        init = next((item for item in found.inits.values() if item.path.endswith(f"/{name}")), None) if found else None
        if init is None:
            raise RecordingNotFound(f"track {track} of {self._path.name} has no init segment {name!r}")
        with translated(f"read {self._path / init.path}"):
            data = (self._path / init.path).read_bytes()
        return LiveBytes(data, 0, len(data))

    def _apply(self, record: JournalRecord) -> None:
        entry = record.entry
        if isinstance(entry, RecordingStarted):
            self._started = entry
        elif isinstance(entry, RecordingResumed):
            self._epoch += 1
            self._complete = False
        elif isinstance(entry, RecordingClosed):
            self._complete = True
        elif isinstance(entry, TrackOpened):
            self._open_track(entry)
        elif isinstance(entry, InitEntry | SegmentEntry | TrackClosed) and entry.track in self._tracks:
            self._apply_to_track(self._tracks[entry.track], entry)

    def _open_track(self, entry: TrackOpened) -> None:
        if entry.track in self._tracks:
            self._tracks[entry.track].opened = entry
            self._tracks[entry.track].closed = False
            return
        fill = entry.descriptor.kind is MediaKind.VIDEO
        segments = LiveTrack(entry.timescale, fill, self._part_target_s, self._gap_target_s)
        self._tracks[entry.track] = _Track(entry, segments)

    def _apply_to_track(self, track: _Track, entry: InitEntry | SegmentEntry | TrackClosed) -> None:
        if isinstance(entry, TrackClosed):
            track.closed = True
        elif isinstance(entry, InitEntry):
            track.inits[entry.path] = entry
        else:
            track.waiting.append((entry, self._epoch))

    def _view(self, track: _Track) -> LiveTrackView:
        descriptor = track.opened.descriptor
        container = RECORDABLE.get(descriptor.codec)
        playable = container is Container.FMP4
        ended = track.closed or self._complete
        inits = (item for item in reversed(track.inits.values()) if item.container is container)
        init = next(inits, None)  # one of a codec that the track had before describes nothing that comes now
        changed = self._close_segments(track)
        if not playable:
            track.view = None
            return LiveTrackView(track.opened.track, descriptor, (), init, ended, playable, None)
        opened, grown = self._open_segment(track)
        known = track.view
        if changed or grown or known is None or (known.init, known.ended) != (init, ended):
            segments = track.segments.with_open(opened, self._epoch)
            hint = None if ended else track.segments.hint(opened)
            known = track.view = LiveTrackView(track.opened.track, descriptor, segments, init, ended, playable, hint)
        return known

    def _close_segments(self, track: _Track) -> bool:
        """Take in the segments that were journaled; whether there were any. Where reading fails, the rest waits."""
        changed = False
        while track.waiting:
            entry, epoch = track.waiting[0]
            if entry.sequence >= track.segments.next_sequence:
                self._close_segment(track, entry, epoch)
            track.waiting.popleft()
            changed = True
        return changed

    def _close_segment(self, track: _Track, entry: SegmentEntry, epoch: int) -> None:
        if not entry.path.endswith(Container.FMP4.segment_suffix):
            track.segments.skip(entry.sequence)  # the track had another codec then
            return
        seen = track.scanner(entry.sequence)
        if seen is None or not seen.parts or seen.parts[-1].end != entry.size_bytes:
            shown = len(track.waiting) <= _PARTS_OF_SEGMENTS
            seen = self._scan_closed(entry, with_parts=shown)
        note = decode_segment_note(seen.note)
        track.segments.close(entry, note.clock_mapping if note else None, seen.parts, epoch)

    def _scan_closed(self, entry: SegmentEntry, *, with_parts: bool) -> SegmentScanner:
        """A closed segment's note, and its parts. One that is gone has neither: its bytes are asked for in vain."""
        scanner = SegmentScanner()
        path = self._path / entry.path
        with translated(f"read {path}"):
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return scanner
            try:
                size_bytes = os.fstat(descriptor).st_size if with_parts else _HEAD_BYTES
                scanner.advance(lambda at, size: os.pread(descriptor, size, at), size_bytes)
            finally:
                os.close(descriptor)
        return scanner

    def _open_segment(self, track: _Track) -> tuple[OpenSegment | None, bool]:
        """The segment behind the last journaled one, and whether it has more parts than before."""
        sequence = track.segments.next_sequence
        scanner = track.scanner(sequence) or SegmentScanner()
        try:
            with self._opened(track, segment_name(sequence)) as descriptor:
                size_bytes = os.fstat(descriptor).st_size
                grown = scanner.advance(lambda at, size: os.pread(descriptor, size, at), size_bytes)
        except RecordingNotFound:
            return None, False
        if grown and track.scanner(sequence) is None:
            track.recent.append((sequence, scanner))
        note = decode_segment_note(scanner.note)
        if note is None or not scanner.parts:
            return None, False
        return _open(sequence, note, scanner.parts), grown

    @contextmanager
    def _opened(self, track: _Track, name: str) -> Iterator[int]:
        """The file of a segment, finished or not. Raises RecordingNotFound."""
        path = self._path / track.opened.directory / name
        unfinished = path.with_name(name + TEMPORARY_SUFFIX)
        with translated(f"read {path}"):
            for candidate in (path, unfinished, path):  # it may be renamed in between
                try:
                    descriptor = os.open(candidate, os.O_RDONLY)
                except FileNotFoundError:
                    continue
                try:
                    yield descriptor
                finally:
                    os.close(descriptor)
                return
        raise RecordingNotFound(f"{path.name} of track {track.opened.track} is not there")


def _open(sequence: int, note: SegmentNote, parts: list[PartIndex]) -> OpenSegment:
    return OpenSegment(sequence, note.init_path, note.decode_time, note.discontinuity, note.clock_mapping, tuple(parts))

"""The manifest: a summary of the journal for people and for listings; never the truth."""

import functools
import json
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeAlias

from media.errors import RecordingDamaged, RecordingNotFound
from media.json_text import parse_json
from media.record.entries import (
    FORMAT_VERSION,
    ClockMapping,
    InitEntry,
    JournalEntry,
    MuxedFileEntry,
    RecordingClosed,
    RecordingResumed,
    RecordingStarted,
    RecordingState,
    RtpAnchor,
    SegmentEntry,
    TrackDescriptor,
    TrackOpened,
    supersede,
)
from media.record.journal_line import JournalRecord, from_json
from media.record.recorded_time import RecordedTime
from media.record.storage import translated, write_durably
from media.rtp.clock_mapping import ClockSource

MANIFEST_NAME = "manifest.json"

_HEAD_BYTES = 8192
"""The state comes behind the recording's id and the room's name and SID, of some hundred bytes each."""

_STATE = re.compile(rb'"state": ?"(\w+)"')
"""Never a part of a name: quotes in those have a backslash."""


@dataclass(frozen=True, slots=True)
class ManifestTrack:
    """One track of the summary. `duration_s`: from its first sample to the end of its last, gaps included."""

    track: int
    directory: str
    timescale: int
    descriptor: TrackDescriptor
    segments: int
    samples: int
    size_bytes: int
    duration_s: float
    inits: tuple[InitEntry, ...]
    rtp_anchors: tuple[RtpAnchor, ...]
    clock_mappings: tuple[ClockMapping, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The summary of a recording at `updated_at`. `duration_s`: media time at which its last track ends.

    `recorded_s`: as `RecordedTime`. `ended_reason`: what closed it, in a word; empty while it is not closed.
    `size_bytes` are those of the segments; `muxed` are files that hold the same media again, tracks together.
    """

    format_version: int
    recording_id: str
    room: str
    room_sid: str
    state: RecordingState
    started_at: float
    ended_at: float | None
    updated_at: float
    duration_s: float
    size_bytes: int
    tracks: tuple[ManifestTrack, ...]
    recorded_s: float = 0.0
    ended_reason: str = ""
    muxed: tuple[MuxedFileEntry, ...] = ()


@dataclass(slots=True)
class _TrackTotals:
    opened: TrackOpened
    segments: int = 0
    samples: int = 0
    size_bytes: int = 0
    end_decode_time: int = 0
    inits: list[InitEntry] = field(default_factory=list)
    rtp_anchors: list[RtpAnchor] = field(default_factory=list)
    clock_mappings: list[ClockMapping] = field(default_factory=list)

    def media_end_s(self) -> float:
        if not self.segments:
            return 0.0
        mapping = next(
            (item for item in reversed(self.clock_mappings) if item.decode_time <= self.end_decode_time),
            ClockMapping(self.opened.track, 0, 0.0, 0.0, 0.0, ClockSource.ARRIVAL),
        )
        return mapping.media_time_at(self.end_decode_time, self.opened.timescale)


class ManifestBuilder:
    """Folds journal entries into a manifest; holds a few values per track, none per segment."""

    def __init__(self, records: Iterable[JournalRecord] = ()) -> None:
        """Take the journal's `records` so far."""
        self._started: RecordingStarted | None = None
        self._ended_at: float | None = None
        self._ended_reason = ""
        self._time = RecordedTime()
        self._tracks: dict[int, _TrackTotals] = {}
        self._muxed: list[MuxedFileEntry] = []
        for record in records:
            self.apply(record)

    def apply(self, record: JournalRecord) -> None:
        """Take the next journal record. Records of tracks that were never opened are left out."""
        entry = record.entry
        self._time.apply(record)
        if isinstance(entry, RecordingStarted):
            self._started = entry
        elif isinstance(entry, RecordingClosed):
            self._ended_at, self._ended_reason = record.at, entry.reason
        elif isinstance(entry, MuxedFileEntry):
            self._muxed.append(entry)
        elif isinstance(entry, RecordingResumed):
            self._ended_at, self._ended_reason = None, ""
        elif isinstance(entry, TrackOpened):
            if entry.track in self._tracks:
                self._tracks[entry.track].opened = entry
            else:
                self._tracks[entry.track] = _TrackTotals(entry)
        else:
            self._apply_to_track(entry)

    def _apply_to_track(self, entry: JournalEntry | None) -> None:
        totals = self._tracks.get(getattr(entry, "track", -1))
        if totals is None:
            return
        if isinstance(entry, SegmentEntry):
            totals.segments += 1
            totals.samples += entry.samples
            totals.size_bytes += entry.size_bytes
            totals.end_decode_time = max(totals.end_decode_time, entry.end_decode_time)
        elif isinstance(entry, InitEntry):
            totals.inits.append(entry)
        elif isinstance(entry, RtpAnchor):
            totals.rtp_anchors.append(entry)
        elif isinstance(entry, ClockMapping):
            supersede(totals.clock_mappings, entry)

    @property
    def closed(self) -> bool:
        """Whether the last thing the journal says about the whole is that it was closed."""
        return self._ended_at is not None

    @property
    def recorded_time(self) -> RecordedTime:
        """For how long it has recorded, and whether it is paused; a copy."""
        return replace(self._time)

    def build(self, state: RecordingState, now: float) -> Manifest:
        """The manifest as of `now`. Raises RecordingDamaged when no record said how the recording started."""
        started = self._started
        if started is None:
            raise RecordingDamaged("the journal does not begin with the start of the recording; repair it")
        totals = [self._tracks[number] for number in sorted(self._tracks)]
        return Manifest(
            format_version=FORMAT_VERSION,
            recording_id=started.recording_id,
            room=started.room,
            room_sid=started.room_sid,
            state=state,
            started_at=started.started_at,
            ended_at=self._ended_at,
            updated_at=now,
            duration_s=max((item.media_end_s() for item in totals), default=0.0),
            size_bytes=sum(item.size_bytes for item in totals),
            tracks=tuple(_manifest_track(item) for item in totals),
            recorded_s=self._time.recorded_s(now),
            ended_reason=self._ended_reason,
            muxed=tuple(self._muxed),
        )


def _manifest_track(totals: _TrackTotals) -> ManifestTrack:
    opened = totals.opened
    return ManifestTrack(
        track=opened.track,
        directory=opened.directory,
        timescale=opened.timescale,
        descriptor=opened.descriptor,
        segments=totals.segments,
        samples=totals.samples,
        size_bytes=totals.size_bytes,
        duration_s=totals.end_decode_time / opened.timescale,
        inits=tuple(totals.inits),
        rtp_anchors=tuple(totals.rtp_anchors),
        clock_mappings=tuple(totals.clock_mappings),
    )


def write_manifest(recording_path: Path, manifest: Manifest, *, readable: bool = False) -> None:
    """Replace the recording's manifest durably. Raises StorageError and its subclasses.

    `readable`: by people, with a line for each value. That takes three times as long, which is a second and more where
    many tracks have thousands of clock mappings.
    """
    indent, separators = (2, None) if readable else (None, (",", ":"))
    text = json.dumps(
        manifest, default=_values, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False
    )
    write_durably(recording_path / MANIFEST_NAME, text.encode() + b"\n")


_Getter: TypeAlias = tuple[tuple[str, ...], Callable[[object], tuple[object, ...]]]


def _values(item: object) -> dict[str, object]:
    """A dataclass as JSON has it; `asdict` would copy all that is in it first."""
    getter_of: Callable[[type], _Getter] = _getter
    names, values = getter_of(type(item))
    return dict(zip(names, values(item), strict=True))


@functools.cache
def _getter(cls: type) -> _Getter:
    names = tuple(item.name for item in fields(cls))
    return names, operator.attrgetter(*names)


def read_manifest_state(recording_path: Path) -> RecordingState:
    """The state alone, which stands near the beginning: all of it takes a second of CPU where the recording is long.

    Raises as `read_manifest`, but what is damaged behind the state is not seen.
    """
    try:
        with (recording_path / MANIFEST_NAME).open("rb") as file:
            found = _STATE.search(file.read(_HEAD_BYTES))
        if found:
            return RecordingState(found[1].decode())
    except (OSError, ValueError):
        pass  # all of it says what is wrong
    return read_manifest(recording_path).state


def read_manifest(recording_path: Path) -> Manifest:
    """Read it back. Raises RecordingNotFound without one, RecordingDamaged when it makes no sense."""
    path = recording_path / MANIFEST_NAME
    with translated(f"read {path}"):
        try:
            text = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RecordingNotFound(f"there is no manifest at {recording_path}") from error
    try:
        return from_json(Manifest, parse_json(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordingDamaged(f"{path} is damaged ({error}); repair the recording") from error

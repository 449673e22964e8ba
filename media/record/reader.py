"""Recordings as the rest of the project reads them: listings, and one recording in full."""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from media.errors import MediaError, RecordingDamaged, StorageError
from media.json_text import parse_json
from media.record.entries import (
    ClockMapping,
    GapEntry,
    InitEntry,
    JournalEntry,
    JsonValue,
    MuxedFileEntry,
    RecordingState,
    RtpAnchor,
    SegmentEntry,
    TrackDescriptor,
    TrackOpened,
    supersede,
)
from media.record.journal import JOURNAL_NAME, read_sound_journal
from media.record.journal_line import JournalRecord
from media.record.manifest import MANIFEST_NAME, Manifest, ManifestBuilder, read_manifest, read_manifest_state
from media.record.recording_id import is_recording_id
from media.record.storage import is_locked, translated

EVENTS_NAME = "data.jsonl"
QUALITY_NAME = "quality.jsonl"


@dataclass(frozen=True, slots=True)
class TrackView:
    """One recorded track. `directory` is under the recording's path; entries' paths are relative to that.

    Times are ticks of `timescale` Hz, as in `media.record.entries`. In WebM files they are rounded to
    milliseconds, in fMP4 they are exact. `segments` are in order of `sequence`, `clock_mappings` and
    `gaps` in order of time.
    """

    number: int
    descriptor: TrackDescriptor
    directory: Path
    timescale: int
    inits: tuple[InitEntry, ...]
    segments: tuple[SegmentEntry, ...]
    clock_mappings: tuple[ClockMapping, ...]
    gaps: tuple[GapEntry, ...]
    rtp_anchors: tuple[RtpAnchor, ...]

    @property
    def samples(self) -> int:
        """How many samples all segments hold together."""
        return sum(segment.samples for segment in self.segments)

    @property
    def duration_s(self) -> float:
        """From the start of the first sample to the end of the last, gaps included; 0 without segments."""
        if not self.segments:
            return 0.0
        return (self.segments[-1].end_decode_time - self.segments[0].decode_time) / self.timescale

    def media_time_s(self, decode_time: int) -> float:
        """Seconds since the recording started at which `decode_time` lies, by the mapping that holds there.

        WebM rounds times to milliseconds: the first sample that a mapping is for may be found a little before it.
        """
        if not self.clock_mappings:
            return decode_time / self.timescale
        latest = decode_time + self.timescale // 1000
        index = bisect.bisect_right(self.clock_mappings, latest, key=lambda item: item.decode_time)
        return self.clock_mappings[max(index - 1, 0)].media_time_at(decode_time, self.timescale)

    def init_of(self, segment: SegmentEntry) -> InitEntry:
        """The init segment that `segment` needs. Raises RecordingDamaged when the journal has none."""
        for init in self.inits:
            if init.path == segment.init_path:
                return init
        raise RecordingDamaged(f"segment {segment.id} names the init segment {segment.init_path}, which is unknown")


@dataclass(frozen=True, slots=True)
class RecordingView:
    """A recording as its journal told it when it was read.

    `ended_at` is None unless it was closed; `ended_reason` then says by what, in a word.
    """

    path: Path
    recording_id: str
    room: str
    room_sid: str
    started_at: float
    ended_at: float | None
    state: RecordingState
    tracks: tuple[TrackView, ...]
    ended_reason: str = ""
    muxed: tuple[MuxedFileEntry, ...] = ()

    @property
    def duration_s(self) -> float:
        """Media time at which the last track ends."""
        ends = (t.media_time_s(t.segments[-1].end_decode_time) for t in self.tracks if t.segments)
        return max(ends, default=0.0)

    def file_of(self, entry: SegmentEntry | InitEntry | MuxedFileEntry) -> Path:
        """Where the file of `entry` is."""
        return self.path / entry.path


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """One line of a listing. `problem` is empty, or says why the recording cannot be read as it is.

    `size_bytes` are those of the segments, `muxed_bytes` those of the files that hold the same media again, tracks
    together; neither counts what is not closed yet.
    """

    path: Path
    recording_id: str
    room: str
    started_at: float
    ended_at: float | None
    state: RecordingState
    tracks: int
    duration_s: float
    size_bytes: int
    problem: str = ""
    muxed_bytes: int = 0


@dataclass(slots=True)
class _TrackParts:
    opened: TrackOpened
    inits: list[InitEntry] = field(default_factory=list)
    segments: list[SegmentEntry] = field(default_factory=list)
    clock_mappings: list[ClockMapping] = field(default_factory=list)
    gaps: list[GapEntry] = field(default_factory=list)
    rtp_anchors: list[RtpAnchor] = field(default_factory=list)

    def apply(self, entry: JournalEntry | None) -> None:
        if isinstance(entry, SegmentEntry):
            self.segments.append(entry)
        elif isinstance(entry, InitEntry):
            self.inits.append(entry)
        elif isinstance(entry, ClockMapping):
            supersede(self.clock_mappings, entry)
        elif isinstance(entry, GapEntry):
            self.gaps.append(entry)
        elif isinstance(entry, RtpAnchor):
            self.rtp_anchors.append(entry)

    def view(self, recording_path: Path) -> TrackView:
        return TrackView(
            number=self.opened.track,
            descriptor=self.opened.descriptor,
            directory=recording_path / self.opened.directory,
            timescale=self.opened.timescale,
            inits=tuple(self.inits),
            segments=tuple(sorted(self.segments, key=lambda item: item.sequence)),
            clock_mappings=tuple(self.clock_mappings),
            gaps=tuple(sorted(self.gaps, key=lambda item: item.decode_time)),
            rtp_anchors=tuple(self.rtp_anchors),
        )


def read_recording(path: Path) -> RecordingView:
    """Read the recording in the folder `path`, finished or not; a torn journal tail is left out.

    Raises RecordingNotFound, RecordingDamaged (`repair_recording` may help) or StorageError.
    """
    return view_from_records(path, read_sound_journal(path).records)


def view_from_records(
    path: Path, records: tuple[JournalRecord, ...], state: RecordingState | None = None
) -> RecordingView:
    """The view that the journal's `records` add up to; `state`: where that is known. Raises RecordingDamaged without
    a first line, StorageError.
    """
    builder = ManifestBuilder()
    parts: dict[int, _TrackParts] = {}
    for record in records:
        builder.apply(record)
        entry = record.entry
        if isinstance(entry, TrackOpened):
            if entry.track in parts:
                parts[entry.track].opened = entry
            else:
                parts[entry.track] = _TrackParts(entry)
        elif (track := getattr(entry, "track", None)) in parts:
            parts[track].apply(entry)
    manifest = builder.build(RecordingState.RECORDING, 0.0)
    return RecordingView(
        path=path,
        recording_id=manifest.recording_id,
        room=manifest.room,
        room_sid=manifest.room_sid,
        started_at=manifest.started_at,
        ended_at=manifest.ended_at,
        state=state or recording_state(path, closed=builder.closed),
        tracks=tuple(parts[number].view(path) for number in sorted(parts)),
        ended_reason=manifest.ended_reason,
        muxed=manifest.muxed,
    )


def read_events(path: Path, name: str = EVENTS_NAME) -> Iterator[dict[str, JsonValue]]:
    """The timeline events of the recording in the folder `path`, each with "type", "at" and "media_time_s".

    A line that a crash tore is left out. Raises StorageError.
    """
    return (event for event in read_lines(path, name) if event is not None)


def read_lines(path: Path, name: str) -> Iterator[dict[str, JsonValue] | None]:
    """Each line of such a file as an event; None for one that is none. Raises StorageError.

    A last one that is not whole is passed over: it is being written, or what a crash left.
    """
    return EventLines(path, name).read()


class EventLines:
    """Such a file, read as it grows: `read` goes on where it ended before."""

    def __init__(self, path: Path, name: str) -> None:
        self._file = path / name
        self._position = 0

    @property
    def shrank(self) -> bool:
        """Whether the file is shorter than what was read of it (it was repaired), so that it is another one."""
        return self._file.exists() and self._file.stat().st_size < self._position

    def read(self) -> Iterator[dict[str, JsonValue] | None]:
        """As `read_lines`, of the lines that came since."""
        if not self._file.exists():
            return
        with translated(f"read {self._file}"), self._file.open("rb") as lines:
            lines.seek(self._position)
            for line in lines:
                try:
                    event = parse_json(line)
                except ValueError:
                    if not line.endswith(b"\n"):
                        return
                    event = None
                self._position += len(line)
                if line != b"\n":  # the end of one that was whole without it
                    yield event if isinstance(event, dict) else None


def list_recordings(root: Path) -> tuple[RecordingSummary, ...]:
    """All recordings directly under `root`, oldest first; damaged ones too, with their `problem`.

    Reads the manifests, and the journal only where a manifest is missing. Raises StorageError when
    `root` cannot be listed; a root that does not exist holds none. A folder that cannot be looked into is damaged
    where its name is a recording's, else somebody else's, as a file system's lost+found.
    """
    with translated(f"list {root}"):
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.exists() else []
    found = [summary for folder in folders if (summary := summarise(folder)) is not None]
    return tuple(sorted(found, key=lambda item: (item.started_at, item.recording_id)))


def summarise(path: Path) -> RecordingSummary | None:
    """The recording in the folder `path`, as `list_recordings` has it; None for a folder that holds none."""
    try:
        with translated(f"read {path}"):
            is_recording = (path / JOURNAL_NAME).exists() or (path / MANIFEST_NAME).exists()
    except StorageError as error:
        return _unreadable(path, error) if is_recording_id(path.name) else None
    if not is_recording:
        return None
    try:
        return _told_by(path, _manifest(path))
    except MediaError as error:
        return _unreadable(path, error)


def _unreadable(path: Path, error: MediaError) -> RecordingSummary:
    return RecordingSummary(path, path.name, "", 0.0, None, RecordingState.INTERRUPTED, 0, 0.0, 0, problem=str(error))


def _told_by(path: Path, manifest: Manifest) -> RecordingSummary:
    return RecordingSummary(
        path=path,
        recording_id=manifest.recording_id,
        room=manifest.room,
        started_at=manifest.started_at,
        ended_at=manifest.ended_at,
        state=recording_state(path, closed=manifest.state is RecordingState.COMPLETE),
        tracks=len(manifest.tracks),
        duration_s=manifest.duration_s,
        size_bytes=manifest.size_bytes,
        problem="" if (path / JOURNAL_NAME).exists() else "the journal is missing; repair the recording",
        muxed_bytes=sum(file.size_bytes for file in manifest.muxed),
    )


def _manifest(path: Path) -> Manifest:
    """The manifest, unless it was left behind by a writer that could not finish it: then the journal's."""
    try:
        manifest = read_manifest(path)
    except MediaError:
        return manifest_from_records(read_sound_journal(path).records)
    if manifest.state is RecordingState.COMPLETE or is_locked(path / JOURNAL_NAME):
        return manifest
    try:
        return manifest_from_records(read_sound_journal(path).records)
    except MediaError:
        return manifest


def manifest_from_records(records: tuple[JournalRecord, ...]) -> Manifest:
    """The manifest that the journal's `records` add up to. Raises RecordingDamaged without a first line."""
    builder = ManifestBuilder(records)
    state = RecordingState.COMPLETE if builder.closed else RecordingState.INTERRUPTED
    return builder.build(state, records[-1].at if records else 0.0)


def recording_state(path: Path, *, closed: bool) -> RecordingState:
    """What the recording in the folder `path` is doing; `closed`: its journal ends so. Raises StorageError."""
    if closed:
        return RecordingState.COMPLETE
    if not is_locked(path / JOURNAL_NAME):
        return RecordingState.INTERRUPTED
    try:
        told = read_manifest_state(path)
    except MediaError:
        return RecordingState.RECORDING
    told_of = {RecordingState.STORAGE_ERROR, RecordingState.PAUSED}
    return told if told in told_of else RecordingState.RECORDING

"""Makes a damaged recording readable again: its journal and manifest from the files that are there."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from media.errors import MediaError, RecordingDamaged, RecordingNotFound
from media.record.entries import (
    ClockMapping,
    GapEntry,
    GapReason,
    InitEntry,
    JournalEntry,
    MuxedFileEntry,
    RecordingClosed,
    RecordingStarted,
    RtpAnchor,
    SegmentEntry,
    TrackOpened,
)
from media.record.init_recovery import InitRecovery
from media.record.journal import JOURNAL_NAME, Journal, JournalContents, read_journal
from media.record.journal_line import JournalRecord, encode_entry
from media.record.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from media.record.muxed_recovery import recover_muxed
from media.record.note import InitNote
from media.record.reader import manifest_from_records, view_from_records
from media.record.recovery import TrackRecovery, find_inits, segment_files, track_directories
from media.record.segment_damage import damaged_name, set_damage_aside
from media.record.storage import translated, write_durably
from media.rtp.clock_mapping import ClockSource

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was done, in words for a person; empty when nothing was wrong."""

    recording_id: str
    actions: tuple[str, ...]


def repair_recording(path: Path) -> RepairReport:
    """Rebuild journal, manifest and init segments of the recording in the folder `path` from what is there.

    Sound journal lines are kept, and what is missing comes from the manifest and from the notes in the media files.
    Of segments what is whole is kept. What was damaged, journal or segment, is kept beside the new one. Segments
    found count as closed at the time of the last line. Raises RecordingNotFound without any trace of a recording,
    RecordingBusy while it is being written, RecordingDamaged when nothing says what it is of, StorageError.
    """
    if not (path / "tracks").exists() and not (path / JOURNAL_NAME).exists() and not (path / MANIFEST_NAME).exists():
        raise RecordingNotFound(f"there is no recording at {path}")
    journal = Journal(path)
    try:
        return _Repair(path).run()
    finally:
        journal.close()


class _Repair:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._actions: list[str] = []
        self._contents = read_journal(path)
        self._records = list(self._contents.records)
        self._manifest = self._read_manifest()
        self._inits = self._read_inits()
        self._now = max((record.at for record in self._records), default=0.0)

    def run(self) -> RepairReport:
        started = self._started()
        tracks = self._tracks()
        for opened in tracks:
            self._repair_track(started, opened)
        self._repair_muxed()
        self._repair_end()
        another = bool(self._actions or self._contents.torn_bytes or self._contents.bad_lines)
        self._repair_manifest()
        if another:  # last: our lock is not on the new file, so that who waits may write from then on
            self._write_journal(self._contents)
        if self._actions:
            _log.warning("recording_repaired", recording=started.recording_id, actions=self._actions)
        return RepairReport(started.recording_id, tuple(self._actions))

    def _read_manifest(self) -> Manifest | None:
        try:
            return read_manifest(self._path)
        except MediaError:
            return None

    def _read_inits(self) -> list[tuple[InitEntry, InitNote]]:
        directories = track_directories(self._path)
        return [item for number in sorted(directories) for item in find_inits(self._path, directories[number])]

    def _started(self) -> RecordingStarted:
        """How the recording started: from the journal, the manifest or an init segment."""
        for record in self._records:
            if isinstance(record.entry, RecordingStarted):
                return record.entry
        manifest = self._manifest
        if manifest is not None:
            started = RecordingStarted(manifest.recording_id, manifest.room, manifest.room_sid, manifest.started_at)
        elif self._inits:
            started = self._inits[0][1].recording
        else:
            raise RecordingDamaged(
                f"neither journal nor manifest nor any file says what {self._path} is a recording of"
            )
        self._records.insert(0, JournalRecord(started.started_at, started))
        self._actions.append("rebuilt the start of the journal")
        self._now = max(self._now, started.started_at, manifest.updated_at if manifest is not None else 0.0)
        return started

    def _repair_end(self) -> None:
        """A manifest that says the recording was closed was written after the line that is lost."""
        manifest, closed = self._manifest, any(isinstance(entry, RecordingClosed) for entry in self._entries())
        if manifest is not None and manifest.ended_at is not None and not closed:
            self._add(RecordingClosed(manifest.ended_reason), manifest.ended_at)
            self._actions.append("rebuilt the end of the journal")

    def _tracks(self) -> list[TrackOpened]:
        """All tracks that anything knows of; those that the journal lacks are added to it."""
        known = {entry.track: entry for entry in self._entries() if isinstance(entry, TrackOpened)}
        found = dict(known)
        for track in self._manifest.tracks if self._manifest else ():
            found.setdefault(track.track, TrackOpened(track.track, track.directory, track.timescale, track.descriptor))
        for _, note in self._inits:
            found.setdefault(note.track.track, note.track)
        for number in sorted(found.keys() - known.keys()):
            # Before all that is said of the track: readers leave out what is about a track they do not know.
            self._records.insert(1, JournalRecord(self._start_at(), found[number]))
            self._actions.append(f"rebuilt track {number}")
        return [found[number] for number in sorted(found)]

    def _repair_track(self, started: RecordingStarted, opened: TrackOpened) -> None:
        inits = self._repair_inits(opened)
        self._drop_missing(opened)
        cut = self._drop_damaged(opened)
        inits = self._rebuild_inits(started, opened, inits)
        self._repair_clock(opened, self._known_clock(opened))
        known = {segment.sequence for segment in self._segments(opened)}
        recovery = TrackRecovery(self._path, started.recording_id, opened, inits, self._now)
        with translated(f"look at {opened.directory}"):
            sizes = {file.sequence: file.path.stat().st_size for file in segment_files(self._path / opened.directory)}
        for segment in recovery.recover(known):
            entry = segment.entry
            if entry.size_bytes < sizes[entry.sequence]:
                cut.add(entry.sequence)
            self._add(entry, self._now)
            self._actions.append(f"found segment {entry.id} with {entry.samples} samples")
            note_clock = [item for item in (segment.rtp_anchor, segment.clock_mapping) if item is not None]
            self._repair_clock(opened, note_clock)
        self._settle_ends(opened, cut)
        self._tell_gaps(opened)

    def _repair_muxed(self) -> None:
        listed = [entry for entry in self._entries() if isinstance(entry, MuxedFileEntry)]
        for entry in listed:
            with translated(f"look at {entry.path}"):
                there = (self._path / entry.path).exists()
            if not there:
                self._records = [record for record in self._records if record.entry != entry]
                self._actions.append(f"dropped {entry.path}: the file is gone")
        for entry in recover_muxed(self._path, {item.path for item in listed}, self._now):
            self._add(entry, self._now)
            self._actions.append(f"found {entry.path} with {entry.samples} samples")

    def _repair_inits(self, opened: TrackOpened) -> list[InitEntry]:
        known = [e for e in self._entries() if isinstance(e, InitEntry) and e.track == opened.track]
        paths = {entry.path for entry in known}
        for entry, note in self._inits:
            if note.track.track == opened.track and entry.path not in paths:
                self._add(entry, self._start_at())
                self._actions.append(f"found init segment {entry.path}")
                known.append(entry)
        return known

    def _drop_missing(self, opened: TrackOpened) -> None:
        """Entries of segments whose files are gone say what nobody can read."""
        for segment in self._segments(opened):
            with translated(f"look at {segment.path}"):
                there = (self._path / segment.path).exists()
            if not there:
                self._records = [record for record in self._records if record.entry != segment]
                self._actions.append(f"dropped segment {segment.id}: its file is gone")

    def _drop_damaged(self, opened: TrackOpened) -> set[int]:
        """Segments cut short or broken inside are found anew, with what is whole of them; their numbers."""
        cut: set[int] = set()
        told = {segment.sequence: segment for segment in self._segments(opened)}
        for file in segment_files(self._path / opened.directory):
            if not file.finished:
                continue
            entry = told.get(file.sequence)
            damage = set_damage_aside(file, opened.descriptor.codec, entry)
            if damage:
                cut.add(file.sequence)
                self._actions.append(damage)
                self._records = [record for record in self._records if entry is None or record.entry != entry]
        return cut

    def _rebuild_inits(self, started: RecordingStarted, opened: TrackOpened, known: list[InitEntry]) -> list[InitEntry]:
        files = segment_files(self._path / opened.directory)
        made = {e.path: e for e in InitRecovery(self._path, started, opened, known).recover(files)}
        for entry in made.values():
            self._actions.append(f"made init segment {entry.path} again")
            if entry not in known:
                self._records = [
                    record
                    for record in self._records
                    if not isinstance(record.entry, InitEntry) or record.entry.path != entry.path
                ]
                self._add(entry, self._start_at())
        return [entry for entry in known if entry.path not in made] + list(made.values())

    def _known_clock(self, opened: TrackOpened) -> list[RtpAnchor | ClockMapping]:
        found: list[RtpAnchor | ClockMapping] = []
        for track in self._manifest.tracks if self._manifest else ():
            if track.track == opened.track:
                found += track.rtp_anchors
                found += track.clock_mappings
        return found

    def _repair_clock(self, opened: TrackOpened, told: list[RtpAnchor | ClockMapping]) -> None:
        """Add anchors and mappings that the journal lost; what it says of later times stays in force."""
        entries = list(self._entries())
        for item in told:
            if item in entries:
                continue
            later = [
                index
                for index, record in enumerate(self._records)
                if isinstance(record.entry, RtpAnchor | ClockMapping)
                and type(record.entry) is type(item)
                and record.entry.track == opened.track
                and _order(record.entry) > _order(item)
            ]
            self._records.insert(later[0] if later else len(self._records), JournalRecord(self._start_at(), item))
            self._actions.append(f"found a {type(item).__name__} of track {opened.track} at {item.decode_time}")

    def _settle_ends(self, opened: TrackOpened, cut: set[int]) -> None:
        """A WebM file does not say how long its last frame lasted; the segment after one that is not cut does."""
        for before, after in itertools.pairwise(self._segments(opened)):
            away = after.decode_time - before.end_decode_time
            follows = after.sequence == before.sequence + 1 and not after.discontinuity and before.sequence not in cut
            if before.recovered and away and (away < 0 or (follows and before.path.endswith(".webm"))):
                settled = replace(before, duration=after.decode_time - before.decode_time)
                self._records = [
                    JournalRecord(record.at, settled) if record.entry == before else record for record in self._records
                ]

    def _tell_gaps(self, opened: TrackOpened) -> None:
        """Every hole between segments gets an entry."""
        told = {
            e.decode_time + e.duration for e in self._entries() if isinstance(e, GapEntry) and e.track == opened.track
        }
        for before, after in itertools.pairwise(self._segments(opened)):
            hole = after.decode_time - before.end_decode_time
            if hole > 0 and after.decode_time not in told:
                self._add(GapEntry(opened.track, before.end_decode_time, hole, GapReason.MISSING), self._now)
                self._actions.append(f"told the gap before segment {after.id}")

    def _write_journal(self, contents: JournalContents) -> None:
        """Replace the journal; the old one is kept where it was damaged, not only torn."""
        path = self._path / JOURNAL_NAME
        if contents.bad_lines:
            self._actions.append(f"dropped {len(contents.bad_lines)} damaged lines of the journal")
            write_durably(damaged_name(path), path.read_bytes())
        if contents.torn_bytes:
            self._actions.append(f"cut a torn tail of {contents.torn_bytes} bytes off the journal")
        lines = [encode_entry(record.entry, record.at) for record in self._records if record.entry is not None]
        write_durably(path, b"".join(lines))

    def _repair_manifest(self) -> None:
        told = manifest_from_records(tuple(self._records))
        view_from_records(self._path, tuple(self._records))
        current = self._manifest
        if current is None or _told_of(current) != _told_of(told):
            write_manifest(self._path, told, readable=True)
            self._actions.append("rebuilt the manifest")

    def _add(self, entry: JournalEntry, at: float) -> None:
        """Put an entry where it belongs: before the line that closes the recording, where there is one."""
        last = self._records[-1].entry if self._records else None
        at_end = len(self._records) - isinstance(last, RecordingClosed)
        self._records.insert(at_end, JournalRecord(at, entry))

    def _entries(self) -> list[JournalEntry]:
        return [record.entry for record in self._records if record.entry is not None]

    def _segments(self, opened: TrackOpened) -> list[SegmentEntry]:
        found = (e for e in self._entries() if isinstance(e, SegmentEntry) and e.track == opened.track)
        return sorted(found, key=lambda item: item.sequence)

    def _start_at(self) -> float:
        return self._records[0].at


def _told_of(manifest: Manifest) -> tuple[object, ...]:
    """What a manifest that is right says as the journal does."""
    return manifest.state, manifest.ended_at, manifest.ended_reason, manifest.tracks, manifest.muxed


def _order(item: RtpAnchor | ClockMapping) -> tuple[int, int]:
    """By time, then the better source last: a later line replaces earlier ones."""
    rank = list(ClockSource).index(item.source) if isinstance(item, ClockMapping) else 0
    return item.decode_time, rank

"""Is a recording what its journal says? Every file is read; nothing is changed."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from media.errors import MediaError, RecordingDamaged, StorageError
from media.record.entries import InitEntry, MuxedFileEntry, RecordingState, SegmentEntry
from media.record.journal import JOURNAL_NAME, read_journal
from media.record.journal_line import JournalRecord
from media.record.manifest import read_manifest
from media.record.mapped_file import mapped, sha256_of
from media.record.movie import scan_movie
from media.record.muxed_recovery import muxed_files
from media.record.muxer import Muxer, muxer_for
from media.record.reader import RecordingView, TrackView, manifest_from_records, view_from_records
from media.record.recovery import segment_files, track_directories
from media.record.sample import SegmentScan
from media.record.storage import translated


class ProblemCode(StrEnum):
    """What can be wrong with a recording; stable names."""

    JOURNAL_DAMAGED = "journal_damaged"
    JOURNAL_TORN = "journal_torn"
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_DIFFERS = "manifest_differs"
    FILE_MISSING = "file_missing"
    SIZE_DIFFERS = "size_differs"
    HASH_DIFFERS = "hash_differs"
    SEGMENT_TORN = "segment_torn"
    SAMPLES_DIFFER = "samples_differ"
    TIMES_DIFFER = "times_differ"
    INIT_UNKNOWN = "init_unknown"
    SEGMENT_NUMBER_MISSING = "segment_number_missing"
    SEGMENTS_OVERLAP = "segments_overlap"
    GAP_UNTOLD = "gap_untold"
    TRACK_UNLISTED = "track_unlisted"
    SEGMENT_UNLISTED = "segment_unlisted"
    SEGMENT_UNFINISHED = "segment_unfinished"
    MUXED_FILE_UNLISTED = "muxed_file_unlisted"
    MUXED_FILE_UNFINISHED = "muxed_file_unfinished"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `path` is relative to the recording; empty when it is about no file."""

    code: ProblemCode
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was checked and what was wrong with it. A sound recording has no problems."""

    recording_id: str
    state: RecordingState
    tracks: int
    segments: int
    samples: int
    size_bytes: int
    problems: tuple[Problem, ...]


def verify_recording(path: Path) -> VerificationReport:
    """Check the recording in the folder `path`, finished or not: reads all of it.

    Raises RecordingNotFound, RecordingDamaged when the journal does not even say what it is of, StorageError.
    """
    contents = read_journal(path)
    view = view_from_records(path, contents.records)
    live = view.state not in {RecordingState.COMPLETE, RecordingState.INTERRUPTED}
    problems: list[Problem] = []
    if contents.bad_lines:
        lines = ", ".join(map(str, contents.bad_lines[:10]))
        problems.append(Problem(ProblemCode.JOURNAL_DAMAGED, JOURNAL_NAME, f"damaged lines: {lines}"))
    if contents.torn_bytes and not live:
        problems.append(Problem(ProblemCode.JOURNAL_TORN, JOURNAL_NAME, f"{contents.torn_bytes} bytes of a torn tail"))
    problems += _manifest_problems(path, contents.records, live=live)
    for track in view.tracks:
        problems += _track_problems(view, track, live=live)
    for muxed in view.muxed:
        problems += _muxed_problems(view, muxed)
    if not live:
        problems += _stray_tracks(view)
        problems += _stray_muxed(view)
    segments = [segment for track in view.tracks for segment in track.segments]
    return VerificationReport(
        recording_id=view.recording_id,
        state=view.state,
        tracks=len(view.tracks),
        segments=len(segments),
        samples=sum(segment.samples for segment in segments),
        size_bytes=sum(segment.size_bytes for segment in segments),
        problems=tuple(problems),
    )


def _manifest_problems(path: Path, records: tuple[JournalRecord, ...], *, live: bool) -> Iterator[Problem]:
    """Only a closed recording's manifest has to agree; while it runs the manifest is a little behind."""
    try:
        manifest = read_manifest(path)
    except (MediaError, StorageError) as error:
        yield Problem(ProblemCode.MANIFEST_MISSING, "manifest.json", str(error))
        return
    told = manifest_from_records(records)
    complete = told.state is RecordingState.COMPLETE and not live
    if complete and (manifest.tracks, manifest.size_bytes) != (told.tracks, told.size_bytes):
        yield Problem(ProblemCode.MANIFEST_DIFFERS, "manifest.json", "it does not sum up the journal")


def _track_problems(view: RecordingView, track: TrackView, *, live: bool) -> Iterator[Problem]:
    for init in track.inits:
        yield from _file_problems(view.path, init)
    for segment in track.segments:
        yield from _segment_problems(view, track, segment)
    yield from _continuity_problems(track)
    if not live:
        yield from _stray_problems(view, track)


def _file_problems(path: Path, entry: InitEntry | SegmentEntry) -> Iterator[Problem]:
    data = _read(path / entry.path)
    if data is None:
        yield Problem(ProblemCode.FILE_MISSING, entry.path, "the file is not there")
    else:
        yield from _sum_problems(entry, len(data), hashlib.sha256(data).hexdigest())


def _sum_problems(entry: InitEntry | SegmentEntry | MuxedFileEntry, size_bytes: int, sha256: str) -> Iterator[Problem]:
    if size_bytes != entry.size_bytes:
        yield Problem(ProblemCode.SIZE_DIFFERS, entry.path, f"{size_bytes} bytes, the journal says {entry.size_bytes}")
    elif sha256 != entry.sha256:
        yield Problem(ProblemCode.HASH_DIFFERS, entry.path, "its SHA-256 is not the journal's")


def _segment_problems(view: RecordingView, track: TrackView, segment: SegmentEntry) -> Iterator[Problem]:
    problems = list(_file_problems(view.path, segment))
    yield from problems
    try:
        init = track.init_of(segment)
    except RecordingDamaged as error:
        yield Problem(ProblemCode.INIT_UNKNOWN, segment.path, str(error))
        return
    data = _read(view.file_of(segment))
    if data is not None:
        muxer = muxer_for(init.codec, init.container)
        yield from _content_problems(segment, muxer, muxer.scan(data), len(data))


def _content_problems(segment: SegmentEntry, muxer: Muxer, scan: SegmentScan, size_bytes: int) -> Iterator[Problem]:
    if scan.complete_bytes != size_bytes:
        lost = size_bytes - scan.complete_bytes
        yield Problem(ProblemCode.SEGMENT_TORN, segment.path, f"{lost} bytes at its end are no whole part")
    found = (len(scan.samples), scan.sync_samples, scan.parts)
    told = (segment.samples, segment.sync_samples, segment.parts)
    if found != told:
        text = f"samples, sync samples, parts: {found}, the journal says {told}"
        yield Problem(ProblemCode.SAMPLES_DIFFER, segment.path, text)
    elif scan.samples:
        first, last = scan.samples[0].decode_time, scan.samples[-1].decode_time
        grows = all(one.decode_time < two.decode_time for one, two in itertools.pairwise(scan.samples))
        if (
            abs(first - segment.decode_time) >= muxer.min_step
            or last >= segment.end_decode_time + muxer.min_step
            or not grows
        ):
            text = f"samples at {first} to {last}, the journal says {segment.decode_time} to {segment.end_decode_time}"
            yield Problem(ProblemCode.TIMES_DIFFER, segment.path, text)


def _continuity_problems(track: TrackView) -> Iterator[Problem]:
    told_until = {gap.decode_time + gap.duration for gap in track.gaps}
    for before, after in itertools.pairwise(track.segments):
        if after.sequence != before.sequence + 1:
            text = f"segments {before.sequence + 1} to {after.sequence - 1} are not in the journal"
            yield Problem(ProblemCode.SEGMENT_NUMBER_MISSING, after.path, text)
        if after.decode_time < before.end_decode_time:
            text = f"it starts at {after.decode_time}, before the end of the one before at {before.end_decode_time}"
            yield Problem(ProblemCode.SEGMENTS_OVERLAP, after.path, text)
        elif after.decode_time > before.end_decode_time and after.decode_time not in told_until:
            text = f"nothing says why there is no media from {before.end_decode_time} to {after.decode_time}"
            yield Problem(ProblemCode.GAP_UNTOLD, after.path, text)


def _stray_problems(view: RecordingView, track: TrackView) -> Iterator[Problem]:
    known = {segment.sequence for segment in track.segments}
    for file in segment_files(track.directory):
        relative = str(file.path.relative_to(view.path))
        if not file.finished:
            yield Problem(ProblemCode.SEGMENT_UNFINISHED, relative, "its writer died; resume or repair the recording")
        elif file.sequence not in known:
            yield Problem(ProblemCode.SEGMENT_UNLISTED, relative, "the journal does not list it; repair the recording")


def _stray_tracks(view: RecordingView) -> Iterator[Problem]:
    known = {track.number for track in view.tracks}
    for number, directory in sorted(track_directories(view.path).items()):
        if number not in known:
            yield Problem(ProblemCode.TRACK_UNLISTED, directory, "the journal does not list it; repair the recording")


def _muxed_problems(view: RecordingView, entry: MuxedFileEntry) -> Iterator[Problem]:
    path = view.file_of(entry)
    with translated(f"look at {path}"):
        there = path.exists()
    if not there:
        yield Problem(ProblemCode.FILE_MISSING, entry.path, "the file is not there")
        return
    with mapped(path) as data:
        size_bytes, digest = len(data), sha256_of(data, len(data))
        scan = scan_movie(entry.container, data)
    yield from _sum_problems(entry, size_bytes, digest)
    if lost := size_bytes - scan.complete_bytes:
        yield Problem(ProblemCode.SEGMENT_TORN, entry.path, f"{lost} bytes at its end are no whole part")
    found, told = (len(scan.samples), scan.parts), (entry.samples, entry.parts)
    if found != told:
        yield Problem(ProblemCode.SAMPLES_DIFFER, entry.path, f"samples, parts: {found}, the journal says {told}")


def _stray_muxed(view: RecordingView) -> Iterator[Problem]:
    known = {entry.path for entry in view.muxed}
    for file in muxed_files(view.path):
        relative = str(file.path.relative_to(view.path))
        if not file.finished:
            text = "its writer died; resume or repair the recording"
            yield Problem(ProblemCode.MUXED_FILE_UNFINISHED, relative, text)
        elif relative not in known:
            text = "the journal does not list it; repair the recording"
            yield Problem(ProblemCode.MUXED_FILE_UNLISTED, relative, text)


def _read(path: Path) -> bytes | None:
    with translated(f"read {path}"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

"""Segments that a dead writer left behind: kept up to their last whole part."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from media.frames import Codec, MediaKind
from media.record.entries import ClockMapping, Container, InitEntry, RtpAnchor, SegmentEntry, TrackOpened
from media.record.muxer import muxer_for
from media.record.note import InitNote, SegmentNote, decode_init_note, decode_segment_note
from media.record.sample import SegmentScan
from media.record.storage import TEMPORARY_SUFFIX, fsync_path, rewrite, translated

_SEGMENT_NAME = re.compile(r"^(\d{6,})(\.m4s|\.webm)(\.part)?$")
_DIRECTORY_NAME = re.compile(r"^(\d+)-(?:audio|video)$")
_INIT_NAME = re.compile(r"^init-(\d+)(\.mp4|\.webm)$")


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A file in a track's folder that is named like a segment. `finished`: it got its final name."""

    path: Path
    sequence: int
    container: Container
    finished: bool


@dataclass(frozen=True, slots=True)
class RecoveredSegment:
    """The entry for a segment found on disk, and what its note says of the clock at its start."""

    entry: SegmentEntry
    rtp_anchor: RtpAnchor | None
    clock_mapping: ClockMapping | None


def segment_files(directory: Path) -> Iterator[SegmentFile]:
    """The segment files of a track's folder in order of their numbers. Raises StorageError."""
    with translated(f"list {directory}"):
        names = sorted(entry.name for entry in directory.iterdir()) if directory.exists() else []
    found = [match for match in map(_SEGMENT_NAME.match, names) if match]
    for match in sorted(found, key=lambda item: (int(item[1]), item[3] or "")):
        container = Container.FMP4 if match[2] == Container.FMP4.segment_suffix else Container.WEBM
        yield SegmentFile(directory / match[0], int(match[1]), container, match[3] is None)


@dataclass(frozen=True, slots=True)
class TrackRecovery:
    """Finds what a dead writer left of one track. `inits` are those the journal knows."""

    recording_path: Path
    recording_id: str
    opened: TrackOpened
    inits: Collection[InitEntry]
    now: float

    def recover(self, known: Collection[int]) -> list[RecoveredSegment]:
        """Finish the segments that are not `known` by number: what is whole goes into a new file, durable, renamed.

        One without a whole part is removed. Raises StorageError.
        """
        files = segment_files(self.recording_path / self.opened.directory)
        found = [self._recover(file) for file in files if file.sequence not in known]
        return [segment for segment in found if segment is not None]

    def _recover(self, file: SegmentFile) -> RecoveredSegment | None:
        muxer = muxer_for(self.opened.descriptor.codec, file.container)
        with translated(f"read {file.path}"):
            data = file.path.read_bytes()
        scan = muxer.scan(data)
        if not scan.samples:
            if not file.finished:
                with translated(f"remove {file.path}"):
                    file.path.unlink()
            return None
        digest = hashlib.sha256(memoryview(data)[: scan.complete_bytes]).hexdigest()
        if not file.finished:
            # Its writer may have given up on an fsync that failed: another one of the same file would say nothing.
            rewrite(file.path, scan.complete_bytes, digest)
        path = finish_file(file.path, scan.complete_bytes, len(data))
        note = decode_segment_note(scan.note)
        entry = self._entry(file.sequence, path.name, digest, scan, note, muxer.min_step)
        if note is None:
            return RecoveredSegment(entry, None, None)
        return RecoveredSegment(entry, note.rtp_anchor, note.clock_mapping)

    def _entry(
        self, sequence: int, name: str, sha256: str, scan: SegmentScan, note: SegmentNote | None, tolerance: int
    ) -> SegmentEntry:
        first, last = scan.samples[0], scan.samples[-1]
        decode_time = first.decode_time
        if note is not None and abs(note.decode_time - decode_time) <= tolerance:
            decode_time = note.decode_time
        latest_init = max(self.inits, key=lambda item: item.index, default=None)
        init_path = latest_init.path if latest_init is not None else ""
        return SegmentEntry(
            id=f"{self.recording_id}/{self.opened.track}/{sequence}",
            track=self.opened.track,
            sequence=sequence,
            path=f"{self.opened.directory}/{name}",
            init_path=init_path if note is None else note.init_path,
            sha256=sha256,
            size_bytes=scan.complete_bytes,
            decode_time=decode_time,
            duration=last.decode_time + last.duration - decode_time,
            samples=len(scan.samples),
            sync_samples=scan.sync_samples,
            parts=scan.parts,
            discontinuity=note is None or note.discontinuity,
            independent=first.sync_sample or self.opened.descriptor.kind is MediaKind.AUDIO,
            recovered=True,
            closed_at=self.now,
        )


def find_inits(recording_path: Path, directory: str) -> list[tuple[InitEntry, InitNote]]:
    """The init segments in a track's folder (relative to the recording), in order. Raises StorageError."""
    with translated(f"list {directory}"):
        files = sorted((recording_path / directory).glob("init-*"))
    found = [read_init(recording_path, file) for file in files]
    return sorted((item for item in found if item is not None), key=lambda item: item[0].index)


def track_directories(recording_path: Path) -> dict[int, str]:
    """The folders of tracks that are there, by track number, relative to the recording. Raises StorageError."""
    with translated(f"list {recording_path}"):
        found = [_DIRECTORY_NAME.match(entry.name) for entry in (recording_path / "tracks").glob("*")]
    return {int(match[1]): f"tracks/{match[0]}" for match in found if match}


def read_init(recording_path: Path, path: Path) -> tuple[InitEntry, InitNote] | None:
    """The entry for an init segment file by the note in it; None when the file is none of ours. Raises StorageError."""
    match = _INIT_NAME.match(path.name)
    if match is None:
        return None
    container = Container.FMP4 if match[2] == Container.FMP4.init_suffix else Container.WEBM
    with translated(f"read {path}"):
        data = path.read_bytes()
    note = decode_init_note(muxer_for(Codec.OPUS, container).scan(data).note)
    if note is None:
        return None
    digest = hashlib.sha256(data).hexdigest()
    relative = str(path.relative_to(recording_path))
    entry = InitEntry(
        note.track.track,
        note.index,
        relative,
        container,
        note.codec,
        note.codec_string,
        note.width,
        note.height,
        digest,
        len(data),
    )
    return entry, note


def finish_file(found: Path, complete_bytes: int, size_bytes: int) -> Path:
    """Cut the file to its whole parts and give it its name; the path it then has."""
    path = found.with_name(found.name.removesuffix(TEMPORARY_SUFFIX))
    with translated(f"recover {found}"):
        descriptor = os.open(found, os.O_WRONLY)
        try:
            if complete_bytes < size_bytes:
                os.ftruncate(descriptor, complete_bytes)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path != found:
            found.replace(path)
        fsync_path(path.parent)
    return path

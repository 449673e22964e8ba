"""Files with audio and video together that a dead writer left behind: kept up to their last whole fragment."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from media.record.entries import Container, MuxedFileEntry
from media.record.mapped_file import mapped, sha256_of
from media.record.movie import end_s, scan_movie
from media.record.muxed_file import MuxedNote, decode_muxed_note
from media.record.muxed_writer import MUXED_DIRECTORY
from media.record.recovery import finish_file
from media.record.sample import SegmentScan
from media.record.storage import translated

_NAME = re.compile(r"^(\d{4,})(\.mp4|\.webm)(\.part)?$")


@dataclass(frozen=True, slots=True)
class MuxedFileFound:
    """A file in a participant's folder that is named like one of ours. `finished`: it got its final name."""

    path: Path
    sequence: int
    container: Container
    finished: bool


def muxed_files(recording_path: Path) -> Iterator[MuxedFileFound]:
    """All such files of a recording in order of folders and numbers. Raises StorageError."""
    root = recording_path / MUXED_DIRECTORY
    with translated(f"list {root}"):
        found = sorted(root.glob("*/*")) if root.exists() else []
    for path in found:
        match = _NAME.match(path.name)
        if match is not None:
            container = Container.FMP4 if match[2] == Container.FMP4.init_suffix else Container.WEBM
            yield MuxedFileFound(path, int(match[1]), container, match[3] is None)


def next_muxed_numbers(recording_path: Path) -> dict[str, int]:
    """For each folder (relative to the recording) the number of its next file. Raises StorageError."""
    numbers: dict[str, int] = {}
    for file in muxed_files(recording_path):
        directory = str(file.path.parent.relative_to(recording_path))
        numbers[directory] = max(numbers.get(directory, 1), file.sequence + 1)
    return numbers


def recover_muxed(recording_path: Path, known: Collection[str], now: float) -> list[MuxedFileEntry]:
    """Finish the files whose paths are not `known`: cut off what is torn, fsync, rename.

    One without a whole fragment, or without a note that says what it is, is left out, and removed when it was not
    finished. Raises StorageError.
    """
    files = (file for file in muxed_files(recording_path) if str(file.path.relative_to(recording_path)) not in known)
    found = [_recover(recording_path, file, now) for file in files]
    return [entry for entry in found if entry is not None]


def _recover(recording_path: Path, file: MuxedFileFound, now: float) -> MuxedFileEntry | None:
    with mapped(file.path) as data:
        scan, size_bytes = scan_movie(file.container, data), len(data)
        digest = sha256_of(data, scan.complete_bytes)
    note = decode_muxed_note(scan.note)
    if note is None or not scan.samples:
        if not file.finished:
            with translated(f"remove {file.path}"):
                file.path.unlink()
        return None
    path = finish_file(file.path, scan.complete_bytes, size_bytes)
    return _entry(str(path.relative_to(recording_path)), file.container, note, scan, digest, now)


def _entry(
    path: str, container: Container, note: MuxedNote, scan: SegmentScan, sha256: str, now: float
) -> MuxedFileEntry:
    timescales = dict(enumerate(note.timescales, start=1))
    return MuxedFileEntry(
        path=path,
        sequence=note.sequence,
        participant_identity=note.participant_identity,
        source=note.source,
        container=container,
        tracks=note.tracks,
        sha256=sha256,
        size_bytes=scan.complete_bytes,
        start_media_time_s=note.start_media_time_s,
        duration_s=end_s(container, scan.samples, timescales),
        samples=len(scan.samples),
        parts=scan.parts,
        recovered=True,
        closed_at=now,
    )

"""Finished segments that are no longer what the journal says: what of them is whole stays, nothing is thrown away."""

import hashlib
import itertools
from pathlib import Path

from media.frames import Codec
from media.record.entries import SegmentEntry
from media.record.muxer import muxer_for
from media.record.recovery import SegmentFile
from media.record.storage import fsync_path, translated, write_durably

_DAMAGED_SUFFIX = ".damaged"


def damaged_name(path: Path) -> Path:
    """A free name beside `path` for what was found there."""
    names = (path.with_name(f"{path.name}{_DAMAGED_SUFFIX}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def set_damage_aside(file: SegmentFile, codec: Codec, told: SegmentEntry | None) -> str:
    """Look at a finished segment, of which the journal says `told`; what was found in words, "" for nothing.

    Where it is cut short or broken inside, it is to be recovered like a dead writer's, and what that will cut off is
    kept in a copy beside it. A segment with nothing whole is moved aside. Bytes that differ inside samples cannot be
    mended and stay, for `verify_recording` to tell. Raises StorageError.
    """
    with translated(f"read {file.path}"):
        data = file.path.read_bytes()
    if told is not None and hashlib.sha256(data).hexdigest() == told.sha256:
        return ""
    scan = muxer_for(codec, file.container).scan(data)
    if not scan.samples:
        return _move_aside(file.path)
    if told is None:
        torn = scan.complete_bytes < len(data)
        name = f"{file.path.parent.name}/{file.path.name}"
        return _keep_copy(file.path, data, f"kept {len(scan.samples)} samples of {name}") if torn else ""
    found = (scan.complete_bytes, len(scan.samples), scan.sync_samples, scan.parts)
    if found == (len(data), told.samples, told.sync_samples, told.parts):
        return ""
    kept = f"kept {len(scan.samples)} of {told.samples} samples of segment {told.id}"
    if scan.complete_bytes == len(data):
        return kept
    return _keep_copy(file.path, data, kept)


def _keep_copy(path: Path, data: bytes, kept: str) -> str:
    copy = damaged_name(path)
    write_durably(copy, data)
    return f"{kept}; what was there is in {copy.name}"


def _move_aside(path: Path) -> str:
    aside = damaged_name(path)
    with translated(f"rename {path}"):
        path.rename(aside)
        fsync_path(path.parent)
    return f"nothing in {path.parent.name}/{path.name} is whole; it is now {aside.name}"

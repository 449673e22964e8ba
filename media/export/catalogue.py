"""The catalogue of verified segments: each is hashed once, when it closes, and again only if it changed."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from media.delivery.local import file_sha256
from media.errors import RecordingDamaged
from media.export.store import CatalogueEntry, ExportStore
from media.record.storage import translated


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file of a recording as its journal describes it. `segment_id` is empty for an init segment."""

    segment_id: str
    path: str
    sha256: str
    size_bytes: int


def verify_recorded_file(
    store: ExportStore, recording_path: Path, file: RecordedFile, known: CatalogueEntry | None
) -> bool:
    """Compare `file` with the disk and enter it in the catalogue. True when it had to be hashed.

    `known` is the file's catalogue entry; while size, modification time and the journal's hash are the
    same, the file is taken as it was. Raises RecordingDamaged (noted in the catalogue), StorageError.
    """
    try:
        mtime_ns, hashed = _compare(recording_path / file.path, file, known)
    except RecordingDamaged as error:
        store.report_damaged(recording_path, file.path, str(error))
        raise
    if hashed:
        store.catalogue(
            CatalogueEntry(
                recording_path, file.path, file.segment_id, file.sha256, file.size_bytes, mtime_ns, time.time()
            )
        )
    return hashed


def _compare(path: Path, file: RecordedFile, known: CatalogueEntry | None) -> tuple[int, bool]:
    """The file's modification time, and whether it had to be hashed."""
    with translated(f"read {path}"):
        found = _stat(path)
    if found is None:
        raise RecordingDamaged(f"{path} is missing; restore it or repair the recording")
    if found.st_size != file.size_bytes:
        raise RecordingDamaged(f"{path} has {found.st_size} bytes where its journal says {file.size_bytes}")
    if known and (known.sha256, known.mtime_ns) == (file.sha256, found.st_mtime_ns):
        return found.st_mtime_ns, False
    if file_sha256(path) != file.sha256:
        raise RecordingDamaged(f"{path} is not what its journal says: its sha256 differs")
    return found.st_mtime_ns, True


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None

"""One media segment being written: `<name>.part`, part by part, then fsync, rename, fsync of the folder."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from media.record.muxer import Muxer
from media.record.sample import Sample
from media.record.storage import TEMPORARY_SUFFIX, fsync_directory, translated, write_all


class SegmentWriter:
    """The open file of a segment. Each part is one write; one that fails is cut off again, so the rest stays whole."""

    def __init__(self, path: Path, muxer: Muxer, sequence: int, note: bytes, *, fsync_parts: bool = False) -> None:
        """Create `path` with `.part` added, beginning with `note`.

        `fsync_parts` makes each part survive a power cut, not only the end of the process. Raises StorageError.
        """
        self.path = path
        self.samples = 0
        self.sync_samples = 0
        self.parts = 0
        self.size_bytes = 0
        self.end_decode_time = 0
        self._muxer = muxer
        self._sequence = sequence
        self._fsync_parts = fsync_parts
        self._sha256 = hashlib.sha256()
        self._temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        with translated(f"create {self._temporary}"):
            self._descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self._write(muxer.segment_head(note))
        except BaseException:
            self.discard()
            raise

    @property
    def sha256(self) -> str:
        """The hash of what is written so far."""
        return self._sha256.hexdigest()

    def append(self, samples: Sequence[Sample]) -> None:
        """Write one part. Raises StorageError; the file then ends with the part before."""
        self._write(self._muxer.media_part(self._sequence, self.parts, samples))
        self.parts += 1
        self.samples += len(samples)
        self.sync_samples += sum(sample.sync_sample for sample in samples)
        self.end_decode_time = samples[-1].end_decode_time

    def finish(self) -> None:
        """Make the segment durable under its name. Raises StorageError; may then be called again."""
        with translated(f"finish {self.path}"):
            if self._descriptor >= 0:
                os.fsync(self._descriptor)
                self._close()
            if self._temporary.exists():
                self._temporary.replace(self.path)
            fsync_directory(self.path.parent)

    def discard(self) -> None:
        """Drop a segment that has no part. Raises StorageError."""
        self._close()
        with translated(f"remove {self._temporary}"):
            self._temporary.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close the file as it is: `Recording.resume` or `repair_recording` finishes it."""
        self._close()

    def _write(self, data: bytes) -> None:
        with translated(f"write {self._temporary}"):
            try:
                write_all(self._descriptor, data)
                if self._fsync_parts:
                    os.fsync(self._descriptor)
            except OSError:
                os.ftruncate(self._descriptor, self.size_bytes)
                os.lseek(self._descriptor, self.size_bytes, os.SEEK_SET)
                raise
        self._sha256.update(data)
        self.size_bytes += len(data)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

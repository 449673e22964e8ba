"""One media segment being written: `<name>.part`, part by part, then fsync, rename, fsync of the folder."""

from collections.abc import Sequence
from pathlib import Path

from media.record.growing_file import GrowingFile
from media.record.muxer import Muxer
from media.record.sample import Sample


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
        self.end_decode_time = 0
        self._muxer = muxer
        self._sequence = sequence
        self._file = GrowingFile(path, muxer.segment_head(note), fsync_pieces=fsync_parts)

    @property
    def size_bytes(self) -> int:
        """What is written so far."""
        return self._file.size_bytes

    @property
    def sha256(self) -> str:
        """The hash of what is written so far."""
        return self._file.sha256

    def append(self, samples: Sequence[Sample]) -> None:
        """Write one part. Raises StorageError; the file then ends with the part before."""
        self._file.append(self._muxer.media_part(self._sequence, self.parts, samples))
        self.parts += 1
        self.samples += len(samples)
        self.sync_samples += sum(sample.sync_sample for sample in samples)
        self.end_decode_time = samples[-1].end_decode_time

    def finish(self) -> None:
        """Make the segment durable under its name. Raises as `GrowingFile.finish`."""
        self._file.finish()

    def discard(self) -> None:
        """Drop a segment that has no part. Raises StorageError."""
        self._file.discard()

    def abandon(self) -> None:
        """Close the file as it is: `Recording.resume` or `repair_recording` finishes it."""
        self._file.close()

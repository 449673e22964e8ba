"""The journal and the manifest of one recording, kept in step by its writer."""

from collections.abc import Callable
from pathlib import Path

from media.errors import StorageError
from media.record.entries import JournalEntry, RecordingState, SegmentEntry
from media.record.journal import Journal
from media.record.journal_line import JournalRecord
from media.record.manifest import ManifestBuilder, write_manifest
from media.record.recorded_time import RecordedTime

_MANIFEST_INTERVAL_S = 30.0
"""A manifest is a summary for listings: that old at most, while segments come."""

_COMMIT_INTERVAL_S = 5.0
"""Entries that came with no segment wait at most this long for their fsync."""


class Ledger:
    """Where entries are recorded. A segment is announced only once its line is durable."""

    def __init__(self, path: Path, journal: Journal, builder: ManifestBuilder) -> None:
        self._path = path
        self._journal = journal
        self._builder = builder
        self._unannounced: list[SegmentEntry] = []
        self._manifest_at = float("-inf")
        self._committed_at = float("-inf")
        self.segments = 0

    def record(self, entry: JournalEntry, at: float) -> None:
        """Note `entry`, said at `at` (Unix seconds); durable after the next `commit`."""
        self._journal.append(entry, at)
        self._builder.apply(JournalRecord(at, entry))
        if isinstance(entry, SegmentEntry):
            self._unannounced.append(entry)

    def commit(self, now: float, announce: Callable[[SegmentEntry], None]) -> None:
        """Make all entries durable, then announce the segments among them. Raises StorageError and forgets nothing."""
        self._journal.flush()
        self._committed_at = now
        segments, self._unannounced = self._unannounced, []
        self.segments += len(segments)
        for segment in segments:
            announce(segment)

    def tick(self, now: float, state: RecordingState, announce: Callable[[SegmentEntry], None]) -> None:
        """Commit what waits too long, and refresh an old manifest. Raises StorageError."""
        if self._journal.pending and now - self._committed_at >= _COMMIT_INTERVAL_S:
            self.commit(now, announce)
        if now - self._manifest_at >= _MANIFEST_INTERVAL_S:
            self.write_manifest(state, now)

    def write_manifest(self, state: RecordingState, now: float) -> None:
        """Write the manifest as of `now`. Raises StorageError."""
        write_manifest(self._path, self._builder.build(state, now))
        self._manifest_at = now

    def try_write_manifest(self, state: RecordingState, now: float) -> bool:
        """As `write_manifest` where the disk is known to refuse; whether it worked."""
        try:
            self.write_manifest(state, now)
        except StorageError:
            return False
        return True

    @property
    def recorded_time(self) -> RecordedTime:
        """For how long the recording has recorded, and whether it is paused; a copy."""
        return self._builder.recorded_time

    def close(self) -> None:
        """Close the journal and give its lock back."""
        self._journal.close()

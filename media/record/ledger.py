"""The journal and the manifest of one recording, kept in step by its writer."""

import time
from collections.abc import Callable
from pathlib import Path

from media.errors import StorageError
from media.record.entries import JournalEntry, RecordingState, SegmentEntry
from media.record.journal import Journal
from media.record.journal_line import JournalRecord
from media.record.manifest import ManifestBuilder, write_manifest
from media.record.recorded_time import RecordedTime

_MANIFEST_INTERVAL_S = 30.0
"""A manifest is a summary for listings: that old at most, unless it is a long one."""

_MANIFEST_SHARE = 0.01
"""Of the writer's time goes into manifests that nothing but time asks for: one that took 1 s is not due for 100 s."""

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
        self._manifest_took_s = 0.0
        self._manifest_lacks = False
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
        """Commit what waits too long, and refresh a manifest that is old or lacks something. Raises StorageError."""
        if self._journal.pending and now - self._committed_at >= _COMMIT_INTERVAL_S:
            self.commit(now, announce)
        rest_s = self._manifest_took_s / _MANIFEST_SHARE
        due_s = rest_s if self._manifest_lacks else max(rest_s, _MANIFEST_INTERVAL_S)
        if now - self._manifest_at >= due_s:
            self.write_manifest(state, now)

    def outdate_manifest(self) -> None:
        """Have the manifest written again as soon as that is not too dear: it lacks what listings show."""
        self._manifest_lacks = True

    def write_manifest(self, state: RecordingState, now: float, *, readable: bool = False) -> None:
        """Write the manifest as of `now`, `readable` where it is to stay as it is for long. Raises StorageError."""
        began_s = time.thread_time()
        write_manifest(self._path, self._builder.build(state, now), readable=readable)
        self._manifest_took_s = time.thread_time() - began_s
        self._manifest_at, self._manifest_lacks = now, False

    def try_write_manifest(self, state: RecordingState, now: float, *, readable: bool = False) -> bool:
        """As `write_manifest` where the disk is known to refuse; whether it worked."""
        try:
            self.write_manifest(state, now, readable=readable)
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

"""Reports of recordings that go on, for who asks again and again: what was read of the samples is not read anew."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from agent.quality_report import add_line, build_report, stored_report
from media.record.reader import QUALITY_NAME, EventLines, RecordingView
from quality.report import QualityReport, ReportBuilder

MOST = 50
"""Recordings that are kept; the one asked for longest ago goes first. A day of a large room takes some 20 MB."""


@dataclass(slots=True)
class _Gathered:
    lines: EventLines
    builder: ReportBuilder
    lock: Lock = field(default_factory=Lock)


class RunningReports:
    """As `read_quality_report`, from any thread: who asks for the same recording meanwhile waits."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._gathered: dict[tuple[Path, float], _Gathered] = {}

    def read(self, view: RecordingView) -> QualityReport:
        """The report of a recording as it is now. Raises QualityNotFound, RecordingNotFound, StorageError."""
        key = view.path, view.started_at
        stored = stored_report(view)
        if stored is not None:
            with self._lock:
                self._gathered.pop(key, None)
            return stored
        gathered = self._take(key)
        with gathered.lock:
            if gathered.lines.shrank:
                gathered.lines, gathered.builder = _nothing_yet(key)
            for event in gathered.lines.read():
                add_line(gathered.builder, event)
            builder = gathered.builder.copy()
        return build_report(view, builder)

    def _take(self, key: tuple[Path, float]) -> _Gathered:
        with self._lock:
            found = self._gathered.pop(key, None) or _Gathered(*_nothing_yet(key))
            self._gathered[key] = found  # at the end: the first is the one asked for longest ago
            if len(self._gathered) > MOST:
                del self._gathered[next(iter(self._gathered))]
            return found


def _nothing_yet(key: tuple[Path, float]) -> tuple[EventLines, ReportBuilder]:
    path, started_at = key
    return EventLines(path, QUALITY_NAME), ReportBuilder(started_at)

"""For how long a recording has recorded, pauses and the time between its closing and going on left out (pure)."""

from dataclasses import dataclass

from media.record.entries import (
    LEFT,
    RecordingClosed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingUnpaused,
)
from media.record.journal_line import JournalRecord


@dataclass(slots=True)
class RecordedTime:
    """Folds journal records. `paused`: whether the last word on it was a pause.

    Closing a recording ends its pause, unless its writer only left: whoever goes on is in the pause still.
    """

    started_at: float = 0.0
    idle_s: float = 0.0
    idle_since: float | None = None
    paused: bool = False

    def apply(self, record: JournalRecord) -> None:
        """Take the next journal record; those that are not about the whole recording change nothing."""
        entry = record.entry
        if isinstance(entry, RecordingStarted):
            self.started_at = entry.started_at
        elif isinstance(entry, RecordingPaused):
            self.pause(record.at)
        elif isinstance(entry, RecordingUnpaused):
            self.unpause(record.at)
        elif isinstance(entry, RecordingClosed):
            self.paused = self.paused and entry.reason == LEFT
            self._stop(record.at)
        elif isinstance(entry, RecordingResumed) and not self.paused:
            self._go_on(record.at)

    def pause(self, at: float) -> None:
        """Nothing is recorded from `at` (Unix seconds) on."""
        self.paused = True
        self._stop(at)

    def unpause(self, at: float) -> None:
        """It is recorded again."""
        self.paused = False
        self._go_on(at)

    def recorded_s(self, now: float) -> float:
        """Seconds recorded until `now`; what a dead writer missed counts as recorded, for its gap is in the tracks."""
        until = now if self.idle_since is None else self.idle_since
        return max(0.0, until - self.started_at - self.idle_s)

    def _stop(self, at: float) -> None:
        if self.idle_since is None:
            self.idle_since = at

    def _go_on(self, at: float) -> None:
        if self.idle_since is not None:
            self.idle_s += max(0.0, at - self.idle_since)
            self.idle_since = None

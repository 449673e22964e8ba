"""Freezes and pauses of a video track."""

from collections import deque

# W3C webrtc-stats freezeCount: against the linear average of the last 30 frame durations.
_FREEZE_WINDOW = 30
_FREEZE_FACTOR = 3
_FREEZE_MARGIN_S = 0.150
# W3C webrtc-stats pauseCount: no frame for more than five seconds.
_PAUSE_S = 5.0


class FreezeDetector:
    """Freezes and pauses of a video track, by the intervals at which its frames are shown (W3C webrtc-stats)."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=_FREEZE_WINDOW)
        self._sum = 0.0
        self._last: float | None = None
        self.freeze_count = 0
        self.total_freezes_duration = 0.0
        self.pause_count = 0
        self.total_pauses_duration = 0.0

    def frame(self, at: float) -> None:
        """A frame is shown at `at`, in seconds of whatever clock."""
        last, self._last = self._last, at
        if last is None:
            return
        duration = at - last
        if duration > _PAUSE_S:
            self.pause_count += 1
            self.total_pauses_duration += duration
            return
        durations = self._durations
        if durations:
            average = self._sum / len(durations)
            if duration >= max(_FREEZE_FACTOR * average, average + _FREEZE_MARGIN_S):
                self.freeze_count += 1
                self.total_freezes_duration += duration
        if len(durations) == _FREEZE_WINDOW:
            self._sum -= durations[0]
        durations.append(duration)
        self._sum += duration

    def interrupt(self) -> None:
        """The track is muted or paused on purpose: the time until the next frame is no freeze."""
        self._last = None

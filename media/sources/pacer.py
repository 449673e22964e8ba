"""When to hand over what a source gives: a pure core that takes times and returns what to do.

Video and audio of one source share a start, so both keep to the same timeline. After a stall the
late pictures and the late sound are dropped alike, which keeps them together.
"""

from dataclasses import dataclass

# A picture may be this late and still be sent: two frames at 25 fps, below what the eye takes for a jump.
VIDEO_LATE_LIMIT_S = 0.08
# Sound is queued this far ahead, so that a busy event loop does not starve the native 10 ms clock.
AUDIO_LEAD_S = 0.08
# Sound this late would play out of sync; one chunk of tolerance avoids dropping for mere jitter.
AUDIO_LATE_LIMIT_S = 0.02
_INTERVAL_TOLERANCE = 0.1  # of a frame interval: time stamps of 30000/1001 fps sources are rounded


@dataclass(frozen=True, slots=True)
class Wait:
    """Not due yet; ask again in `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Send:
    """Due now; `capture_time` is when it was due, on the clock that was passed in."""

    capture_time: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Too late, or more frames than asked for."""

    late: bool


class Pacer:
    """Decides for one track of one source; `start` is when pts 0 is to be heard and seen."""

    def __init__(
        self,
        *,
        start: float,
        late_limit_s: float = VIDEO_LATE_LIMIT_S,
        lead_s: float = 0.0,
        max_fps: float | None = None,
    ) -> None:
        self._start = start
        self._late_limit_s = late_limit_s
        self._lead_s = lead_s
        self._min_interval_s = 0.0
        self.limit_fps(max_fps)
        self._next_slot_s = float("-inf")
        self._sent = 0
        self._dropped_late = 0

    def limit_fps(self, max_fps: float | None) -> None:
        """Let at most so many frames a second through from now on; None: all."""
        self._min_interval_s = 1.0 / max_fps if max_fps else 0.0

    @property
    def sent(self) -> int:
        """How many were due in time."""
        return self._sent

    @property
    def dropped_late(self) -> int:
        """How many came too late; frames above `max_fps` are not counted."""
        return self._dropped_late

    def decide(self, pts_s: float, now: float) -> Wait | Send | Drop:
        """What to do at `now` with the frame of `pts_s`; pts must not decrease from call to call."""
        due = self._start + pts_s
        if now < due - self._lead_s:
            return Wait(due - self._lead_s - now)
        if now > due + self._late_limit_s:
            self._dropped_late += 1
            return Drop(late=True)
        if pts_s + self._min_interval_s * _INTERVAL_TOLERANCE < self._next_slot_s:
            return Drop(late=False)
        self._next_slot_s = max(self._next_slot_s, pts_s - self._min_interval_s) + self._min_interval_s
        self._sent += 1
        return Send(due)

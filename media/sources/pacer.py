"""When to hand over what a source gives: a pure core that takes times and returns what to do.

Video and audio of one source share a start, so both keep to the same timeline. After a stall the
late pictures and the late sound are dropped alike, which keeps them together. Where a source gives its pictures slower
than real time, all of them come to be late: then some are sent late, in place of none, and the source is asked to leave
out what it can, so that its pictures find back to the sound.
"""

from dataclasses import dataclass

# A picture may be this late and still be sent: two frames at 25 fps, below what the eye takes for a jump.
VIDEO_LATE_LIMIT_S = 0.08
# Sound is queued this far ahead, so that a busy event loop does not starve the native 10 ms clock.
AUDIO_LEAD_S = 0.08
# Sound this late would play out of sync; one chunk of tolerance avoids dropping for mere jitter.
AUDIO_LATE_LIMIT_S = 0.02
# Five pictures a second show that something moves, and cost a machine that is too slow already little.
LATE_PICTURE_EVERY_S = 0.2
# So late, and so long after the last time, a source is asked to leave out pictures: a hiccup is over by then.
LEAVE_OUT_LATE_S = 0.15
LEAVE_OUT_EVERY_S = 0.5
LEAVE_OUT_AHEAD_S = 0.1  # leaving out takes time itself, and what is early has something in hand
_INTERVAL_TOLERANCE = 0.1  # of a frame interval: time stamps of 30000/1001 fps sources are rounded


@dataclass(frozen=True, slots=True)
class Wait:
    """Not due yet; ask again in `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Send:
    """Due now; `capture_time` is when it was due, on the clock that was passed in.

    Of what is sent later than it may be, the latest time that it may have been due: times do not go back.
    `leave_out_before_s` as in Drop.
    """

    capture_time: float
    leave_out_before_s: float | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Too late, or more frames than asked for.

    `leave_out_before_s`: what the source has before this pts will come too late as well; `left_out` is to be told.
    """

    late: bool
    leave_out_before_s: float | None = None


class Pacer:
    """Decides for one track of one source; `start` is when pts 0 is to be heard and seen.

    With `late_every_s` so long after the last one, one is sent though it is late (None: never; sound would crackle).
    """

    def __init__(
        self,
        *,
        start: float,
        late_limit_s: float = VIDEO_LATE_LIMIT_S,
        lead_s: float = 0.0,
        max_fps: float | None = None,
        late_every_s: float | None = None,
    ) -> None:
        self._start = start
        self._late_limit_s = late_limit_s
        self._lead_s = lead_s
        self._late_every_s = late_every_s
        self._late_since: float | None = None
        self._sent_at = float("-inf")
        self._left_out_at = float("-inf")
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
        """How many were to be sent."""
        return self._sent

    @property
    def dropped_late(self) -> int:
        """How many came too late to be sent; frames above `max_fps` are not counted."""
        return self._dropped_late

    def decide(self, pts_s: float, now: float) -> Wait | Send | Drop:
        """What to do at `now` with the frame of `pts_s`; pts must not decrease from call to call."""
        due = self._start + pts_s
        if now < due - self._lead_s:
            self._late_since = None
            return Wait(due - self._lead_s - now)
        late = now > due + self._late_limit_s
        if not late:
            self._late_since = None
        elif not self._is_to_be_sent_late(now):
            self._dropped_late += 1
            return Drop(late=True, leave_out_before_s=self._leave_out_before_s(due, now))
        if pts_s + self._min_interval_s * _INTERVAL_TOLERANCE < self._next_slot_s:
            return Drop(late=False)
        self._next_slot_s = max(self._next_slot_s, pts_s - self._min_interval_s) + self._min_interval_s
        self._sent += 1
        self._sent_at = now
        return Send(max(due, now - self._late_limit_s), self._leave_out_before_s(due, now))

    def left_out(self, now: float) -> None:
        """The source was asked to leave out pictures, and has answered at `now`."""
        self._left_out_at = now

    def _is_to_be_sent_late(self, now: float) -> bool:
        if self._late_every_s is None:
            return False
        if self._late_since is None:
            self._late_since = now
        return now - max(self._late_since, self._sent_at) >= self._late_every_s

    def _leave_out_before_s(self, due: float, now: float) -> float | None:
        if self._late_every_s is None or now - due < LEAVE_OUT_LATE_S or now - self._left_out_at < LEAVE_OUT_EVERY_S:
            return None
        return now - self._start + LEAVE_OUT_AHEAD_S

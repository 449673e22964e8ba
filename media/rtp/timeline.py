"""The RTP time of a track as one line that never goes back, across wraps, pauses and restarts."""

from media.rtp.sequence import TimestampUnwrapper

# RTP time that runs this far from arrival time is a sender that restarted, not a pause.
TIMESTAMP_JUMP_S = 30.0
_MOST_BEHIND_S = 4 * TIMESTAMP_JUMP_S  # of a way that stood still: what it held comes at once
_FORGOTTEN = 0.01  # of the time that passes: no sender's clock is that wrong

_CYCLE = 1 << 32


class RtpTimeline:
    """Places frames, given in decoding order, on a timeline in ticks of the clock rate.

    A pause keeps its length: RTP time and arrival time agree then, even past a wrap of the 32-bit
    timestamp. Where RTP time goes back, or leaps 30 s or more that arrival time does not show, the
    sender started anew: the line goes on by the arrival time that passed, and `resets` counts it. So it does where many
    small leaps add up to as much.
    """

    __slots__ = ("_ahead_s", "_clock_rate", "_last_arrival", "_offset", "_resume_from", "_unwrapper", "resets")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._unwrapper = TimestampUnwrapper()
        self._last_arrival = 0.0
        self._ahead_s = 0.0
        self._offset = 0
        self._resume_from: int | None = None
        self.resets = 0

    @property
    def last(self) -> int | None:
        """The place of the last frame; None before the first."""
        last = self._unwrapper.last
        return self._resume_from if last is None else last + self._offset

    def restart(self) -> None:
        """The next frame's timestamp has no relation to the last one's (another SSRC)."""
        self._resume_from = self.last
        self._unwrapper.last = None

    def place(self, timestamp: int, arrival_time: float) -> int:
        """The timeline value of the next frame; never less than the last one."""
        unwrapper = self._unwrapper
        last = unwrapper.last
        elapsed_s = arrival_time - self._last_arrival
        self._last_arrival = max(self._last_arrival, arrival_time)
        if last is None:
            return self._place_first(timestamp, elapsed_s)
        step = unwrapper.locate(timestamp) - last
        jump = TIMESTAMP_JUMP_S * self._clock_rate
        if 0 <= step < jump and elapsed_s < TIMESTAMP_JUMP_S:
            unwrapper.last = last + step
            if self._runs_away(step, elapsed_s):
                self._begin_anew(step, elapsed_s * self._clock_rate)
            return last + step + self._offset
        return self._place_far(step, last, max(0.0, elapsed_s * self._clock_rate))

    def locate(self, timestamp: int) -> int | None:
        """The timeline value of a timestamp near the last frame's; None before the first frame."""
        if self._unwrapper.last is None:
            return None
        return self._unwrapper.locate(timestamp) + self._offset

    def _place_first(self, timestamp: int, elapsed_s: float) -> int:
        """The very first frame keeps its timestamp; after a restart arrival time goes on."""
        self._unwrapper.last = timestamp
        if self._resume_from is None:
            return timestamp
        self.resets += 1
        value = self._resume_from + max(1, round(elapsed_s * self._clock_rate))
        self._offset = value - timestamp
        return value

    def _runs_away(self, step: int, elapsed_s: float) -> bool:
        """Whether RTP time is far ahead of arrival time, though no single step was large."""
        ahead_s = self._ahead_s + step / self._clock_rate - elapsed_s
        if ahead_s > 0:
            ahead_s = max(0.0, ahead_s - _FORGOTTEN * max(0.0, elapsed_s))
        if ahead_s >= TIMESTAMP_JUMP_S:
            return True
        self._ahead_s = max(-_MOST_BEHIND_S, ahead_s)
        return False

    def _begin_anew(self, step: int, elapsed_ticks: float) -> None:
        self.resets += 1
        self._offset += max(1, round(elapsed_ticks)) - step

    def _place_far(self, step: int, last: int, elapsed_ticks: float) -> int:
        """A step back or far ahead: a pause when arrival time agrees, else a restart."""
        jump = TIMESTAMP_JUMP_S * self._clock_rate
        cycles = round((elapsed_ticks - step) / _CYCLE)
        if abs(step + cycles * _CYCLE - elapsed_ticks) < jump:
            step += cycles * _CYCLE
        self._unwrapper.last = last + step
        if step < 0 or (step >= jump and abs(step - elapsed_ticks) >= jump):
            self._begin_anew(step, elapsed_ticks)
        elif elapsed_ticks > step:
            self._ahead_s = max(-_MOST_BEHIND_S, self._ahead_s + (step - elapsed_ticks) / self._clock_rate)
        return self._unwrapper.last + self._offset

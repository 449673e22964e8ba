"""From RTP timestamps to the decode times of a track's file (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where an earlier writer of the track stopped: the end of its last sample, in ticks and in Unix seconds."""

    decode_time: int
    unix_time: float


@dataclass(frozen=True, slots=True)
class Anchor:
    """Decode times count from this pair on. `reset`: the sender's timestamps jumped."""

    decode_time: int
    rtp_timestamp: int
    arrival_time: float
    reset: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame's decode time; `anchor` when it was counted from a new one."""

    decode_time: int
    anchor: Anchor | None


class DecodeTimeline:
    """Gives strictly growing decode times: the RTP time since the first frame, exact wherever it can be.

    A timestamp that does not grow by `min_step` is clamped to that and counted. One that goes back by over
    `max_backward_s`, or leaps `reset_after_s` more than arrival time shows, is a reset: the line goes on by
    the arrival time that passed. A restarted writer goes on by arrival time too.
    """

    def __init__(
        self, timescale: int, reset_after_s: float, max_backward_s: float, resume: ResumePoint | None = None
    ) -> None:
        self._timescale = timescale
        self._reset_after = reset_after_s * timescale
        self._max_backward = max_backward_s * timescale
        self._resume = resume
        self._anchor: Anchor | None = None
        self.last_decode_time = 0
        self._last_arrival = 0.0
        self.clamped = 0
        self.resets = 0

    def place(self, rtp_timestamp: int, arrival_time: float, min_step: int) -> Placed:
        """The decode time of the next frame."""
        placed = self._place(rtp_timestamp, arrival_time, min_step)
        if placed.anchor is not None:
            self._anchor = placed.anchor
        self.last_decode_time = placed.decode_time
        self._last_arrival = arrival_time
        return placed

    def _place(self, rtp_timestamp: int, arrival_time: float, min_step: int) -> Placed:
        anchor, last = self._anchor, self.last_decode_time
        if anchor is None:
            return _anchored(self._first_decode_time(arrival_time), rtp_timestamp, arrival_time, reset=False)
        decode_time = anchor.decode_time + rtp_timestamp - anchor.rtp_timestamp
        step = decode_time - last
        elapsed = round((arrival_time - self._last_arrival) * self._timescale)
        if step < -self._max_backward or step - max(0, elapsed) >= self._reset_after:
            self.resets += 1
            return _anchored(last + max(min_step, elapsed), rtp_timestamp, arrival_time, reset=True)
        if step < min_step:
            self.clamped += 1
            return Placed(last + min_step, None)
        return Placed(decode_time, None)

    def _first_decode_time(self, arrival_time: float) -> int:
        if self._resume is None:
            return 0
        away_s = max(0.0, arrival_time - self._resume.unix_time)
        return self._resume.decode_time + round(away_s * self._timescale)


def _anchored(decode_time: int, rtp_timestamp: int, arrival_time: float, *, reset: bool) -> Placed:
    return Placed(decode_time, Anchor(decode_time, rtp_timestamp, arrival_time, reset))

"""Tells a sender that stalled, while its RTP time went on as if nothing had been, from a network that queues."""

from typing import NamedTuple

# livekit/egress clamps at as much; a conference never queues for longer on purpose.
_LATE_S = 0.5
_ON_TIME_S = 0.25
# Sender reports come every 3 s (livekit-server): without one by then, arrival alone decides.
_WAIT_S = 4.0
# No network queues for that long: whatever reports say, the sender's NTP time is wrong then.
_LONGEST_QUEUE_S = 30.0
# A report agrees with what arrival shows to within that much.
_AGREEMENT_S = 0.25


class Stall(NamedTuple):
    """Frames from `rtp_timestamp` on belong to another line; `least_delay_s` is the least arrival minus RTP time."""

    rtp_timestamp: int
    least_delay_s: float


class StallDetector:
    """Watches how late frames are against the line so far. A pure state machine; times in seconds.

    Late frames are a stall when a sender report from among them says that as much time passed, or when they
    stay late for 4 s and no report says otherwise. When a report says that RTP and NTP time still go together, the
    network queues, and arrival alone decides only after 30 s.
    """

    __slots__ = ("_first", "_least_delay_s", "_queued", "_since")

    def __init__(self) -> None:
        self._first: int | None = None
        self._least_delay_s = 0.0
        self._since = 0.0
        self._queued = False

    @property
    def late(self) -> bool:
        """Whether frames are so late that their arrival says nothing about the line so far."""
        return self._first is not None

    def observe_frame(self, rtp_timestamp: int, delay_s: float, usual_delay_s: float, now: float) -> Stall | None:
        """A frame came `delay_s` after its RTP time, where `usual_delay_s` was usual; the stall, once decided."""
        late_s = delay_s - usual_delay_s
        if late_s < _ON_TIME_S:
            self.clear()
            return None
        if self._first is None:
            if late_s > _LATE_S:
                self._first, self._least_delay_s, self._since = rtp_timestamp, delay_s, now
            return None
        self._least_delay_s = min(self._least_delay_s, delay_s)
        wait_s = _LONGEST_QUEUE_S if self._queued else _WAIT_S
        return self._decided() if now - self._since >= wait_s else None

    def observe_sender_report(self, ahead_s: float, usual_delay_s: float) -> Stall | None:
        """A report's NTP time is `ahead_s` of what the line of earlier ones says; the stall, if that decides it."""
        if self._first is None:
            return None
        if abs(ahead_s - (self._least_delay_s - usual_delay_s)) < _AGREEMENT_S:
            return self._decided()
        self._queued = self._queued or abs(ahead_s) < _AGREEMENT_S
        return None

    def clear(self) -> None:
        """Frames are on time."""
        self._first, self._queued = None, False

    def _decided(self) -> Stall:
        assert self._first is not None
        stall = Stall(self._first, self._least_delay_s)
        self.clear()
        return stall

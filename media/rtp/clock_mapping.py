"""From a track's RTP time to the recording's clock, by the sender's NTP clock where it is known."""

from dataclasses import dataclass
from enum import StrEnum

from media.rtp.minimum_offset import MinimumOffset, NtpOffset
from media.rtp.sender_clock import SenderClock
from media.rtp.stall_detector import Stall, StallDetector

# The least delayed packets of ten seconds place a track while nothing better is known; longer, and
# a sender that stalled would stay misplaced for longer.
_ARRIVAL_WINDOW_S = 10.0
# Beyond it the sender's NTP time is wrong, or its reports have not caught up with a stall (livekit/egress).
_CLAMP_S = 0.5
_UNCLAMP_S = 0.25
# A published mapping stays as it is until it is off by more than this: arrival wanders, reports do not.
_DEADBAND_S = {"arrival": 0.005, "sender_report": 0.002, "abs_capture_time": 0.002}
# One that is known so much better is published too, though it says nearly the same.
_MUCH_BETTER = 0.5
# Capture times come with many packets; the regression shall span 20 s, not 20 frames.
_CAPTURE_INTERVAL_S = 1.0


class ClockSource(StrEnum):
    """Where a mapping comes from, worst first."""

    ARRIVAL = "arrival"
    SENDER_REPORT = "sender_report"
    ABS_CAPTURE_TIME = "abs_capture_time"


@dataclass(frozen=True, slots=True)
class RtpClockMapping:
    """A line from RTP time to Unix time of the recording's clock.

    unix_time = unix_time_s + (rtp - rtp_timestamp) / clock_rate * (1 + drift_ppm * 1e-6), for the
    track's whole RTP timeline since its last discontinuity of time: a later mapping knows the same
    line better. `since` is the RTP timestamp of that discontinuity where RTP time itself does not show it (the sender
    stalled and went on counting), else None. `uncertainty_ms` is one sigma of what can be seen; the network's least
    one-way delay, which all packets of a sender share, cannot and is part of `unix_time_s`.
    """

    rtp_timestamp: int
    unix_time_s: float
    drift_ppm: float
    uncertainty_ms: float
    source: ClockSource
    since: int | None = None

    def unix_time(self, rtp_timestamp: int, clock_rate: int) -> float:
        """Unix seconds at an RTP timestamp of the track's timeline."""
        elapsed_s = (rtp_timestamp - self.rtp_timestamp) / clock_rate
        return self.unix_time_s + elapsed_s * (1 + self.drift_ppm * 1e-6)


class ClockMapper:
    """Estimates the mapping of one track. RTP timestamps are those of its timeline (`RtpTimeline`)."""

    def __init__(self, clock_rate: int, ntp_offset: NtpOffset) -> None:
        """`ntp_offset` is shared by all tracks of the sender."""
        self._clock_rate = clock_rate
        self._ntp_offset = ntp_offset
        self._arrival = MinimumOffset(_ARRIVAL_WINDOW_S)
        self._reports = SenderClock(clock_rate)
        self._captures = SenderClock(clock_rate)
        self._stalls = StallDetector()
        self._next_capture = float("-inf")
        self._last_rtp: int | None = None
        self._last_arrival = 0.0
        self._since: int | None = None
        self._offered: SenderClock | None = None
        self._clamped = False
        self._published: RtpClockMapping | None = None

    def observe_frame(self, rtp_timestamp: int, arrival_time: float) -> None:
        """A frame of this RTP time arrived."""
        self._last_rtp, self._last_arrival = rtp_timestamp, arrival_time
        delay_s = arrival_time - rtp_timestamp / self._clock_rate
        usual_s = self._arrival.offset_s
        if usual_s is not None:
            stall = self._stalls.observe_frame(rtp_timestamp, delay_s, usual_s, arrival_time)
            if stall is not None:
                self._start_line(stall, arrival_time)
        if self._stalls.late:
            return
        self._arrival.observe(delay_s, arrival_time)
        clock = self._clock()
        ntp_time = clock.ntp_time(rtp_timestamp) if clock is not None else None
        if ntp_time is None:
            return
        if clock is not self._offered:
            # The first sample of a clock: rather the least delay so far than that of one frame.
            self._offered = clock
            arrival_time = min(arrival_time, self._by_arrival(rtp_timestamp))
        self._ntp_offset.observe(arrival_time - ntp_time, self._last_arrival)

    def observe_sender_report(self, rtp_timestamp: int, ntp_time: float) -> bool:
        """A sender report; False when it was set aside as an outlier."""
        expected = self._reports.ntp_time(rtp_timestamp)
        usual_s = self._arrival.offset_s
        if expected is not None and usual_s is not None:
            stall = self._stalls.observe_sender_report(ntp_time - expected, usual_s)
            if stall is not None:
                self._start_line(stall, self._last_arrival)
        return self._reports.observe(rtp_timestamp, ntp_time)

    def observe_capture_time(self, rtp_timestamp: int, ntp_time: float, now: float) -> None:
        """The capture time of a frame on the sender's NTP clock (abs-capture-time)."""
        if now >= self._next_capture:
            self._next_capture = now + _CAPTURE_INTERVAL_S
            self._captures.observe(rtp_timestamp, ntp_time)

    def reset(self) -> None:
        """The RTP timeline was set anew: nothing seen so far holds for what follows."""
        self._forget()
        self._last_rtp = None
        self._since = None
        self._published = None

    def mapping(self) -> RtpClockMapping | None:
        """The mapping, anchored at the latest frame; None before the first frame.

        The same object as long as it is right to within 5 ms (2 ms once reports place it), is not known much better
        by now, and its source has not changed.
        """
        if self._last_rtp is None:
            return None
        current = self._estimate(self._last_rtp)
        published = self._published
        if published is None or self._differs(published, current):
            self._published = published = current
        return published

    def _forget(self) -> None:
        self._arrival.clear()
        self._reports.clear()
        self._captures.clear()
        self._stalls.clear()
        self._next_capture = float("-inf")
        self._offered = None
        self._clamped = False

    def _start_line(self, stall: Stall, now: float) -> None:
        """RTP time went on across a stall: what was known does not hold from there on. NTP time is as it was."""
        self._forget()
        self._since = stall.rtp_timestamp
        self._arrival.observe(stall.least_delay_s, now)

    def _clock(self) -> SenderClock | None:
        if self._captures.ready:
            return self._captures
        return self._reports if self._reports.ready else None

    def _estimate(self, rtp_timestamp: int) -> RtpClockMapping:
        """By the sender's NTP clock; by arrival until it is ready and while it is off by over 500 ms."""
        by_arrival = self._by_arrival(rtp_timestamp)
        clock = self._clock()
        offset_s = self._ntp_offset.offset_s
        if clock is not None and offset_s is not None:
            ntp_time = clock.ntp_time(rtp_timestamp)
            if ntp_time is not None:
                unix_time_s = ntp_time + offset_s
                limit_s = _UNCLAMP_S if self._clamped else _CLAMP_S
                self._clamped = abs(unix_time_s - by_arrival) > limit_s
                if not self._clamped:
                    return self._by_sender(rtp_timestamp, unix_time_s, clock)
        uncertainty_ms = 1000 * self._arrival.uncertainty_s
        return RtpClockMapping(rtp_timestamp, by_arrival, 0.0, uncertainty_ms, ClockSource.ARRIVAL, self._since)

    def _by_arrival(self, rtp_timestamp: int) -> float:
        return rtp_timestamp / self._clock_rate + (self._arrival.offset_s or 0.0)

    def _by_sender(self, rtp_timestamp: int, unix_time_s: float, clock: SenderClock) -> RtpClockMapping:
        source = ClockSource.ABS_CAPTURE_TIME if clock is self._captures else ClockSource.SENDER_REPORT
        drift_ppm = clock.drift_ppm + 1e6 * self._ntp_offset.skew
        return RtpClockMapping(rtp_timestamp, unix_time_s, drift_ppm, 1000 * clock.uncertainty_s, source, self._since)

    def _differs(self, published: RtpClockMapping, current: RtpClockMapping) -> bool:
        if (published.source, published.since) != (current.source, current.since):
            return True
        if current.uncertainty_ms < published.uncertainty_ms * _MUCH_BETTER:
            return True
        expected = published.unix_time(current.rtp_timestamp, self._clock_rate)
        return abs(expected - current.unix_time_s) > _DEADBAND_S[current.source]

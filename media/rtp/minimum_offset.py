"""How far one clock is ahead of another, seen through packets that are sometimes late."""

from collections import deque
from math import sqrt
from typing import NamedTuple

_BUCKETS = 10
# A change of delay moves the offset this fast once it settled; livekit/egress slews alike.
_SLEW_PER_S = 0.005
_DEADBAND_S = 0.005
# Beyond it a clock was set or a sender stalled: to slew would take minutes.
_STEP_S = 0.5
# How often the slew goes on while no sample is new: steps of at most half the deadband.
_UPDATE_INTERVAL_S = 0.5
# For so long the offset follows the least delayed packet at once: a queue that was there from the start drains.
_SETTLING_S = 10.0
# Before that a burst at the start may be all that was seen.
_UNSETTLED_S = 2.0
# What a first packet tells is not known better than the pacing and queueing of a usual path.
_UNSETTLED_UNCERTAINTY_S = 0.05
_MIN_UNCERTAINTY_S = 0.001
# A sender's clock that others of its packets agreed on this lately was not set: what is far from it is wrong.
_TRUSTED_S = 10.0
# Two clocks run apart steadily; ten minutes of least delays show how fast, to a few ppm.
_SKEW_MINIMA = 100
_SKEW_MINIMA_NEEDED = 10
_MAX_SKEW_ERROR = 20e-6
_MAX_SKEW = 500e-6


class _Minimum(NamedTuple):
    """The least sample of a bucket that began at `start`, and when it was seen."""

    start: float
    at: float
    sample_s: float


class MinimumOffset:
    """The least of `local clock - remote clock` over a sliding window, moved smoothly.

    The least delayed packet shows the path without queues, so a burst or a full queue does not pull
    the estimate up; the window lets it follow clocks that drift apart.
    """

    __slots__ = ("_bucket_end", "_bucket_s", "_minima", "_offset_s", "_started_at", "_updated_at", "_window_s", "skew")

    def __init__(self, window_s: float = 60.0) -> None:
        self._window_s = window_s
        self._bucket_s = window_s / _BUCKETS
        self._minima: deque[_Minimum] = deque()
        self._bucket_end = float("-inf")
        self._offset_s: float | None = None
        self._started_at = 0.0
        self._updated_at = 0.0
        self.skew = 0.0

    @property
    def offset_s(self) -> float | None:
        """The estimate in seconds as of the last sample; None before the first."""
        return self._offset_s

    @property
    def uncertainty_s(self) -> float:
        """How much the least delay itself wandered within the window."""
        if self._updated_at - self._started_at < _UNSETTLED_S:
            return _UNSETTLED_UNCERTAINTY_S
        samples = [minimum.sample_s for minimum in self._minima]
        return max(_MIN_UNCERTAINTY_S, max(samples) - min(samples))

    def observe(self, sample_s: float, now: float) -> None:
        """One packet's arrival on the local clock minus its time on the remote clock."""
        minima = self._minima
        if now >= self._bucket_end:
            while minima and minima[0].start + self._window_s <= now:
                self._expired(minima.popleft())
            minima.append(_Minimum(now, now, sample_s))
            self._bucket_end = now + self._bucket_s
        elif sample_s < minima[-1].sample_s:
            minima[-1] = _Minimum(minima[-1].start, now, sample_s)
        elif now - self._updated_at < _UPDATE_INTERVAL_S:
            return
        self._move(min(item.sample_s + self.skew * (now - item.at) for item in minima), now)

    def clear(self) -> None:
        """Forget everything: one of the clocks was set."""
        self._minima.clear()
        self._bucket_end = float("-inf")
        self._offset_s = None
        self.skew = 0.0

    def _expired(self, minimum: _Minimum) -> None:
        """A bucket left the window."""

    def _move(self, target_s: float, now: float) -> None:
        """Step to the window's minimum while settling or far off, else slew towards it."""
        if self._offset_s is None:
            self._offset_s = target_s
            self._started_at = self._updated_at = now
            return
        elapsed = max(0.0, now - self._updated_at)
        offset = self._offset_s + self.skew * elapsed
        difference = target_s - offset
        self._updated_at = max(now, self._updated_at)
        if abs(difference) > _STEP_S or now - self._started_at < _SETTLING_S:
            offset = target_s
        elif abs(difference) > _DEADBAND_S:
            step = _SLEW_PER_S * elapsed
            offset += max(-step, min(step, difference))
        self._offset_s = offset


class NtpOffset(MinimumOffset):
    """Recording clock minus a sender's NTP clock. Share one among all tracks of a participant.

    Then the least delayed of its packets, audio or video, places all of them, and what is between
    the tracks comes from the sender's NTP clock alone: lip sync does not depend on the network.
    `skew` is how much faster the recording clock runs than the sender's; 0 until it is known well.
    """

    __slots__ = ("_history",)

    def __init__(self, window_s: float = 60.0) -> None:
        super().__init__(window_s)
        self._history: deque[_Minimum] = deque(maxlen=_SKEW_MINIMA)

    def observe(self, sample_s: float, now: float) -> None:
        """As for any offset, but a track whose NTP time is far from what the sender's others say is not heard."""
        offset = self._offset_s
        if offset is not None and abs(sample_s - offset) > _STEP_S:
            drains = sample_s < offset and now - self._started_at < _SETTLING_S
            if not drains:
                if now - self._updated_at < _TRUSTED_S:
                    return
                self.clear()
        super().observe(sample_s, now)

    def clear(self) -> None:
        """Forget everything: the sender's clock was set."""
        super().clear()
        self._history.clear()

    def _expired(self, minimum: _Minimum) -> None:
        self._history.append(minimum)
        if len(self._history) >= _SKEW_MINIMA_NEEDED:
            self.skew = _slope(self._history)


def _slope(minima: deque[_Minimum]) -> float:
    """Least squares slope of the samples over time; 0 when it is not known to 20 ppm or is no crystal's."""
    count = len(minima)
    mean_at = sum(item.at for item in minima) / count
    mean_s = sum(item.sample_s for item in minima) / count
    xx = sum((item.at - mean_at) ** 2 for item in minima)
    xy = sum((item.at - mean_at) * (item.sample_s - mean_s) for item in minima)
    slope = xy / xx if xx > 0 else 0.0
    residual = sum((item.sample_s - mean_s - slope * (item.at - mean_at)) ** 2 for item in minima)
    known = xx > 0 and sqrt(residual / (count - 2) / xx) <= _MAX_SKEW_ERROR
    return slope if known and abs(slope) <= _MAX_SKEW else 0.0

"""How far one clock is ahead of another, seen through packets that are sometimes late."""

from collections import deque

_BUCKETS = 10
# A change of delay moves the offset this fast once it settled; livekit/egress slews alike.
_SLEW_PER_S = 0.005
_DEADBAND_S = 0.005
# Beyond it a clock was set or a sender stalled: to slew would take minutes.
_STEP_S = 0.5
# How often the slew goes on while no sample is new: steps of at most half the deadband.
_UPDATE_INTERVAL_S = 0.5
# While the first packets come, the offset follows the least delayed one at once.
_SETTLING_S = 2.0
# What a first packet tells is not known better than the pacing and queueing of a usual path.
_UNSETTLED_UNCERTAINTY_S = 0.05
_MIN_UNCERTAINTY_S = 0.001


class MinimumOffset:
    """The least of `local clock - remote clock` over a sliding window, moved smoothly.

    The least delayed packet shows the path without queues, so a burst or a full queue does not pull
    the estimate up; the window lets it follow clocks that drift apart.
    """

    __slots__ = ("_bucket_end", "_bucket_s", "_minima", "_offset_s", "_started_at", "_updated_at")

    def __init__(self, window_s: float = 60.0) -> None:
        self._bucket_s = window_s / _BUCKETS
        self._minima: deque[float] = deque(maxlen=_BUCKETS)
        self._bucket_end = float("-inf")
        self._offset_s: float | None = None
        self._started_at = 0.0
        self._updated_at = 0.0

    @property
    def offset_s(self) -> float | None:
        """The estimate in seconds; None before the first sample."""
        return self._offset_s

    @property
    def uncertainty_s(self) -> float:
        """How much the least delay itself wandered within the window."""
        if self._updated_at - self._started_at < _SETTLING_S:
            return _UNSETTLED_UNCERTAINTY_S
        return max(_MIN_UNCERTAINTY_S, max(self._minima) - min(self._minima))

    def observe(self, sample_s: float, now: float) -> None:
        """One packet's arrival on the local clock minus its time on the remote clock."""
        minima = self._minima
        if now >= self._bucket_end:
            minima.append(sample_s)
            self._bucket_end = now + self._bucket_s
        elif sample_s < minima[-1]:
            minima[-1] = sample_s
        elif now - self._updated_at < _UPDATE_INTERVAL_S:
            return
        self._move(min(minima), now)

    def clear(self) -> None:
        """Forget everything: one of the clocks was set."""
        self._minima.clear()
        self._bucket_end = float("-inf")
        self._offset_s = None

    def _move(self, target_s: float, now: float) -> None:
        """Step to the window's minimum while settling or far off, else slew towards it."""
        offset = self._offset_s
        if offset is None:
            self._offset_s = target_s
            self._started_at = self._updated_at = now
            return
        difference = target_s - offset
        elapsed = now - self._updated_at
        self._updated_at = max(now, self._updated_at)
        if abs(difference) > _STEP_S or now - self._started_at < _SETTLING_S:
            self._offset_s = target_s
        elif abs(difference) > _DEADBAND_S:
            step = _SLEW_PER_S * max(0.0, elapsed)
            self._offset_s = offset + max(-step, min(step, difference))


class NtpOffset(MinimumOffset):
    """Recording clock minus a sender's NTP clock. Share one among all tracks of a participant.

    Then the least delayed of its packets, audio or video, places all of them, and what is between
    the tracks comes from the sender's NTP clock alone: lip sync does not depend on the network.
    """

    __slots__ = ()

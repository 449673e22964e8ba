"""How long packets wait in queues on their way, from the sender's clock in abs-send-time.

Source: http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time, 24 bits of seconds, 18 of them the fraction.
"""

from collections import deque

_FRACTION = 1 << 18
_CYCLE = 1 << 24  # the clock wraps every 64 s
_HALF_CYCLE = 1 << 23
_BUCKETS = 10
# A sender's clock that runs back by more than reordering explains was set.
_CLOCK_SET_S = 0.5


class QueueingDelay:
    """Transit time above the least one of the last `window_s` (32 at most); the clocks need not agree, only run alike.

    The window lets the least transit time follow clocks that drift (200 ppm are 6 ms in 30 s) and
    routes that grow longer.
    """

    __slots__ = ("_arrived", "_base", "_bucket_end", "_bucket_s", "_last", "_minima", "_newest", "_window_s")

    def __init__(self, window_s: float = 30.0) -> None:
        self._window_s = window_s
        self._bucket_s = window_s / _BUCKETS
        self._minima: deque[float] = deque(maxlen=_BUCKETS)
        self._bucket_end = float("-inf")
        self._base = 0.0
        self._last: int | None = None
        self._newest = 0
        self._arrived = float("-inf")

    def observe(self, send_time: int, arrival_time: float) -> float:
        """The delay in seconds of a packet sent at `send_time` (24 bits) that came at `arrival_time`."""
        last = self._last
        sent = send_time if last is None else last + ((send_time - last + _HALF_CYCLE) % _CYCLE) - _HALF_CYCLE
        self._last = sent
        transit = arrival_time - sent / _FRACTION
        # Over a silence of half a cycle it is not known how often the clock wrapped; by then all minima are too old.
        silent = arrival_time - self._arrived > self._window_s
        self._arrived = arrival_time
        if silent or sent < self._newest - _CLOCK_SET_S * _FRACTION:
            self._restart(sent)
        elif sent > self._newest:
            self._newest = sent
        if arrival_time >= self._bucket_end:
            self._minima.append(transit)
            self._bucket_end = arrival_time + self._bucket_s
            self._base = min(self._minima)
        elif transit < self._minima[-1]:
            self._minima[-1] = transit
            self._base = min(self._base, transit)
        return transit - self._base

    def _restart(self, sent: int) -> None:
        self._minima.clear()
        self._bucket_end = float("-inf")
        self._newest = sent

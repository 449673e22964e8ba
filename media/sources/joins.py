"""The times of files whose clock may start anew in the middle: a pure core that takes times and says what to add.

MPEG transport streams put one behind the other are such files, and so are recordings of a broadcast whose encoder
began again, or whose 33 bits were full (ISO/IEC 13818-1 §2.4.3.4 and §2.7).
"""

BACK_S = 1.0  # decode times never go back; less may be an overlap, which is left out of the sound
AHEAD_S = 10.0  # FFmpeg's own programs take more for a clock that starts anew (-dts_delta_threshold)


class JoinedTimes:
    """Puts the parts of a file one behind the other, all streams by the same amount, so that they stay together."""

    def __init__(self) -> None:
        self.end_s = 0.0
        """Where all that came so far ends."""
        self._later_s = [0.0]  # by part
        self._part: dict[int, int] = {}
        self._last_s: dict[int, float] = {}

    def later_s(self, stream: int, time_s: float, duration_s: float) -> float:
        """How much later than `time_s` the next packet of `stream` is. To be called for all packets, as they lie."""
        newest = len(self._later_s) - 1
        part = self._part.get(stream, newest)
        if self._starts_anew(stream, part, time_s):
            part = max(newest, part + 1)
            if part > newest:
                self._later_s.append(self.end_s - time_s)
        later_s = self._later_s[part]
        self._part[stream], self._last_s[stream] = part, time_s
        self.end_s = max(self.end_s, time_s + later_s + duration_s)
        return later_s

    def _starts_anew(self, stream: int, part: int, time_s: float) -> bool:
        last_s = self._last_s.get(stream)
        if last_s is None:
            return False
        others_s = self.end_s - self._later_s[part]  # who was silent goes on where the others are
        return time_s < last_s - BACK_S or time_s > max(last_s, others_s) + AHEAD_S

"""A sender's media clock against its NTP clock: a line through its latest sender reports."""

from collections import deque
from math import sqrt
from typing import NamedTuple

# livekit/egress: the last 20 reports, usable from 4, outliers beyond 3 sigma of at least 100 µs,
# rebuilt after 5 outliers in a row.
_MAX_REPORTS = 20
_USABLE_REPORTS = 4
_OUTLIER_SIGMAS = 3.0
_SIGMA_FLOOR_S = 100e-6
_MAX_OUTLIERS = 5
# Crystals are within 100 ppm. A slope that is not known better than that is left at nominal.
_MAX_DRIFT_ERROR = 50e-6
_MAX_DRIFT = 1000e-6


class _Line(NamedTuple):
    """NTP time = ntp_s + x * (1 + drift), x in nominal seconds from the reference timestamp."""

    reference_rtp: int
    ntp_s: float
    drift: float
    sigma_s: float
    mean_x: float
    spread_xx: float
    reports: int


class SenderClock:
    """Regression of NTP time over RTP time. RTP timestamps are unwrapped; times in seconds."""

    __slots__ = ("_clock_rate", "_line", "_outliers", "_reports")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._reports: deque[tuple[int, float]] = deque(maxlen=_MAX_REPORTS)
        self._outliers: list[tuple[int, float]] = []
        self._line: _Line | None = None

    @property
    def ready(self) -> bool:
        """Whether enough reports agree."""
        return self._line is not None

    @property
    def drift_ppm(self) -> float:
        """How much faster NTP time runs than nominal RTP time; 0 while that is not known well."""
        return self._line.drift * 1e6 if self._line else 0.0

    @property
    def uncertainty_s(self) -> float:
        """One sigma of a report against the line."""
        return max(_SIGMA_FLOOR_S, self._line.sigma_s) if self._line else float("inf")

    def observe(self, rtp_timestamp: int, ntp_time: float) -> bool:
        """Take a report; False when it was set aside as an outlier."""
        if self._reports and (rtp_timestamp, ntp_time) == self._reports[-1]:
            return True
        line = self._line
        if line is not None and self._is_outlier(line, rtp_timestamp, ntp_time):
            self._outliers.append((rtp_timestamp, ntp_time))
            if len(self._outliers) < _MAX_OUTLIERS:
                return False
            self._reports.clear()
            self._reports.extend(self._outliers)
        else:
            self._reports.append((rtp_timestamp, ntp_time))
        self._outliers.clear()
        if len(self._reports) >= _USABLE_REPORTS:
            self._line = self._fit()
        return True

    def ntp_time(self, rtp_timestamp: int) -> float | None:
        """The sender's NTP time (Unix seconds) at an RTP timestamp; None until ready."""
        line = self._line
        if line is None:
            return None
        x = (rtp_timestamp - line.reference_rtp) / self._clock_rate
        return line.ntp_s + x + x * line.drift

    def clear(self) -> None:
        """Forget everything: the RTP clock was set."""
        self._reports.clear()
        self._outliers.clear()
        self._line = None

    def _is_outlier(self, line: _Line, rtp_timestamp: int, ntp_time: float) -> bool:
        """Beyond 3 sigma of what the line predicts there, its own error included."""
        x = (rtp_timestamp - line.reference_rtp) / self._clock_rate
        error = ntp_time - (line.ntp_s + x + x * line.drift)
        leverage = 1 + 1 / line.reports + (x - line.mean_x) ** 2 / max(line.spread_xx, 1e-9)
        return abs(error) > _OUTLIER_SIGMAS * max(_SIGMA_FLOOR_S, line.sigma_s) * sqrt(leverage)

    def _fit(self) -> _Line:
        """Least squares; the slope only where its standard error is small."""
        reference_rtp, reference_ntp = self._reports[-1]
        points = [((rtp - reference_rtp) / self._clock_rate, ntp - reference_ntp) for rtp, ntp in self._reports]
        count = len(points)
        mean_x = sum(x for x, _ in points) / count
        # The nominal slope is taken off first: what is left is small, so nothing is lost in rounding.
        mean_y = sum(y - x for x, y in points) / count
        xx = sum((x - mean_x) ** 2 for x, _ in points)
        xy = sum((x - mean_x) * (y - x - mean_y) for x, y in points)
        drift = xy / xx if xx > 0 else 0.0
        sigma = sqrt(sum((y - x - mean_y - drift * (x - mean_x)) ** 2 for x, y in points) / (count - 2))
        if xx <= 0 or sigma / sqrt(xx) > _MAX_DRIFT_ERROR or abs(drift) > _MAX_DRIFT:
            drift = 0.0
            sigma = sqrt(sum((y - x - mean_y) ** 2 for x, y in points) / (count - 1))
        ntp_s = reference_ntp + mean_y - drift * mean_x
        return _Line(reference_rtp, ntp_s, drift, sigma, mean_x, xx, count)

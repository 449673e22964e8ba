"""A sender's media clock against its NTP clock: a line through its latest sender reports."""

from collections import deque
from math import sqrt
from typing import NamedTuple

# livekit/egress: the last 20 reports, settled from 4, outliers beyond 3 sigma of at least 100 µs,
# rebuilt after 5 outliers in a row.
_MAX_REPORTS = 20
_SETTLED_REPORTS = 4
_OUTLIER_SIGMAS = 3.0
_SIGMA_FLOOR_S = 100e-6
_MAX_OUTLIERS = 5
# The slope is taken from ten minutes of reports: senders stamp audio to 5 ms, which hides it in one minute.
_MAX_SLOPE_REPORTS = 200
# One report of a usual sender is that good (measured on the SDK: 5 ms of one sigma for audio, 0.3 ms for video).
_REPORT_SIGMA_S = 0.008
# The first reports are not averaged when they are further apart than that. The earlier one is right then: a sender that
# was late with its media has counted too little RTP time for the hour, and catches up (seen on the SDK under load).
_DISAGREEMENT_S = 0.05
# Crystals are within 100 ppm. A slope that is not known better than that is left at nominal; a few reports that lie
# well by chance do not make it known.
_MAX_DRIFT_ERROR = 50e-6
_SLOPE_REPORTS_NEEDED = 8
_SLOPE_SIGMA_FLOOR_S = 500e-6
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
    """Regression of NTP time over RTP time. RTP timestamps are unwrapped; times in seconds.

    Usable from the first report, with an uncertainty that says so; outliers are told from the fourth on.
    """

    __slots__ = ("_clock_rate", "_line", "_outliers", "_reports", "_slope_reports")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._reports: deque[tuple[int, float]] = deque(maxlen=_MAX_REPORTS)
        self._slope_reports: deque[tuple[int, float]] = deque(maxlen=_MAX_SLOPE_REPORTS)
        self._outliers: list[tuple[int, float]] = []
        self._line: _Line | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a line: from the first report on."""
        return self._line is not None

    @property
    def drift_ppm(self) -> float:
        """How much faster NTP time runs than nominal RTP time; 0 while that is not known well."""
        return self._line.drift * 1e6 if self._line else 0.0

    @property
    def uncertainty_s(self) -> float:
        """One sigma of the line: of the reports against it, and of what so few of them can tell."""
        line = self._line
        if line is None:
            return float("inf")
        if line.reports < _SETTLED_REPORTS:
            return max(_REPORT_SIGMA_S, line.sigma_s) / sqrt(line.reports)
        return max(_SIGMA_FLOOR_S, line.sigma_s)

    def observe(self, rtp_timestamp: int, ntp_time: float) -> bool:
        """Take a report; False when it was set aside as an outlier."""
        if self._reports and (rtp_timestamp, ntp_time) == self._reports[-1]:
            return True
        ahead_s = self._ahead_s(rtp_timestamp, ntp_time)
        if len(self._reports) < _SETTLED_REPORTS and ahead_s < -_DISAGREEMENT_S:
            self._start_from([(rtp_timestamp, ntp_time)])
        elif self._is_outlier(rtp_timestamp, ahead_s):
            self._outliers.append((rtp_timestamp, ntp_time))
            if len(self._outliers) < _MAX_OUTLIERS:
                return False
            self._start_from(self._outliers)
        else:
            self._reports.append((rtp_timestamp, ntp_time))
            self._slope_reports.append((rtp_timestamp, ntp_time))
        self._outliers.clear()
        self._line = self._fit()
        return True

    def ntp_time(self, rtp_timestamp: int) -> float | None:
        """The sender's NTP time (Unix seconds) at an RTP timestamp; None before the first report."""
        line = self._line
        if line is None:
            return None
        x = (rtp_timestamp - line.reference_rtp) / self._clock_rate
        return line.ntp_s + x + x * line.drift

    def clear(self) -> None:
        """Forget everything: the RTP clock was set."""
        self._start_from([])
        self._outliers.clear()
        self._line = None

    def _start_from(self, reports: list[tuple[int, float]]) -> None:
        for kept in (self._reports, self._slope_reports):
            kept.clear()
            kept.extend(reports)

    def _ahead_s(self, rtp_timestamp: int, ntp_time: float) -> float:
        """How much later a report is than the line says; 0 while there is none."""
        expected = self.ntp_time(rtp_timestamp)
        return 0.0 if expected is None else ntp_time - expected

    def _is_outlier(self, rtp_timestamp: int, ahead_s: float) -> bool:
        """Beyond 3 sigma of what the line predicts there, its own error included."""
        line = self._line
        if line is None:
            return False
        if line.reports < _SETTLED_REPORTS:
            return abs(ahead_s) > _DISAGREEMENT_S
        x = (rtp_timestamp - line.reference_rtp) / self._clock_rate
        leverage = 1 + 1 / line.reports + (x - line.mean_x) ** 2 / max(line.spread_xx, 1e-9)
        return abs(ahead_s) > _OUTLIER_SIGMAS * max(_SIGMA_FLOOR_S, line.sigma_s) * sqrt(leverage)

    def _fit(self) -> _Line:
        """The level of the last reports, at the slope of many more; at the nominal one while that is not known."""
        reference_rtp, reference_ntp = self._reports[-1]
        drift = self._slope(reference_rtp, reference_ntp)
        points = self._points(self._reports, reference_rtp, reference_ntp)
        count = len(points)
        mean_x = sum(x for x, _ in points) / count
        mean_y = sum(y for _, y in points) / count
        xx = sum((x - mean_x) ** 2 for x, _ in points)
        residual = sum((y - mean_y - drift * (x - mean_x)) ** 2 for x, y in points)
        sigma = sqrt(residual / max(1, count - 2)) if count > 1 else 0.0
        return _Line(reference_rtp, reference_ntp + mean_y - drift * mean_x, drift, sigma, mean_x, xx, count)

    def _slope(self, reference_rtp: int, reference_ntp: float) -> float:
        """Least squares; 0 where its standard error is not small or no crystal drifts like that."""
        points = self._points(self._slope_reports, reference_rtp, reference_ntp)
        count = len(points)
        if count < _SLOPE_REPORTS_NEEDED:
            return 0.0
        mean_x = sum(x for x, _ in points) / count
        mean_y = sum(y for _, y in points) / count
        xx = sum((x - mean_x) ** 2 for x, _ in points)
        if xx <= 0:
            return 0.0
        drift = sum((x - mean_x) * (y - mean_y) for x, y in points) / xx
        sigma = sqrt(sum((y - mean_y - drift * (x - mean_x)) ** 2 for x, y in points) / (count - 2))
        sigma = max(_SLOPE_SIGMA_FLOOR_S, sigma)
        return 0.0 if sigma / sqrt(xx) > _MAX_DRIFT_ERROR or abs(drift) > _MAX_DRIFT else drift

    def _points(
        self, reports: deque[tuple[int, float]], reference_rtp: int, reference_ntp: float
    ) -> list[tuple[float, float]]:
        """Nominal seconds from the reference, and how far NTP time is ahead of them.

        The nominal slope is taken off first: what is left is small, so nothing is lost in rounding.
        """
        points = []
        for rtp, ntp in reports:
            x = (rtp - reference_rtp) / self._clock_rate
            points.append((x, ntp - reference_ntp - x))
        return points

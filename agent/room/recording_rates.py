"""How much comes of each recorded track (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_SMOOTHING = 0.3  # of the newest second: a key frame must not look like a new rate


@dataclass(slots=True)
class ReceiveRates:
    """Bits per second of each track, from byte counters that are taken about once a second."""

    _before: dict[str, tuple[float, int]] = field(default_factory=dict)
    _latest: dict[str, float] = field(default_factory=dict)
    _smooth: dict[str, float] = field(default_factory=dict)

    def take(self, bytes_received: Mapping[str, int], now: float) -> None:
        """The counters at `now` (seconds), by track; tracks that are not among them are forgotten."""
        latest, smooth = {}, {}
        for sid, received in bytes_received.items():
            at, before = self._before.get(sid, (now, received))
            if now <= at:
                continue
            rate = max(0, received - before) * 8 / (now - at)
            latest[sid] = rate
            smooth[sid] = (
                rate if sid not in self._smooth else self._smooth[sid] + _SMOOTHING * (rate - self._smooth[sid])
            )
        self._before = {sid: (now, received) for sid, received in bytes_received.items()}
        self._latest, self._smooth = latest, smooth

    def latest_bps(self, sid: str) -> float:
        """Of the last second; 0 where it is not known."""
        return self._latest.get(sid, 0.0)

    def smooth_bps(self, sid: str) -> float:
        """Averaged over some seconds; 0 where it is not known."""
        return self._smooth.get(sid, 0.0)

    def forget(self, sid: str) -> None:
        """What comes from now on is something else (another layer): average anew."""
        self._smooth.pop(sid, None)

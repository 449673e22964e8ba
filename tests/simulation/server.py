"""A model of LiveKit's stream allocator for one subscriber: what it forwards, when it drops layers, how it probes.

After livekit-server 1.13.4 `pkg/sfu/streamallocator`, simplified, and not compared with a running server: estimates are
REMBs; congestion is a falling trend of them or too many NACKs; while nothing is withheld a raised ceiling is granted
without looking at the estimate; while something is, padding probes at growing intervals, and success gives tracks one
layer more each. Nothing is paused.
"""

from collections import deque
from dataclasses import dataclass, field

from quality.stats import VideoQuality

TREND_SAMPLES = 12
TREND_BOUND = -0.6
NACK_RATIO = 0.08
NACK_WINDOW_S = 3.0
NACK_ATTENUATION = 0.4  # of the share lost, off what is used
ENOUGH = 0.97  # of what is used: nothing to reduce
PROBE_S = 3.0
PROBE_FACTOR = 1.5
MAX_PROBE_S = 120.0
PROBE_LENGTH_S = 1.5
CONGESTION_QUIET_S = 2.0  # what was just reduced must show before it is judged again


@dataclass(slots=True)
class Server:
    """Mutable model; `step` once a tick. `layer_bps` are nominal, from LOW up; `target` is what is forwarded."""

    layer_bps: dict[str, tuple[float, ...]]
    other_bps: float
    ceilings: dict[str, VideoQuality | None] = field(default_factory=dict)
    target: dict[str, VideoQuality | None] = field(default_factory=dict)
    committed_bps: float = float("inf")
    estimates: deque[float] = field(default_factory=lambda: deque(maxlen=TREND_SAMPLES))
    nacks: deque[tuple[float, float, float]] = field(default_factory=deque)
    quiet_until: float = 0.0
    probe_at: float = 0.0
    probe_interval: float = PROBE_S
    probe_until: float | None = None
    padding_bps: float = 0.0

    def __post_init__(self) -> None:
        for sid, rates in self.layer_bps.items():
            self.ceilings[sid] = self.target[sid] = VideoQuality(len(rates) - 1)

    @property
    def deficient(self) -> bool:
        return any(_height(self.target[sid]) < _height(ceiling) for sid, ceiling in self.ceilings.items())

    def ask(self, sid: str, ceiling: VideoQuality | None, now: float) -> None:
        """The subscriber's settings for a track."""
        was_deficient = self.deficient
        self.ceilings[sid] = ceiling
        if not was_deficient or _height(ceiling) <= _height(self.target[sid]):
            self.target[sid] = ceiling
        elif self.target[sid] is None:
            self.target[sid] = VideoQuality.LOW
        if self.deficient and not was_deficient:
            self._schedule(now)
        self._boost()

    def estimate(self, bps: float) -> None:
        """A REMB arrived."""
        self.estimates.append(bps)

    def step(self, now: float, sent: float, nacked: float) -> None:
        """`sent` and `nacked` packets of the last tick."""
        self.nacks.append((now, sent, nacked))
        while self.nacks[0][0] < now - NACK_WINDOW_S:
            self.nacks.popleft()
        if self.probe_until is not None:
            self._probing(now)
        elif now >= self.quiet_until and self._congested():
            self._reduce(now)
        elif self.deficient and now >= self.probe_at:
            self.probe_until = now + PROBE_LENGTH_S
            self.padding_bps = max(0.3 * self._usage(), self._wanted())
            self.estimates.clear()
            self.nacks.clear()

    def _congested(self) -> bool:
        sent = sum(sent for _, sent, _ in self.nacks)
        if sent > 0 and sum(nacked for _, _, nacked in self.nacks) / sent > NACK_RATIO:
            return True
        return len(self.estimates) == TREND_SAMPLES and _trend(list(self.estimates)) < TREND_BOUND

    def _reduce(self, now: float) -> None:
        sent = sum(sent for _, sent, _ in self.nacks)
        ratio = sum(nacked for _, _, nacked in self.nacks) / sent if sent else 0.0
        if ratio > NACK_RATIO:
            self.committed_bps = self._usage() * (1.0 - NACK_ATTENUATION * ratio)
        else:
            self.committed_bps = self.estimates[-1]
        if self.committed_bps >= ENOUGH * self._usage():
            self._forget(now)
            return
        self._forget(now)
        for sid in self.target:
            if self.target[sid] is not None:
                self.target[sid] = VideoQuality.LOW
        self._boost(most=len(VideoQuality))
        self._schedule(now)

    def _probing(self, now: float) -> None:
        assert self.probe_until is not None
        fell = len(self.estimates) >= 2 and self.estimates[-1] < 0.95 * max(self.estimates)
        failed = fell or any(nacked > NACK_RATIO * sent for _, sent, nacked in self.nacks)
        if now < self.probe_until and not failed:
            return
        best = max(self.estimates, default=0.0)
        self.padding_bps, self.probe_until = 0.0, None
        if not failed and best > self.committed_bps:
            self.committed_bps, self.probe_interval = best, PROBE_S
            self._boost()
        else:
            self.probe_interval = min(MAX_PROBE_S, self.probe_interval * PROBE_FACTOR)
        self.probe_at = now + self.probe_interval
        self._forget(now)

    def _boost(self, most: int = 1) -> None:
        """Give each track up to `most` layers more, in turn, as far as what is committed allows."""
        for _ in range(most):
            for sid, rates in self.layer_bps.items():
                at = self.target[sid]
                if at is None or _height(at) >= _height(self.ceilings[sid]):
                    continue
                if self._usage() + rates[at + 1] - rates[at] <= self.committed_bps:
                    self.target[sid] = VideoQuality(at + 1)
        if not self.deficient:
            self.committed_bps = float("inf")

    def _wanted(self) -> float:
        """The smallest increase that would give some track a layer more."""
        return min(
            rates[at + 1] - rates[at]
            for sid, rates in self.layer_bps.items()
            if (at := self.target[sid]) is not None and _height(at) < _height(self.ceilings[sid])
        )

    def _usage(self) -> float:
        return self.other_bps + sum(self.layer_bps[sid][at] for sid, at in self.target.items() if at is not None)

    def _schedule(self, now: float) -> None:
        self.probe_interval = PROBE_S
        self.probe_at = now + PROBE_S

    def _forget(self, now: float) -> None:
        self.estimates.clear()
        self.nacks.clear()
        self.quiet_until = now + CONGESTION_QUIET_S


def _height(quality: VideoQuality | None) -> int:
    return -1 if quality is None else int(quality)


def _trend(values: list[float]) -> float:
    """Kendall's tau of a series against time."""
    pairs = [(later > earlier) - (later < earlier) for at, earlier in enumerate(values) for later in values[at + 1 :]]
    return sum(pairs) / len(pairs)

"""How livekit-server judges a subscriber's way from REMBs and repeated NACKs: its detectors, in steps of a tick.

Written after `pkg/sfu/bwe/remotebwe` and `pkg/sfu/ccutils` of livekit-server 1.13.4, with its default settings: the
trend detector (collapsing equal values, pruning), the tracker of repeated NACKs, the state machine of congestion with
its rule for what to commit, and the probes' intervals, lengths, end and verdict. Times are those of the simulation.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import combinations

NO_LIMIT_BPS = 100_000_000.0
ATTENUATION = 0.4  # of the share of repeated NACKs, off what is used
ENOUGH = 0.95  # of what is used: no more is given up
PROBE_S, PROBE_FACTOR, MAX_PROBE_S = 3.0, 1.5, 120.0
PROBE_LENGTH_S, PROBE_LENGTH_FACTOR, MAX_PROBE_LENGTH_S = 0.2, 1.5, 20.0
PROBE_SETTLE_S = 0.5  # five round trips of 0.1 s


@dataclass(slots=True)
class Trend:
    """Kendall's tau over the last values of an estimate. Defaults are those outside a probe."""

    required: int = 12
    least: int = 8
    bound: float = -0.6
    collapse_s: float = 0.5
    samples: deque[tuple[float, float]] = field(default_factory=deque)
    seen: int = 0
    highest: float = 0.0

    def add(self, now: float, value: float) -> None:
        self.seen += 1
        self.highest = max(self.highest, value)
        if self.samples and self.samples[-1][1] == value and now - self.samples[-1][0] < self.collapse_s:
            return
        self.samples.append((now, value))
        while len(self.samples) > self.required or self.samples[0][0] < now - 10.0:
            self.samples.popleft()
        while len(self.samples) > 1 and self.samples[1][1] == self.samples[0][1]:
            self.samples.popleft()

    @property
    def falls(self) -> bool:
        if len(self.samples) < self.least:
            return False
        long = self.samples[-1][0] - self.samples[0][0] > 5.0
        return (long or len(self.samples) >= self.required) and self._tau() < self.bound

    def _tau(self) -> float:
        signs = [(later > earlier) - (later < earlier) for (_, earlier), (_, later) in combinations(self.samples, 2)]
        unequal = sum(map(abs, signs))
        return sum(signs) / unequal if unequal else 0.0


@dataclass(slots=True)
class Nacks:
    """The share of NACKs for packets asked for before, from the first such one on. Defaults: outside a probe."""

    least_s: float = 2.0
    most_s: float = 3.0
    bound: float = 0.08
    since: float | None = None
    packets: float = 0.0
    repeated: float = 0.0

    def add(self, now: float, packets: float, repeated: float) -> None:
        if self.since is not None and now - self.since > self.most_s:
            self.since, self.packets, self.repeated = None, 0.0, 0.0
        if not self.repeated and repeated:
            self.since = now
        if self.since is not None:
            self.packets += packets
            self.repeated += repeated

    @property
    def ratio(self) -> float:
        return min(1.0, self.repeated / self.packets) if self.packets else 0.0

    def triggered(self, now: float) -> bool:
        return self.since is not None and now - self.since > self.least_s and self.ratio > self.bound


@dataclass(slots=True)
class Probe:
    """A cluster of padding up to `desired_bps`; `ended` when it was sent or given up."""

    began: float
    desired_bps: float
    until: float
    ended: float | None = None


@dataclass(slots=True)
class RemoteBwe:
    """Feed `remb` for each REMB. `committed_bps` is what the way is held to carry."""

    committed_bps: float = NO_LIMIT_BPS
    congested: bool = False
    usage_bps: float = 0.0
    trend: Trend = field(default_factory=Trend)
    nacks: Nacks = field(default_factory=Nacks)
    probe: Probe | None = None
    probe_at: float = -math.inf
    probe_interval_s: float = PROBE_S
    probe_length_s: float = PROBE_LENGTH_S

    def remb(self, now: float, bps: float, usage_bps: float, packets: float, repeated: float) -> bool:
        """A REMB, and the packets sent and asked for again since the last; True where congestion begins or goes on."""
        self.usage_bps = usage_bps
        if self.congested and self.probe:
            return False
        self.trend.add(now, bps)
        self.nacks.add(now, packets, repeated)
        lossy = not self.trend.falls and self.nacks.triggered(now)
        if not self.trend.falls and not lossy:
            self.congested = False
            return False
        if self.probe and not self.congested:
            self.congested = True
            return True
        taken = self._commit(bps, lossy)
        self.congested = self.congested or taken
        return taken

    def _commit(self, bps: float, lossy: bool) -> bool:
        to = min(bps, self.usage_bps * (1.0 - ATTENUATION * self.nacks.ratio)) if lossy else bps
        if to > ENOUGH * self.usage_bps or to == self.committed_bps:
            return False
        self.committed_bps = to
        return True

    def can_probe(self, now: float) -> bool:
        return not self.congested and self.probe is None and now >= self.probe_at

    def start_probe(self, now: float, desired_bps: float) -> None:
        self.probe = Probe(now, desired_bps, now + self.probe_length_s)
        self.trend = Trend(required=3, least=3, bound=0.0, collapse_s=0.0)
        self.nacks = Nacks(0.5, 1.0, 0.04)

    def step_probe(self, now: float) -> bool:
        """Ends the probe when it is time; True where it is over and speaks for more (or says nothing)."""
        probe = self.probe
        if probe is None:
            return False
        reached = self.trend.seen >= 3 and self.trend.highest > probe.desired_bps
        if probe.ended is None and (now >= probe.until or self.congested or reached):
            probe.ended = now
        if probe.ended is None or now - probe.ended < PROBE_SETTLE_S:
            return False
        congesting = self.congested
        if not congesting and self.trend.seen >= 3:
            self.committed_bps = max(self.committed_bps, self.trend.highest)
        self._regulate(congesting)
        self.probe_at = probe.began + self.probe_interval_s
        self.probe, self.congested, self.trend, self.nacks = None, False, Trend(), Nacks()
        return not congesting

    def stop_probe(self, now: float) -> None:
        if self.probe is not None and self.probe.ended is None:
            self.probe.ended = now

    def _regulate(self, congesting: bool) -> None:
        if congesting:
            # The server counts whole seconds here.
            self.probe_interval_s = min(MAX_PROBE_S, float(int(self.probe_interval_s * PROBE_FACTOR)))
            self.probe_length_s = PROBE_LENGTH_S
        else:
            self.probe_interval_s = PROBE_S
            self.probe_length_s = min(MAX_PROBE_LENGTH_S, self.probe_length_s * PROBE_LENGTH_FACTOR)

"""What a receiver tells the server of its way: the SDK's estimate, and that of this project's tap.

`SdkReceiver` is Google's congestion control at the receiver as libwebrtc has it, simplified, with the pace that was
seen on a real link (docs/performance.md): overuse takes the estimate to 0.85 of what came; it is held until the queue
is gone, grows by some kb/s a second near the rate at which the link was full, and by 8% a second past it, to 1.5 times
what comes at most. Where the server sends more than it was told, it hardly grows. `TapReceiver` follows
`media/rtp/bandwidth_estimate.py` (docs/decisions/0010-bandwidth-feedback.md) in steps of a tick, with its constants:
no limit until one is seen, raised by proof. `known_bps` is what `Window.available_bandwidth_bps` shows.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from media.rtp.capacity_probe import CapacityProbe, Way
from tests.simulation.congestion import NO_LIMIT_BPS
from tests.simulation.links import TICK_S

SDK_REMB_S = 0.2
FULL_S = 0.24  # of queue
HELD_S = 2.0
PASSED = 1.15  # of what came when the link was full: it has become wider
NEAR_BPS = 15_000.0  # seen: 10 to 20 kb/s a second
SLOW_BPS = 4_000.0  # seen: none for half a minute, or 10 kb/s
MOST_NACKS = 12  # in a tick, of three videos: seen on a real link


@dataclass(frozen=True, slots=True)
class Arrival:
    """A tick at the receiver: video and padding in bit/s, and the latter's share; the queue; packets."""

    now: float
    rate_bps: float
    padding: float
    queue_s: float
    packets: float
    lost: float


class Receiver(Protocol):
    """Takes in each tick; answers with the REMBs sent in it."""

    wanted_bps: float
    asked_bps: float

    @property
    def known_bps(self) -> float | None: ...

    def receive(self, arrival: Arrival) -> list[float]: ...


@dataclass(slots=True)
class SdkReceiver:
    """Begins at what the server's first probes prove. `full_bps` is what came when the link was last seen full."""

    bps: float = 3e6
    full_bps: float = math.inf
    held_until: float = 0.0
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    queues: deque[float] = field(default_factory=lambda: deque([0.0] * 3, maxlen=3))
    sent_at: float = -math.inf
    wanted_bps: float = 0.0
    asked_bps: float = 0.0

    @property
    def known_bps(self) -> float | None:
        return self.bps

    def receive(self, arrival: Arrival) -> list[float]:
        self.rates.append(arrival.rate_bps)
        self.queues.append(arrival.queue_s)
        rate = sum(self.rates) / len(self.rates)
        first, second, third = self.queues
        before = self.bps
        if third - second > 0.03 or (third - second > 0.01 and second - first > 0.01) or third > FULL_S:
            self.bps, self.full_bps = min(self.bps, 0.85 * rate), rate
            self.held_until = arrival.now + HELD_S
        elif third < 0.05 and arrival.now >= self.held_until:
            self.bps = min(self.bps + self._growth_bps(rate) * TICK_S, max(self.bps, 1.5 * rate + 10_000.0))
        # Each NACK goes with the estimate: a server that lowers with each does so at once, as far as it can.
        nacks = min(MOST_NACKS, math.ceil(arrival.lost))
        if not nacks and self.bps >= 0.97 * before and arrival.now - self.sent_at < SDK_REMB_S - 1e-9:
            return []
        self.sent_at = arrival.now
        return [self.bps] * max(1, nacks)

    def _growth_bps(self, rate: float) -> float:
        """Bits per second, a second."""
        if rate > PASSED * self.full_bps:
            self.full_bps = math.inf
        if math.isinf(self.full_bps):
            return 0.08 * self.bps
        return SLOW_BPS if rate > self.bps else NEAR_BPS


@dataclass(slots=True)
class TapReceiver:
    """The tap's estimator; `known_bps` is None while no limit was seen. `full_bps` is what came when it was lowered."""

    known_bps: float | None = None
    full_bps: float = 0.0
    raised_by_bps: float = 0.0
    raised_to_bps: float = 0.0
    failed_bps: float = 0.0
    believed_bps: float = math.inf
    ticks: deque[Arrival] = field(default_factory=lambda: deque(maxlen=20))
    decreased_to: float = 0.0
    settled_at: float = 0.0
    raised_at: float = -math.inf
    distrust_s: float = 0.0
    trusts_at: float = 0.0
    script: deque[tuple[float, float]] = field(default_factory=deque)
    due: float = 0.0
    probed_until: float = 0.0
    wanted_bps: float = 0.0
    asked_bps: float = 0.0
    own_at: float = -math.inf
    retold_at: float = math.inf
    clear_bps: float = 0.0
    queued_bps: float = 0.0
    probe: CapacityProbe = field(default_factory=CapacityProbe)

    def receive(self, arrival: Arrival) -> list[float]:
        self.ticks.append(arrival)
        now = arrival.now
        if now >= self.settled_at:
            self._evaluate(now)
        elif self.known_bps is not None and now >= self.retold_at:
            self.retold_at = math.inf
            if self._stands():
                self._tell_fall(now, self.known_bps, 2.4)
        self.asked_bps = self.probe.step(now, self._way(now), self.wanted_bps, math.inf)
        if self.asked_bps:
            self.own_at = now
        if self.script:
            told = [value for at, value in self.script if at <= now]
            self.script = deque(entry for entry in self.script if entry[0] > now)
            self.due = now + 3.1 if told else self.due
            return told
        if now < self.due:
            return []
        self.due = now + (0.1 if now < self.probed_until else 3.1)
        return [self.known_bps or NO_LIMIT_BPS]

    def _way(self, now: float) -> Way:
        latest = self.ticks[-1]
        plain = [item.rate_bps * (1.0 - item.padding) for item in self._last(5)]
        return Way(
            limit_bps=self.known_bps,
            full_bps=self.full_bps,
            rate_bps=sum(plain) / len(plain),
            delay_s=latest.queue_s,
            falling=now < self.settled_at,
            probed=latest.padding > 0.05,
            loses=latest.lost > 0.15 * latest.packets,
            proving=now <= self.own_at + 0.35,
        )

    def _evaluate(self, now: float) -> None:
        latest = self.ticks[-1]
        probed = now > self.own_at + 0.15 and latest.padding > 0.05 and latest.padding * latest.rate_bps > 100_000
        if probed:
            self.probed_until, self.due = now + 0.7, min(self.due, now + 0.1)
        if self._stands() or self._loses(now):
            self._decrease(now)
        elif probed and min(item.queue_s for item in self._last(2)) > 0.06:
            limit = self.known_bps or NO_LIMIT_BPS
            self.script = deque((now + 0.04 * step, limit * (1 - 0.01 * (1 + step))) for step in range(5))
            self.settled_at = now + 0.7
        elif self.known_bps is not None:
            self._increase(now, self.known_bps)

    def _decrease(self, now: float) -> None:
        self.full_bps = self._rate(5)
        limit = 0.85 * self.full_bps
        if self.known_bps is not None:
            limit = min(limit, self.known_bps * (0.85 if now - self.settled_at < 3.1 else 1.0))
        limit = max(50_000.0, limit)
        if now - self.raised_at < 10.0:
            self.distrust_s, self.raised_at = min(60.0, max(5.0, 2 * self.distrust_s)), -math.inf
            self.failed_bps = max(self.failed_bps, self.raised_by_bps)
            self.believed_bps = min(self.believed_bps, 0.85 * self.raised_to_bps)
        elif now - self.settled_at > 3.1:
            self.failed_bps, self.believed_bps = 0.0, math.inf
        self.trusts_at = now + self.distrust_s
        self.known_bps = self.decreased_to = limit
        self._tell_fall(now, limit, 1.2)
        self.retold_at = now + 1.5

    def _tell_fall(self, now: float, limit: float, clear_after: float) -> None:
        self.settled_at = now + 3.1
        falling = [(now + 0.04 * step, limit * (1 + 0.01 * (13 - step))) for step in range(14)]
        clearing = [(now + clear_after + 0.08 * step, limit * (1 + 0.001 * (1 + step))) for step in range(8)]
        self.script = deque(falling + clearing)

    def _increase(self, now: float, limit: float) -> None:
        if limit < 1.1 * self.decreased_to:
            limit *= 1 + 0.01 * TICK_S
        if self.ticks[-1].queue_s < 0.015:
            self.clear_bps = max(self.clear_bps, self._rate(2))
        else:
            self.queued_bps = max(self.queued_bps, self._rate(2))
        if now > self.own_at + 0.35:
            limit = self._proven(now, limit)
            self.clear_bps = self.queued_bps = 0.0
        self.known_bps = min(limit, NO_LIMIT_BPS)

    def _proven(self, now: float, limit: float) -> float:
        rate = self.clear_bps
        passed = rate > 1.1 * max(self.full_bps, self.failed_bps)
        if now >= self.trusts_at:
            self.failed_bps, self.believed_bps = 0.0, math.inf
        proven = min(0.97 * rate, math.inf if passed else self.believed_bps)
        if self.queued_bps:
            proven = min(proven, 0.85 * self.queued_bps)
        if proven <= limit:
            return limit
        self.raised_at, self.raised_by_bps, self.raised_to_bps = now, rate, proven
        return proven

    def _stands(self) -> bool:
        recent = [item.queue_s for item in self._last(5)]
        if len(recent) < 4:
            return False
        earlier, later = min(recent[: len(recent) // 2]), min(recent[len(recent) // 2 :])
        return min(earlier, later) >= 0.05 and (later > earlier + 0.005 or (later >= 0.2 and later > earlier - 0.05))

    def _loses(self, now: float) -> bool:
        recent = [item for item in self.ticks if item.now > max(now - 2.0, self.settled_at)]
        packets, lost = sum(item.packets for item in recent), sum(item.lost for item in recent)
        return lost >= 10 and lost > 0.1 * packets + 3.0 * math.sqrt(0.09 * packets)

    def _last(self, count: int) -> list[Arrival]:
        return list(self.ticks)[-count:]

    def _rate(self, count: int) -> float:
        recent = self._last(count)
        return sum(item.rate_bps for item in recent) / len(recent)

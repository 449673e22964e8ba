"""What the way here is believed to carry of video: a rate that came through, rates that failed, when to try again."""

import math
from dataclasses import dataclass, replace

HEADROOM = 0.9  # of what came through while the link was full: the queue has to drain, and scenes vary
SAME = 0.92  # of a rate, or more, is as good as that rate: scenes vary by as much
FELL = 0.8  # of what it was thought to carry, or less: it is another link now
FIRST_WAIT_S = 8.0
WAIT_FACTOR = 2.0
MAX_WAIT_S = 24.0


@dataclass(frozen=True, slots=True)
class Failure:
    """At `at` the link was full with `bps` asked for. It is not tried again for `wait_s`."""

    bps: float
    at: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class LinkBelief:
    """`carries_bps` is known good (infinite while nothing was seen to fail); `failures` are of rates above it.
    `widened` says that since the last failure a rate came through that had failed.

    A rate that failed is tried again after a time that doubles with each failure, up to 24 s, and is the longer the
    farther the rate is above what the link is known to carry: the larger the step, the more its failure costs.
    """

    carries_bps: float = math.inf
    failures: tuple[Failure, ...] = ()
    widened: bool = False

    @property
    def budget_bps(self) -> float:
        """What may be asked for without a trial."""
        return HEADROOM * self.carries_bps

    def waits(self, asked_bps: float, now: float) -> bool:
        """Whether it is too early to try `asked_bps`."""
        over = max(1.0, asked_bps / max(1.0, self.carries_bps))
        return any(now - one.at < one.wait_s * over for one in self.failures if asked_bps >= SAME * one.bps)

    def full(self, received_bps: float, asked_bps: float, now: float) -> "LinkBelief":
        """It was full with `asked_bps`, and `received_bps` came through. If it fell, what was known before is void."""
        if received_bps < FELL * self.carries_bps:
            return LinkBelief(received_bps, (Failure(asked_bps, now, FIRST_WAIT_S),))
        return replace(self.failed(asked_bps, now), carries_bps=received_bps)

    def failed(self, asked_bps: float, now: float) -> "LinkBelief":
        """A trial of `asked_bps` filled it."""
        same = [one for one in self.failures if SAME * one.bps <= asked_bps <= one.bps / SAME]
        wait_s = min(MAX_WAIT_S, max((WAIT_FACTOR * one.wait_s for one in same), default=FIRST_WAIT_S))
        others = tuple(one for one in self.failures if one not in same)
        return replace(self, failures=(*others, Failure(asked_bps, now, wait_s)), widened=False)

    def carried(self, asked_bps: float) -> "LinkBelief":
        """A trial of `asked_bps` was clean: that no more than this failed says nothing any longer."""
        left = tuple(one for one in self.failures if SAME * one.bps > asked_bps)
        return LinkBelief(
            max(self.carries_bps, asked_bps / HEADROOM), left, self.widened or len(left) < len(self.failures)
        )


UNLIMITED = LinkBelief()

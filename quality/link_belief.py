"""What the way here is believed to carry of video: a rate that came through, one that failed, and when to try again."""

import math
from dataclasses import dataclass, replace

HEADROOM = 0.9  # of what came through while the link was full: the queue has to drain, and scenes vary
FIRST_WAIT_S = 5.0
WAIT_FACTOR = 2.0
MAX_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class LinkBelief:
    """`carries_bps` is known good (infinite while nothing was seen to fail), `fails_bps` known bad since `failed_at`.

    A rate that failed is tried again `wait_s` after it did; each failure doubles that, up to a minute.
    """

    carries_bps: float = math.inf
    fails_bps: float = math.inf
    failed_at: float = -math.inf
    wait_s: float = FIRST_WAIT_S

    @property
    def budget_bps(self) -> float:
        """What may be asked for without a trial."""
        return HEADROOM * self.carries_bps

    def narrowed(self, received_bps: float, asked_bps: float, now: float) -> "LinkBelief":
        """It was full at `asked_bps` and `received_bps` came through: all that was known before is void."""
        return LinkBelief(received_bps, asked_bps, now, FIRST_WAIT_S)

    def failed(self, received_bps: float, asked_bps: float, now: float) -> "LinkBelief":
        """A trial of `asked_bps` filled it."""
        carries = received_bps if math.isinf(self.carries_bps) else max(self.carries_bps, received_bps)
        return LinkBelief(carries, asked_bps, now, min(MAX_WAIT_S, WAIT_FACTOR * self.wait_s))

    def carried(self, asked_bps: float) -> "LinkBelief":
        """A trial of `asked_bps` was clean."""
        carries = max(self.carries_bps, asked_bps / HEADROOM)
        if asked_bps < self.fails_bps:
            return replace(self, carries_bps=carries)
        return LinkBelief(carries)  # it has become wider: what failed says nothing any more


UNLIMITED = LinkBelief()

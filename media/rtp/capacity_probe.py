"""Finds out what the way carries beyond what comes: has packets sent again that are here already, for a moment.

The server probes so itself (it retransmits old packets), but only as far as its next layer, seconds apart, and not at
all for what nobody asks of it. What its answer has to be, the probes from this end find out before it asks.
docs/decisions/0010-bandwidth-feedback.md has the reasons.
"""

import math
from dataclasses import dataclass

FACTOR = 1.45  # times what is known: three steps make three of it
WANTED_FACTOR = 1.3  # scenes vary
ENOUGH = 1.1
WORTH_FACTOR = 1.25  # of what is known: what comes of less is not told from that
LENGTH_S = 0.35  # a proof is 0.2 s long, and comes a round trip later
FIRST_S = 0.5
INTERVAL_S = 3.0
BACKOFF = 1.5
MAX_INTERVAL_S = 8.0
ROSE = 1.02
OTHER_WAY = 1.1  # what failed below a tenth less was another way
START_DELAY_S = 0.015
STOP_DELAY_S = 0.03  # a round trip later it is twice as much


@dataclass(frozen=True, slots=True)
class Way:
    """What is seen of the way in one moment. Rates are in bit/s, of RTP packets with their headers.

    `limit_bps` is the estimate (None while no limit was seen), `full_bps` what came when the way was last seen full,
    `rate_bps` what comes by itself. `delay_s` is the least time that a packet of the last moments waited. `falling`:
    an estimate that fell is being told, or its effect awaited. `probed`: the server probes. `loses`: packets are lost.
    `proving`: what came of the last probe from this end is not concluded yet.
    """

    limit_bps: float | None
    full_bps: float
    rate_bps: float
    delay_s: float
    falling: bool
    probed: bool
    loses: bool
    proving: bool


class CapacityProbe:
    """Call `step` every few hundredths of a second; it says what to have sent again."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._due = 0.0
        self._interval_s = INTERVAL_S
        self._known_bps = 0.0
        self._failed_bps = math.inf
        self._more_bps = 0.0

    def step(self, now: float, way: Way, wanted_bps: float, repeatable_octets: float) -> float:
        """The bits a second to have sent again now, 0 for none. `wanted_bps`: what would be taken in all.

        `repeatable_octets` is how much there is to send again: a probe waits until that can prove something.
        """
        if way.limit_bps is None or way.falling:
            self._until = None
            self._due, self._interval_s, self._failed_bps = now + FIRST_S, INTERVAL_S, math.inf
            return 0.0
        if self._until is not None:
            return self._go_on(now, way, way.limit_bps, self._until)
        if way.limit_bps >= OTHER_WAY * self._failed_bps:
            self._due, self._interval_s, self._failed_bps = now, INTERVAL_S, math.inf  # the server's probe proved it
        if now < self._due or way.probed or way.loses or way.delay_s > START_DELAY_S:
            return 0.0
        target_bps = min(FACTOR * max(way.full_bps, way.limit_bps), WANTED_FACTOR * wanted_bps)
        if way.limit_bps >= ENOUGH * wanted_bps or target_bps <= way.rate_bps:
            return 0.0
        more_bps = min(target_bps - way.rate_bps, repeatable_octets * 8 / LENGTH_S)
        if way.rate_bps + more_bps < min(target_bps, WORTH_FACTOR * way.limit_bps):
            return 0.0
        self._until = now + LENGTH_S
        self._known_bps, self._more_bps = way.limit_bps, more_bps
        return self._more_bps

    def _go_on(self, now: float, way: Way, limit_bps: float, until: float) -> float:
        """A probe is under way, or what came of it is awaited: a queue then may be of what the server sends by now."""
        if now < until:
            if way.delay_s <= STOP_DELAY_S and not way.loses:
                return self._more_bps
            self._end(now, rose=False)
        elif not way.proving:
            self._end(now, rose=limit_bps >= ROSE * self._known_bps)
        return 0.0

    def _end(self, now: float, *, rose: bool) -> None:
        self._until = None
        self._failed_bps = math.inf if rose else self._known_bps
        self._due = now if rose else now + self._interval_s
        self._interval_s = INTERVAL_S if rose else min(MAX_INTERVAL_S, BACKOFF * self._interval_s)

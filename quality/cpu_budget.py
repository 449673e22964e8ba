"""How much CPU decoding may take, when threads of the process cannot keep up. Pure.

The kernel says how long each thread ran and stood in the queue for a processor. A thread that has time left keeps up,
however often it waits for a moment; one that runs or waits all the time is late soon, whoever uses the machine. The
budget then falls below what decoding takes now. It comes back step by step, later after each step that failed.
"""

import math
from dataclasses import dataclass, replace

SHORT_SHARE = 0.85  # of the time in which the busiest thread ran or waited
CALM_SHARE = 0.6
SHORT_S = 5.0
SATURATED_SHARE = 0.97  # nothing is left: what comes later is late already
SATURATED_S = 3.0  # joins and key frames of all at once take a second or two
CUT = 0.7  # of what decoding takes now
LEAST_SHARE = 0.3  # of what the threads ran: where decoding takes less, lower layers would not help
RAISE_AFTER_S = 20.0
MAX_RAISE_AFTER_S = 160.0
RAISE = 2.0  # a layer has four times the pixels of the one below: smaller steps would often change nothing
SETTLE_S = 5.0  # a layer switch, and what was queued before it
FAILED_S = 30.0  # short again within this time of a raise: it was too much
UNLIMITED_CORES = 16.0  # past it the budget is no limit any more


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Processors that all threads took since the last look, and the share that the busiest one ran or waited, 0..1."""

    ran_cores: float
    busiest: float


@dataclass(frozen=True, slots=True)
class CpuBudget:
    """What `step` remembers. `cores` is the budget, infinite while nothing is short. Begin with `CpuBudget()`."""

    cores: float = math.inf
    short_since: float | None = None
    calm_since: float | None = None
    quiet_until: float = -math.inf
    raised_at: float = -math.inf
    raise_after_s: float = RAISE_AFTER_S

    @property
    def unlimited(self) -> bool:
        """Whether nothing is short."""
        return math.isinf(self.cores)


def step(state: CpuBudget, use: CpuUse, decoding_cores: float, now: float, least_cores: float = 0.0) -> CpuBudget:
    """Take in a second, and what decoding is believed to take of it.

    `least_cores`: what the lowest layers of all videos that are not muted take, below which no budget helps.
    """
    short = use.busiest > SHORT_SHARE
    calm = use.busiest < CALM_SHARE
    short_since = (now if state.short_since is None else state.short_since) if short else None
    calm_since = (now if state.calm_since is None else state.calm_since) if calm else None
    state = replace(state, short_since=short_since, calm_since=calm_since)
    if now < state.quiet_until:
        return state
    helps = decoding_cores >= LEAST_SHARE * use.ran_cores and min(state.cores, decoding_cores) > least_cores
    patience_s = SATURATED_S if use.busiest > SATURATED_SHARE else SHORT_S
    if short_since is not None and now - short_since >= patience_s and helps:
        failed = now - state.raised_at < FAILED_S
        return replace(
            state,
            cores=max(least_cores, CUT * min(state.cores, decoding_cores)),
            short_since=None,
            quiet_until=now + SETTLE_S,
            raise_after_s=min(MAX_RAISE_AFTER_S, 2 * state.raise_after_s) if failed else RAISE_AFTER_S,
        )
    if calm_since is not None and now - calm_since >= state.raise_after_s and not state.unlimited:
        raised = state.cores * RAISE
        return replace(
            state,
            cores=raised if raised < UNLIMITED_CORES else math.inf,
            calm_since=None,
            quiet_until=now + SETTLE_S,
            raised_at=now,
        )
    return state

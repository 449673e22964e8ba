"""Traces of a downlink: its capacity and random loss in each tenth of a second."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

TICK_S = 0.1
MIN_LTE_BPS = 400_000.0
MAX_LTE_BPS = 6_000_000.0


@dataclass(frozen=True, slots=True)
class Trace:
    """`capacity_bps` and `loss` (0..1) have one value a tick. `recoveries` are seconds at which it got better."""

    name: str
    capacity_bps: tuple[float, ...]
    loss: tuple[float, ...]
    recoveries: tuple[float, ...] = ()

    @property
    def ticks(self) -> int:
        return len(self.capacity_bps)

    @property
    def seconds(self) -> float:
        return self.ticks * TICK_S


def constant(bps: float, seconds: int = 180) -> Trace:
    return _trace(f"constant {bps / 1e6:g} Mb/s", seconds, lambda _: bps)


def step(high: float = 4e6, low: float = 1e6, down: float = 40.0, up: float = 80.0, seconds: int = 160) -> Trace:
    """A collapse and its end."""
    name = f"step {high / 1e6:g}, {low / 1e6:g} for {up - down:g} s"
    return _trace(name, seconds, lambda at: low if down <= at < up else high, recoveries=(up,))


def sawtooth(low: float = 0.8e6, high: float = 4e6, period: float = 60.0, seconds: int = 240) -> Trace:
    """Rises slowly, falls at once."""
    return _trace(
        f"sawtooth {low / 1e6:g} to {high / 1e6:g} in {period:g} s",
        seconds,
        lambda at: low + (high - low) * (at % period) / period,
    )


def burst_loss(bps: float = 4e6, seconds: int = 180) -> Trace:
    """Enough capacity; every 20 s a burst of 3 s in which 15% are lost, as a radio link does."""
    return _trace(
        f"burst loss at {bps / 1e6:g} Mb/s",
        seconds,
        lambda _: bps,
        lambda at: 0.15 if 10.0 <= at % 20.0 < 13.0 else 0.0,
    )


def steady_loss(bps: float = 4e6, seconds: int = 180) -> Trace:
    """8% lost at any rate: a lower layer does not help."""
    return _trace("steady loss 8%", seconds, lambda _: bps, lambda _: 0.08)


def rfc8867(bps: float = 1e6) -> Trace:
    """RFC 8867 §5.1: 1 Mb/s (`bps`) times 1.0, 2.5, 0.6 and 1.0 from 0, 40, 60 and 80 s on, to 100 s."""

    def capacity(at: float) -> float:
        return bps * (1.0 if at < 40 else 2.5 if at < 60 else 0.6 if at < 80 else 1.0)

    return _trace(
        "RFC 8867 5.1" if bps == 1e6 else f"RFC 8867 5.1 at {bps / 1e6:g} Mb/s", 100, capacity, recoveries=(40.0, 80.0)
    )


def lte(seed: int, seconds: int = 180) -> Trace:
    """A walk of the logarithm of capacity, pulled to 2.2 Mb/s, with fast fading and now and then a handover."""
    random = Random(f"lte {seed}")
    walk, capacities, handover = 0.0, [], 0
    for tick in range(round(seconds / TICK_S)):
        if tick % 10 == 0:
            walk += -0.05 * walk + random.gauss(0.0, 0.16)
            if random.random() < 0.01:
                handover = tick + 8
        fading = random.gauss(0.0, 0.12)
        bps = 2.2e6 * math.exp(walk + fading) * (0.3 if tick < handover else 1.0)
        capacities.append(min(MAX_LTE_BPS, max(MIN_LTE_BPS, bps)))
    return Trace(f"LTE-like, seed {seed}", tuple(capacities), (0.0,) * len(capacities))


def cells(seed: int, seconds: int = 180) -> Trace:
    """Another LTE-like process: cells of some seconds, each with a rate of its own, and slow fading within."""
    random = Random(f"cells {seed}")
    capacities: list[float] = []
    while len(capacities) < round(seconds / TICK_S):
        base, phase = 2.0e6 * math.exp(random.gauss(0.0, 0.55)), random.uniform(0.0, math.tau)
        for tick in range(round(random.expovariate(1 / 15.0) / TICK_S) + 20):
            bps = base * (1.0 + 0.2 * math.sin(phase + tick / 25.0)) * math.exp(random.gauss(0.0, 0.08))
            capacities.append(min(MAX_LTE_BPS, max(MIN_LTE_BPS, bps)))
    capacities = capacities[: round(seconds / TICK_S)]
    return Trace(f"cells, seed {seed}", tuple(capacities), (0.0,) * len(capacities))


def _trace(
    name: str,
    seconds: int,
    capacity: Callable[[float], float],
    loss: Callable[[float], float] = lambda _: 0.0,
    recoveries: tuple[float, ...] = (),
) -> Trace:
    times = [tick * TICK_S for tick in range(round(seconds / TICK_S))]
    return Trace(name, tuple(map(capacity, times)), tuple(map(loss, times)), recoveries)


DEVELOPMENT = (
    constant(0.8e6),
    constant(1.5e6),
    constant(3e6),
    constant(6e6),
    step(),
    step(up=60.0),
    sawtooth(),
    burst_loss(),
    steady_loss(),
    rfc8867(),
    lte(1),
    lte(2),
    lte(3),
)

# Rules were not made for these, but constants have been chosen over them too.
HELD_OUT = (
    constant(1.1e6),
    constant(2.2e6),
    step(high=3.5e6, low=0.8e6, down=30.0, up=60.0, seconds=140),
    step(high=5e6, low=1.4e6, down=50.0, up=62.0, seconds=140),
    sawtooth(low=1e6, high=3.5e6, period=45.0, seconds=225),
    burst_loss(3.2e6),
    rfc8867(2e6),
    lte(101),
    lte(102),
    cells(1),
    cells(2),
)

# Untouched until what the server does as a link gets narrow was looked into: rules have been chosen by them since.
LOOKED_AT = (
    constant(1.3e6),
    constant(2.6e6),
    step(high=4.5e6, low=1.2e6, down=30.4, up=65.4, seconds=140),
    step(high=3.2e6, low=0.7e6, down=40.7, up=60.7, seconds=120),
    sawtooth(low=0.7e6, high=3e6, period=50.0, seconds=200),
    rfc8867(1.5e6),
    lte(201),
    lte(202),
    lte(203),
    cells(11),
    cells(12),
)

# Never used to choose a rule or a constant: what changes here comes within a second, as on real links.
UNTOUCHED = (
    constant(1.4e6),
    constant(2.4e6),
    step(high=4.2e6, low=1.1e6, down=35.3, up=70.3, seconds=140),
    step(high=3.4e6, low=0.75e6, down=45.6, up=68.6, seconds=120),
    sawtooth(low=0.75e6, high=3.2e6, period=55.0, seconds=220),
    rfc8867(1.7e6),
    lte(301),
    lte(302),
    lte(303),
    cells(21),
    cells(22),
)

"""Drive a controller through a trace, and measure what a viewer had."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from quality.allocation import Subscription, priority
from tests.simulation.baselines import Controller
from tests.simulation.links import Trace
from tests.simulation.receivers import Receiver, SdkReceiver
from tests.simulation.world import EPOCH, EVEN, Second, Spacing, World

RECOVERED = 0.95  # of what can be had
STEADY_S = 3  # held for so long


@dataclass(frozen=True, slots=True)
class Result:
    """A run: weighted utility in each second, and all else that was seen in it."""

    trace: Trace
    utilities: tuple[float, ...]
    seconds: tuple[Second, ...]

    @property
    def freezes(self) -> int:
        return self.seconds[-1].freezes

    @property
    def frozen_s(self) -> float:
        return self.seconds[-1].frozen_s

    def switches(self, track: int, after: int = 0) -> list[int]:
        """Seconds at whose end the track's picture had another layer than at the one before."""
        qualities = [second.forwarded[track] for second in self.seconds]
        return [at + 1 for at, (old, new) in enumerate(pairwise(qualities)) if old != new and at + 1 >= after]

    def busiest_minute(self, after: int = 0) -> int:
        """The most switches of one track within any 60 s."""
        tracks = range(len(self.seconds[0].forwarded))
        times = [self.switches(track, after) for track in tracks]
        return max((sum(at <= other < at + 60 for other in own) for own in times for at in own), default=0)

    def switches_per_minute(self) -> float:
        """Of all tracks together, over the whole run."""
        total = sum(len(self.switches(track)) for track in range(len(self.seconds[0].forwarded)))
        return total * 60.0 / len(self.seconds)

    def share(self, optimum: list[float], after: int = 0) -> float:
        return sum(self.utilities[after:]) / sum(optimum[after:])

    def recovery_s(self, best: float, at: float) -> float | None:
        """From `at` until whole seconds had 0.95 of `best`, three on end; None where they never had."""
        good = [own >= RECOVERED * best for own in self.utilities]
        for second in range(math.ceil(at), len(good) - STEADY_S + 1):
            if all(good[second : second + STEADY_S]):
                return second - at
        return None


def run(
    trace: Trace,
    subscriptions: tuple[Subscription, ...],
    make: Callable[[tuple[Subscription, ...]], Controller],
    seed: int = 0,
    receiver: Callable[[], Receiver] = SdkReceiver,
    spacing: Spacing = EVEN,
    announced: tuple[Subscription, ...] = (),
) -> Result:
    """`subscriptions` have the layers that are sent; the controller knows those `announced`, where given."""
    weights = tuple(priority(item) for item in subscriptions)
    world = World(
        trace, subscriptions, seed, weights=weights, receiver=receiver(), spacing=spacing, announced=announced
    )
    controller = make(announced or subscriptions)
    seconds = []
    for _ in range(int(trace.seconds)):
        windows, seen = world.second()
        seconds.append(seen)
        world.ask(controller.decide(windows, EPOCH + world.now))
    return Result(trace, tuple(second.utility for second in seconds), tuple(seconds))

"""Somebody who knows what the link carries now, and nothing of what comes: what a controller would have to find out.

And what publishers send: the best that the server could forward within the link decides which layers are asked for.
`best_of_present` takes of many policies, for each run, the one that turned out best: what is between it and the
optimum is foresight, and what none of these policies does.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product

from quality.allocation import Limits, Subscription, allocate
from quality.layer_steps import height
from quality.stats import VideoQuality
from quality.window import Window
from tests.simulation.baselines import AlwaysHigh
from tests.simulation.links import Trace
from tests.simulation.optimum import capacities
from tests.simulation.receivers import Receiver, SdkReceiver
from tests.simulation.run import Result, run
from tests.simulation.server import ladders
from tests.simulation.world import EPOCH

MOST_SWITCHES = 6  # in a minute, of a track


@dataclass(frozen=True, slots=True)
class Policy:
    """`margin` of the link is used; it has carried a layer for `raise_s` before that is asked for."""

    margin: float = 0.9
    raise_s: int = 3


POLICIES = tuple(Policy(*each) for each in product((0.75, 0.85, 0.9, 0.95, 1.05, 1.2), (1, 3, 6, 10)))


@dataclass(slots=True)
class KnowsPresent:
    """The best layers for the last second's link (`capacities_bps`, one a second), within six switches a minute."""

    subscriptions: tuple[Subscription, ...]
    capacities_bps: list[float]
    policy: Policy = Policy()
    asked: dict[str, VideoQuality | None] = field(default_factory=dict)
    fitted: deque[dict[str, VideoQuality | None]] = field(default_factory=deque)
    switched: list[tuple[str, float]] = field(default_factory=list)

    def decide(self, windows: tuple[Window, ...], now: float) -> Mapping[str, VideoQuality | None]:
        link_bps = self.capacities_bps[round(now - EPOCH) - 1]
        limits = Limits(bandwidth_bps=self.policy.margin * link_bps)
        self.fitted.append(allocate(ladders(self.subscriptions), limits, keep_all=True).qualities)
        if len(self.fitted) > self.policy.raise_s:
            self.fitted.popleft()
        self.switched = [entry for entry in self.switched if entry[1] > now - 60.0]
        changes: dict[str, VideoQuality | None] = {}
        for item in self.subscriptions:
            sid = item.track_sid
            before = self.asked.get(sid, max(layer.quality for layer in item.layers))
            lasting = min((fitted[sid] for fitted in self.fitted), key=height)
            wanted = min((self.fitted[-1][sid], max(before, lasting, key=height)), key=height)
            switches = sum(name == sid for name, _ in self.switched)
            # The last one is kept for a way down.
            if wanted != before and switches < MOST_SWITCHES - (height(wanted) > height(before)):
                changes[sid] = self.asked[sid] = wanted
                self.switched.append((sid, now))
        return changes


def best_of_present(
    trace: Trace,
    subscriptions: tuple[Subscription, ...],
    seed: int = 0,
    receiver: Callable[[], Receiver] = SdkReceiver,
) -> Result:
    """The best run of all policies, and of asking for all: the choice is made afterwards."""
    known = capacities(trace)

    def tried(policy: Policy) -> Result:
        return run(trace, subscriptions, lambda items: KnowsPresent(items, known, policy), seed, receiver)

    runs = [run(trace, subscriptions, AlwaysHigh, seed, receiver), *map(tried, POLICIES)]
    return max(runs, key=lambda each: sum(each.utilities))

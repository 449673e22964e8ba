"""Somebody who knows what the link carries now, and nothing of what comes: what a controller would have to find out.

And what publishers send: the best that the server could forward within the link decides which layers are asked for.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from quality.allocation import Limits, Subscription, allocate
from quality.layer_steps import height
from quality.stats import VideoQuality
from quality.window import Window
from tests.simulation.server import ladders
from tests.simulation.world import EPOCH

MARGIN = 0.9  # of the link
RAISE_S = 3  # the link has carried a layer for so long before it is asked for
MOST_SWITCHES = 6  # in a minute, of a track


@dataclass(slots=True)
class KnowsPresent:
    """The best layers for the last second's link (`capacities_bps`, one a second), within six switches a minute."""

    subscriptions: tuple[Subscription, ...]
    capacities_bps: list[float]
    asked: dict[str, VideoQuality | None] = field(default_factory=dict)
    fitted: deque[dict[str, VideoQuality | None]] = field(default_factory=lambda: deque(maxlen=RAISE_S))
    switched: list[tuple[str, float]] = field(default_factory=list)

    def decide(self, windows: tuple[Window, ...], now: float) -> Mapping[str, VideoQuality | None]:
        link_bps = self.capacities_bps[round(now - EPOCH) - 1]
        limits = Limits(bandwidth_bps=MARGIN * link_bps)
        self.fitted.append(allocate(ladders(self.subscriptions), limits, keep_all=True).qualities)
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

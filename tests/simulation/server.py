"""A model of LiveKit's stream allocator for one subscriber: what it forwards, when it drops layers, how it probes.

Compared, rule by rule, with the source of livekit-server 1.13.4 (`pkg/sfu/streamallocator`, `forwarder.go`), at its
default settings (REMB, no pausing, probes of padding). As there:

- While no track is deficient a raised ceiling is granted without looking at any estimate. While one is, raising a
  track that is forwarded does nothing at once, and lowering one boosts the others.
- A track that the server lowered is deficient until it is boosted to its ceiling, or its ceiling falls below what is
  given; lowering the ceiling just to what is given changes nothing of that.
- Congestion allocates all tracks anew, layer by layer, the temporal layers of each simulcast layer before the next:
  so 720p at a quarter of its frames is taken where 360p with all of them would fit as well. Probes aim at 1.2 times
  the next layer of the track that lacks most, if its ceiling allows one. The budget counts what layers take, without
  sound.

Left out: layers that come and go at the publisher, and what the server measures of a layer's bitrate (nominal here).
"""

from dataclasses import dataclass, field, replace
from functools import cache

from quality.allocation import Layer, Subscription
from quality.stats import VideoQuality
from tests.simulation.congestion import NO_LIMIT_BPS, RemoteBwe

PROBE_OVERAGE = 1.2
LEAST_PROBE_BPS = 200_000.0
# VP8 with three temporal layers, as libwebrtc shares bits and frames out: up to and with each of them.
TEMPORAL_BITS = (0.4, 0.6, 1.0)
TEMPORAL_FRAMES = (0.25, 0.5, 1.0)
TEMPORAL_LAYERS = len(TEMPORAL_BITS)

Rung = int  # simulcast layer times TEMPORAL_LAYERS plus temporal layer, lowest first


def top(quality: VideoQuality | None) -> Rung:
    """The rung of a simulcast layer with all its frames; -1 for none."""
    return -1 if quality is None else TEMPORAL_LAYERS * quality + TEMPORAL_LAYERS - 1


def quality_of(rung: Rung) -> VideoQuality | None:
    """The simulcast layer of a rung."""
    return None if rung < 0 else VideoQuality(rung // TEMPORAL_LAYERS)


@cache
def rungs(item: Subscription) -> tuple[Layer, ...]:
    """All that the server can forward of a video: each layer with the frames and bits of its temporal layers."""
    return tuple(
        replace(layer, fps=layer.fps * frames, bitrate_bps=layer.bitrate_bps * bits)
        for layer in item.layers
        for frames, bits in zip(TEMPORAL_FRAMES, TEMPORAL_BITS, strict=True)
    )


@cache
def ladders(subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
    """The videos with all that can be forwarded of each as their layers."""
    return tuple(replace(item, layers=rungs(item)) for item in subscriptions)


@dataclass(slots=True)
class Server:
    """Mutable model; `step` once a tick.

    `layer_bps` are nominal, from LOW up. `target` is the rung that is forwarded, `switching` the tracks whose key frame
    is awaited.
    """

    layer_bps: dict[str, tuple[float, ...]]
    ceilings: dict[str, VideoQuality | None] = field(default_factory=dict)
    target: dict[str, Rung] = field(default_factory=dict)
    switching: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    deficient: bool = False
    committed_bps: float = NO_LIMIT_BPS
    bwe: RemoteBwe = field(default_factory=RemoteBwe)
    packets: float = 0.0
    repeated: float = 0.0

    def __post_init__(self) -> None:
        for sid, rates in self.layer_bps.items():
            self.ceilings[sid] = VideoQuality(len(rates) - 1)
            self.target[sid] = top(self.ceilings[sid])

    def ask(self, sid: str, ceiling: VideoQuality | None, now: float) -> None:
        """The subscriber's settings for a track (`allocateTrack`). What its publisher does not send lacks nobody."""
        best = VideoQuality(len(self.layer_bps[sid]) - 1)
        ceiling = self.ceilings[sid] = None if ceiling is None else min(ceiling, best)
        self.bwe.stop_probe(now)
        at = self.target[sid]
        if not self.deficient and not self.bwe.congested:
            self.target[sid] = top(ceiling)
            self.lacking.discard(sid)
        elif top(ceiling) < at:
            self.target[sid] = top(ceiling)
            self.lacking.discard(sid)
            self._adjust()
            self._boost()
        elif at < 0 and ceiling is not None:
            self.target[sid] = 0
            self._see(sid)
            while self._boost_one(sid):
                pass
            self._adjust()

    def count(self, packets: float, repeated: float) -> None:
        """Packets sent, and those asked for not for the first time, in a tick."""
        self.packets += packets
        self.repeated += repeated

    def estimate(self, bps: float, now: float) -> None:
        """A REMB arrived."""
        began = self.bwe.remb(now, bps, self.usage_bps, self.packets, self.repeated)
        self.packets = self.repeated = 0.0
        if not began:
            return
        if self.bwe.probe is not None:
            self.bwe.stop_probe(now)
            return
        self.committed_bps = self.bwe.committed_bps
        self._allocate_all()

    def step(self, now: float) -> None:
        """The server's look, every 0.1 s, while something is withheld."""
        if self.bwe.step_probe(now):
            self.committed_bps = max(self.committed_bps, self.bwe.committed_bps)
            self._boost()
        if self.deficient and self.bwe.can_probe(now):
            steps = [bps for sid in self._most_lacking() if (bps := self._wider_bps(sid)) is not None]
            if steps:
                self.bwe.start_probe(now, self.usage_bps + max(LEAST_PROBE_BPS, PROBE_OVERAGE * steps[0]))

    @property
    def padding_bps(self) -> float:
        probe = self.bwe.probe
        return max(0.0, probe.desired_bps - self.usage_bps) if probe and probe.ended is None else 0.0

    @property
    def usage_bps(self) -> float:
        return sum(self._bps(sid, at) for sid, at in self.target.items())

    def _bps(self, sid: str, rung: Rung) -> float:
        if rung < 0:
            return 0.0
        return self.layer_bps[sid][rung // TEMPORAL_LAYERS] * TEMPORAL_BITS[rung % TEMPORAL_LAYERS]

    def _allocate_all(self) -> None:
        wanted = [sid for sid, ceiling in self.ceilings.items() if ceiling is not None]
        order = sorted(wanted, key=lambda sid: -top(self.ceilings[sid]))
        available, given = self.committed_bps, dict.fromkeys(wanted, -1)
        for rung in range(top(VideoQuality.HIGH) + 1):
            for sid in order:
                if rung > top(self.ceilings[sid]):
                    continue
                more = self._bps(sid, rung) - self._bps(sid, given[sid])
                if more <= available or given[sid] < 0:
                    given[sid], available = rung, max(0.0, available - more)
        self.target.update(given)
        for sid in wanted:
            self._see(sid)
        self._adjust()

    def _boost(self) -> None:
        """Layers for those that lack most, as far as what is committed allows."""
        while any(self._boost_one(sid) for sid in self._most_lacking()):
            pass
        self._adjust()

    def _boost_one(self, sid: str) -> bool:
        """The next layer, where it fits."""
        at = self.target[sid]
        if sid not in self.lacking or at < 0 or at >= top(self.ceilings[sid]):
            return False
        if self.usage_bps + self._bps(sid, at + 1) - self._bps(sid, at) > self.committed_bps:
            return False
        self.target[sid] = at + 1
        self._see(sid)
        return True

    def _see(self, sid: str) -> None:
        if self.target[sid] < top(self.ceilings[sid]):
            self.lacking.add(sid)
        else:
            self.lacking.discard(sid)

    def _adjust(self) -> None:
        if self.deficient and not self.lacking:
            self.bwe = RemoteBwe()
        self.deficient = bool(self.lacking)

    def _most_lacking(self) -> list[str]:
        found = [sid for sid in self.layer_bps if sid in self.lacking]
        return sorted(found, key=lambda sid: self.target[sid] - top(self.ceilings[sid]))

    def _wider_bps(self, sid: str) -> float | None:
        """What the next layer that takes more takes; None at the ceiling, and while a switch is under way."""
        at = self.target[sid]
        if sid in self.switching:
            return None
        above = range(at + 1, top(self.ceilings[sid]) + 1)
        return next((more for rung in above if (more := self._bps(sid, rung) - self._bps(sid, at)) >= 0), None)

"""A model of LiveKit's stream allocator for one subscriber: what it forwards, when it drops layers, how it probes.

Compared, rule by rule, with the source of livekit-server 1.13.4 (`pkg/sfu/streamallocator`, `forwarder.go`), at its
default settings (REMB, no pausing, probes of padding); not with a running server. As there:

- While no track is deficient a raised ceiling is granted without looking at any estimate. While one is, raising a
  track that is forwarded does nothing at once, and lowering one boosts the others.
- A track that the server lowered is deficient until it is boosted to its ceiling, or its ceiling falls below what is
  given; lowering the ceiling just to what is given changes nothing of that.
- Congestion allocates all tracks anew, layer by layer. Probes aim at 1.2 times the next layer of the track that lacks
  most, if its ceiling allows one. The budget counts what layers take, without sound.

Left out: temporal layers (the server drops frames before it drops pixels), layers coming and going at the publisher,
and what the server measures of a layer's bitrate (nominal here).
"""

from dataclasses import dataclass, field

from quality.stats import VideoQuality
from tests.simulation.congestion import NO_LIMIT_BPS, RemoteBwe

PROBE_OVERAGE = 1.2
LEAST_PROBE_BPS = 200_000.0


@dataclass(slots=True)
class Server:
    """Mutable model; `step` once a tick. `layer_bps` are nominal, from LOW up; `target` is what is forwarded."""

    layer_bps: dict[str, tuple[float, ...]]
    ceilings: dict[str, VideoQuality | None] = field(default_factory=dict)
    target: dict[str, VideoQuality | None] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    deficient: bool = False
    committed_bps: float = NO_LIMIT_BPS
    bwe: RemoteBwe = field(default_factory=RemoteBwe)
    packets: float = 0.0
    repeated: float = 0.0

    def __post_init__(self) -> None:
        for sid, rates in self.layer_bps.items():
            self.ceilings[sid] = self.target[sid] = VideoQuality(len(rates) - 1)

    def ask(self, sid: str, ceiling: VideoQuality | None, now: float) -> None:
        """The subscriber's settings for a track (`allocateTrack`)."""
        self.ceilings[sid] = ceiling
        self.bwe.stop_probe(now)
        at = self.target[sid]
        if not self.deficient and not self.bwe.congested:
            self.target[sid] = ceiling
            self.lacking.discard(sid)
        elif _height(ceiling) < _height(at):
            self.target[sid] = ceiling
            self.lacking.discard(sid)
            self._adjust()
            self._boost()
        elif at is None and ceiling is not None:
            self.target[sid] = VideoQuality.LOW
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
            steps = [bps for sid in self._most_lacking() if (bps := self._next_bps(sid)) is not None]
            if steps:
                self.bwe.start_probe(now, self.usage_bps + max(LEAST_PROBE_BPS, PROBE_OVERAGE * steps[0]))

    @property
    def padding_bps(self) -> float:
        probe = self.bwe.probe
        return max(0.0, probe.desired_bps - self.usage_bps) if probe and probe.ended is None else 0.0

    @property
    def usage_bps(self) -> float:
        return sum(self.layer_bps[sid][at] for sid, at in self.target.items() if at is not None)

    def _allocate_all(self) -> None:
        wanted = [sid for sid, ceiling in self.ceilings.items() if ceiling is not None]
        order = sorted(wanted, key=lambda sid: -_height(self.ceilings[sid]))
        for sid in order:
            self.target[sid] = VideoQuality.LOW
            self._see(sid)
        for quality in (VideoQuality.MEDIUM, VideoQuality.HIGH):
            for sid in order:
                if self.target[sid] == quality - 1:
                    self._boost_one(sid)
        self._adjust()

    def _boost(self) -> None:
        """Layers for those that lack most, as far as what is committed allows."""
        while any(self._boost_one(sid) for sid in self._most_lacking()):
            pass
        self._adjust()

    def _boost_one(self, sid: str) -> bool:
        """The next layer, where it fits."""
        at, more_bps = self.target[sid], self._next_bps(sid)
        if sid not in self.lacking or at is None or more_bps is None:
            return False
        if self.usage_bps + more_bps > self.committed_bps:
            return False
        self.target[sid] = VideoQuality(at + 1)
        self._see(sid)
        return True

    def _see(self, sid: str) -> None:
        if _height(self.target[sid]) < _height(self.ceilings[sid]):
            self.lacking.add(sid)
        else:
            self.lacking.discard(sid)

    def _adjust(self) -> None:
        if self.deficient and not self.lacking:
            self.bwe = RemoteBwe()
        self.deficient = bool(self.lacking)

    def _most_lacking(self) -> list[str]:
        found = [sid for sid in self.layer_bps if sid in self.lacking]
        return sorted(found, key=lambda sid: _height(self.target[sid]) - _height(self.ceilings[sid]))

    def _next_bps(self, sid: str) -> float | None:
        """What the next layer takes more; None at the ceiling."""
        at = self.target[sid]
        if at is None or at >= _height(self.ceilings[sid]):
            return None
        return self.layer_bps[sid][at + 1] - self.layer_bps[sid][at]


def _height(quality: VideoQuality | None) -> int:
    return -1 if quality is None else int(quality)

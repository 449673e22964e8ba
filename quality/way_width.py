"""How much the way carries, from how far apart the packets of a frame arrive.

A frame's bits behind its first packet, over the time to its last, are the rate of the narrowest link (`quality.trains`;
RFC 5136 has the terms). It needs nothing to be sent, and tells of a wider link within seconds.

It errs both ways. A shaper with a bucket of tokens lets short frames pass at once: that is calibrated where the way was
seen full, as what came then is what it carries. A large bucket hides the way, but for when about as much comes as when
it was full: the bucket is empty then, and packets that come close all the same came over a wider way. Losses, jitter
and a publisher's own narrow way space packets further: where more comes without a queue than the trains allow, they
are not believed for a while.
"""

from dataclasses import dataclass, replace

from quality.trains import Train

LEAST_BITS = 100_000.0  # fewer say nothing
LOOKED_S = 3  # a second's trains vary by some 15% on a real link
LEAST_S = 0.001  # the counter's resolution
SETTLED_S = 3  # since the way was full: what was looked at is of later
CALIBRATED_S = 4  # seconds of it: the way seldom changes in them
WIDER = 1.5  # times the most that was promised: the way has become wider
NARROWER = 0.67  # times the mean of it
BUCKET = 1.5  # times what came when it was full, promised: some of it is a bucket's
HIDDEN = 2.0  # the same: a bucket hides what the way carries
LOADED, LOADED_S = 0.9, 3  # of what came when it was full, and more, comes for so long: a bucket is empty
PASSED = 3.0  # times what came when it was full, say trains then: the way is wider
PASSED_MOST = 3.0  # times what comes is what it is held to carry then, at most
JUMP = 1.5  # times what trains promised so far: the way becomes wider, and that is no promise
DOUBTED = 1.25  # times what trains say, or more, came without a queue
DOUBTED_S = 60  # they are not believed for so long after that


@dataclass(frozen=True, slots=True)
class Promise:
    """What trains promised after the way was full, over what had come: the mean of `seconds` looks, and the most."""

    mean: float
    most: float
    seconds: int = 1

    def with_look(self, ratio: float) -> "Promise":
        """One look more."""
        return Promise((self.seconds * self.mean + ratio) / (self.seconds + 1), max(self.most, ratio), self.seconds + 1)


@dataclass(frozen=True, slots=True)
class WayWidth:
    """What the seconds so far say of the way. Begin with `UNKNOWN_WIDTH`.

    `full_bps` is what came when the way was last seen full (0: never). For `full_s` seconds on end it has been full,
    for `idle_s` it has not; for `loaded_s` about as much came without a queue, in the last one `received_bps`.
    `promises` are of the last two times: one may be of a way that became wider in that moment, two are a bucket of
    tokens. `doubted_s` is for how many seconds trains are not believed.
    """

    trains: tuple[Train, ...] = ()
    full_bps: float = 0.0
    full_s: int = 0
    idle_s: int = 0
    loaded_s: int = 0
    received_bps: float = 0.0
    promises: tuple[Promise, ...] = ()
    calibrated: bool = True
    doubted_s: int = 0

    def after(self, latest: Train, received_bps: float, *, full: bool) -> "WayWidth":
        """With a second more: its trains, all that came in it, and whether the way was full."""
        loaded_s = self.loaded_s + 1 if not full and received_bps >= LOADED * self.full_bps > 0 else 0
        trains = (*self.trains, latest)[-LOOKED_S:]
        state = replace(self, trains=trains, loaded_s=loaded_s, received_bps=received_bps)
        if full:
            # In the first of these seconds the way may still have been wider.
            most = max(received_bps, self.full_bps if self.full_s > 1 else 0.0)
            return replace(state, full_bps=most, full_s=self.full_s + 1, idle_s=0, calibrated=False)
        return replace(state, full_s=0, idle_s=self.idle_s + 1)._doubted(received_bps)._calibrated()

    @property
    def was_full(self) -> bool:
        """Whether it was full just now."""
        return self.full_bps > 0 and self.idle_s < SETTLED_S

    @property
    def told(self) -> bool:
        """Whether enough packets came to tell, and they can be believed."""
        if self._seen_bps is None or self.doubted_s:
            return False
        return self._passed_bps is not None or not self.promises or self._promise.most < HIDDEN

    @property
    def bps(self) -> float | None:
        """Bits a second that the way carries; None where that is not known, as just after it was full."""
        seen_bps = self._seen_bps
        if seen_bps is None or not self.told or self.was_full:
            return None
        if not self.promises:
            return None if self.full_bps else seen_bps
        if (passed_bps := self._passed_bps) is not None:
            return passed_bps
        promise = self._promise
        ratio = seen_bps / self.full_bps
        if ratio > WIDER * promise.most or ratio < NARROWER * promise.mean:
            return seen_bps / max(1.0, promise.mean)
        return self.full_bps

    @property
    def wider(self) -> bool:
        """Whether it carries more now than when it was last full."""
        return self.bps is not None and self.bps > self.full_bps > 0

    @property
    def _promise(self) -> Promise:
        """The lesser of the last ones: the other may be of a way that became wider in that moment."""
        return min(self.promises, key=lambda item: item.most)

    @property
    def _passed_bps(self) -> float | None:
        """What it carries at least, where packets come close though a bucket would be empty; None where not."""
        seen_bps = self._seen_bps
        if seen_bps is None or self.loaded_s < LOADED_S or not self.promises or self._promise.most < BUCKET:
            return None
        return min(seen_bps, PASSED_MOST * self.received_bps) if seen_bps >= PASSED * self.full_bps else None

    @property
    def _seen_bps(self) -> float | None:
        bits = sum(item.bits for item in self.trains)
        return bits / max(LEAST_S, sum(item.seconds for item in self.trains)) if bits >= LEAST_BITS else None

    def _doubted(self, received_bps: float) -> "WayWidth":
        seen_bps = self._seen_bps
        doubted = seen_bps is not None and not self.was_full and received_bps >= DOUBTED * seen_bps
        return replace(self, doubted_s=DOUBTED_S if doubted else max(0, self.doubted_s - 1))

    def _calibrated(self) -> "WayWidth":
        seen_bps = self._seen_bps
        if not self.full_bps or self.idle_s < SETTLED_S or seen_bps is None:
            return self
        ratio = seen_bps / self.full_bps
        if not self.calibrated:
            return replace(self, promises=(*self.promises[-1:], Promise(ratio, ratio)), calibrated=True)
        latest = self.promises[-1]
        if latest.seconds >= CALIBRATED_S:
            return self
        over = ratio > JUMP * latest.mean
        looked = replace(latest, seconds=CALIBRATED_S) if over else latest.with_look(ratio)
        return replace(self, promises=(*self.promises[:-1], looked))


UNKNOWN_WIDTH = WayWidth()

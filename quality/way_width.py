"""How much the way carries, from how far apart the packets of a frame arrive.

A frame's bits behind its first packet, over the time to its last, are the rate of the narrowest link (`quality.trains`;
RFC 5136 has the terms). It needs nothing to be sent, and tells of a wider link within seconds.

It errs both ways. A shaper with a bucket of tokens lets short frames pass at once: that is calibrated where the way was
seen full, as what came then is what it carries. A large bucket hides the way, but for when much comes: the bucket is
never full then, and packets that come far closer than they did so far came over a wider way; so too where as much comes
as when it was full. Losses, jitter and a publisher's own narrow way space packets further: where more comes without a
queue than the trains allow, they are not believed for a while.
"""

from dataclasses import dataclass, replace

from quality.trains import Train, total

LEAST_BITS = 100_000.0  # fewer say nothing
LEAST_S = 0.001  # the counter's resolution
LOOKED_S = 3  # a second's trains vary by some 15% on a real link
CHANGED_S, CHANGED = 2, 1.6  # the latest seconds say this much more than those before: these are of a narrower way
FULL_S = 3  # the way may change while it is full; what comes in one second need not fill it
SETTLED_S = 3  # since the way was full: what was looked at is of later
CALIBRATED_S = 4  # seconds of it: the way seldom changes in them
WIDER = 1.5  # times the most that was promised: the way has become wider
NARROWER = 0.67  # times the mean of it
BUCKET = 1.5  # times what came when it was full, promised: some of it is a bucket's
OVER = 1.1  # of what is promised where it is no bucket's, what is too much; the rest is a way that became wider
HIDDEN = 2.0  # the same: a bucket hides what the way carries
LOADED, LOADED_S = 0.7, 3  # of what came when it was full, and more, comes for so long: not all passes a bucket
LOADED_LEAST, LOADED_MOST = 5, 20  # looks then, that count: one is of three seconds
PASSED = 3.0  # times what they say then, or, where as much comes as when it was full, that: the way is wider
PASSED_MOST = 3.0  # times what comes is what it is held to carry then, at most
JUMP = 1.5  # times what trains promised so far: the way becomes wider, and that is no promise
DOUBTED = 1.25  # times what trains say, or more, came without a queue
DOUBTED_S = 60  # they are not believed for so long after that
CLEARED = 0.8  # of what came then comes, and trains say that it fits: they are believed again


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

    `full_bps` is what came when the way was last seen full (0: never). For `full_s` seconds on end it has been full
    (`filled_bps` is of the last ones), for `idle_s` it has not. For `loaded_s` much of that came without a queue, for
    `brim_s` as much, in the last one `received_bps`. `promises` are of the last two times: one may be of a way that
    became wider in that moment, two are a bucket of tokens; `loaded` is that of the seconds in which much comes.
    `doubted_s` is for how many seconds trains are not believed, since `doubted_bps` came.
    """

    trains: tuple[Train, ...] = ()
    full_bps: float = 0.0
    full_s: int = 0
    filled_bps: tuple[float, ...] = ()
    idle_s: int = 0
    loaded_s: int = 0
    brim_s: int = 0
    received_bps: float = 0.0
    promises: tuple[Promise, ...] = ()
    calibrated: bool = True
    loaded: Promise | None = None
    doubted_s: int = 0
    doubted_bps: float = 0.0

    def after(self, latest: Train, received_bps: float, *, full: bool) -> "WayWidth":
        """With a second more: its trains, all that came in it, and whether the way was full."""
        idle_bps = 0.0 if full or not self.full_bps else received_bps
        loaded_s = self.loaded_s + 1 if idle_bps > LOADED * self.full_bps else 0
        brim_s = self.brim_s + 1 if idle_bps > self.full_bps else 0
        trains = (*self.trains, latest)[-LOOKED_S:]
        state = replace(self, trains=trains, loaded_s=loaded_s, brim_s=brim_s, received_bps=received_bps)
        if full:
            # In the first of these seconds the way may still have been wider.
            filled = (*(self.filled_bps if self.full_s > 1 else ()), received_bps)[-FULL_S:]
            state = replace(state, filled_bps=filled, full_bps=max(filled), full_s=self.full_s + 1)
            return replace(state, idle_s=0, calibrated=False, loaded=None)
        return replace(state, full_s=0, idle_s=self.idle_s + 1)._doubted(received_bps)._calibrated()._looked_loaded()

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
        promise, passed_bps = self._promise, self._passed_bps or 0.0
        if promise.most >= HIDDEN:
            return passed_bps
        known_bps, ratio = self.full_bps, seen_bps / self.full_bps
        if self.brim_s >= LOADED_S or ratio > WIDER * promise.most or ratio < NARROWER * promise.mean:
            known_bps = seen_bps / max(1.0, promise.mean if promise.most >= BUCKET else min(OVER, promise.mean))
        return max(known_bps, passed_bps)

    @property
    def wider(self) -> bool:
        """Whether it carries more now than when it was last full."""
        return self.bps is not None and self.bps > self.full_bps > 0

    @property
    def rises(self) -> bool:
        """Whether it becomes wider just now: the second before the latest is partly of the time before.

        False where trains do not tell what it carries: a bucket's vary by more.
        """
        if self.bps is None or self._passed_bps is not None or len(self.trains) < 2:
            return False
        before, latest = self.trains[-2:]
        return _is_wider(latest, before)

    @property
    def _promise(self) -> Promise:
        """The lesser of the last ones: the other may be of a way that became wider in that moment."""
        return min(self.promises, key=lambda item: item.most)

    @property
    def _passed_bps(self) -> float | None:
        """What it carries at least, where packets come closer than a bucket would let them; None where they do not."""
        seen_bps, loaded = self._seen_bps, self.loaded
        if seen_bps is None or not self.promises or self._promise.most < BUCKET:
            return None
        most = min(seen_bps, PASSED_MOST * self.received_bps)
        if self.brim_s >= LOADED_S and seen_bps >= PASSED * self.full_bps:
            return most
        if self.loaded_s < LOADED_S or loaded is None or loaded.seconds < LOADED_LEAST:
            return None
        return most if seen_bps >= PASSED * loaded.mean * self.full_bps else None

    @property
    def _seen_bps(self) -> float | None:
        before = total(self.trains[:-CHANGED_S])
        latest = total(self.trains[-CHANGED_S:])
        looked = latest if latest.bits >= LEAST_BITS and _is_wider(latest, before) else latest.plus(before)
        return looked.bits / max(LEAST_S, looked.seconds) if looked.bits >= LEAST_BITS else None

    def _doubted(self, received_bps: float) -> "WayWidth":
        seen_bps = self._seen_bps
        known_bps = None if self.was_full else seen_bps
        if known_bps is not None and received_bps >= DOUBTED * known_bps:
            most = max(received_bps, self.doubted_bps if self.doubted_s else 0.0)
            return replace(self, doubted_s=DOUBTED_S, doubted_bps=most)
        cleared = known_bps is not None and known_bps >= received_bps >= CLEARED * self.doubted_bps
        return replace(self, doubted_s=0 if cleared else max(0, self.doubted_s - 1))

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

    def _looked_loaded(self) -> "WayWidth":
        seen_bps, loaded = self._seen_bps, self.loaded
        if self.loaded_s < LOADED_S or self.was_full or seen_bps is None or not self.promises:
            return self
        ratio = seen_bps / self.full_bps
        if loaded is None:
            return replace(self, loaded=Promise(ratio, ratio))
        if ratio > JUMP * loaded.mean:
            return self
        return replace(self, loaded=replace(loaded, seconds=min(LOADED_MOST, loaded.seconds)).with_look(ratio))


UNKNOWN_WIDTH = WayWidth()


def _is_wider(latest: Train, before: Train) -> bool:
    return latest.bits * before.seconds > CHANGED * before.bits * latest.seconds

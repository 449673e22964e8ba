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

from quality.promises import NO_PROMISES, Promises
from quality.trains import LEAST_BITS, Train, total
from quality.way_load import NO_LOAD, WayLoad

LEAST_S = 0.001  # the counter's resolution
LOOKED_S = 3  # a second's trains vary by some 15% on a real link
CHANGED_S, CHANGED = 2, 1.6  # the latest seconds say this much more than those before: these are of a narrower way
WIDER = 1.5  # times the most that was promised: the way has become wider
NARROWER = 0.67  # times the mean of it
BUCKET = 1.5  # times what came when it was full, promised: some of it is a bucket's
OVER = 1.1  # of what is promised where it is no bucket's, what is too much; the rest is a way that became wider
HIDDEN = 2.0  # the same: a bucket hides what the way carries
PASSED = 3.0  # times what they say while much comes, or, where as much comes as when it was full, that: it is wider
PASSED_MOST = 3.0  # times what comes is what it is held to carry then, at most
DOUBTED = 1.25  # times what trains say, or more, came without a queue
DOUBTED_S = 60  # they are not believed for so long after that
CLEARED = 0.8  # of what came then comes, and trains say that it fits: they are believed again


@dataclass(frozen=True, slots=True)
class Doubt:
    """For how many `seconds` trains are not believed, since `bps` came and they said less."""

    seconds: int = 0
    bps: float = 0.0

    def after(self, said_bps: float | None, received_bps: float) -> "Doubt":
        """With a second more, and what trains say in it."""
        if said_bps is not None and received_bps >= DOUBTED * said_bps:
            return Doubt(DOUBTED_S, max(received_bps, self.bps if self.seconds else 0.0))
        cleared = said_bps is not None and said_bps >= received_bps >= CLEARED * self.bps
        return replace(self, seconds=0 if cleared else max(0, self.seconds - 1))


NO_DOUBT = Doubt()


@dataclass(frozen=True, slots=True)
class WayWidth:
    """What the seconds so far say of the way. Begin with `UNKNOWN_WIDTH`.

    `trains` are of the last ones; `load` is what came, `promises` what trains say beside that, `doubt` whether they are
    to be believed.
    """

    trains: tuple[Train, ...] = ()
    load: WayLoad = NO_LOAD
    promises: Promises = NO_PROMISES
    doubt: Doubt = NO_DOUBT

    def after(self, latest: Train, received_bps: float, *, full: bool) -> "WayWidth":
        """With a second more: its trains, all that came in it, and whether the way was full."""
        trains = (*self.trains, latest)[-LOOKED_S:]
        state = replace(self, trains=trains, load=self.load.after(received_bps, full=full))
        if full:
            return replace(state, promises=self.promises.after_full())
        said_bps = None if state.load.was_full else state._seen_bps
        return replace(state, doubt=self.doubt.after(said_bps, received_bps), promises=state._compared(said_bps))

    @property
    def full_bps(self) -> float:
        """What came when the way was last full; 0 where it never was."""
        return self.load.full_bps

    @property
    def full_s(self) -> int:
        """For how many seconds on end it has been full."""
        return self.load.full_s

    @property
    def was_full(self) -> bool:
        """Whether it was full just now."""
        return self.load.was_full

    @property
    def told(self) -> bool:
        """Whether enough packets came to tell, and they can be believed."""
        if self._seen_bps is None or self.doubt.seconds:
            return False
        least = self.promises.least
        return self._passed_bps is not None or least is None or least.most < HIDDEN

    @property
    def bps(self) -> float | None:
        """Bits a second that the way carries; None where that is not known, as just after it was full."""
        seen_bps = self._seen_bps
        if seen_bps is None or not self.told or self.was_full:
            return None
        promise = self.promises.least
        if promise is None:
            return None if self.full_bps else seen_bps
        passed_bps = self._passed_bps or 0.0
        if promise.most >= HIDDEN:
            return passed_bps
        known_bps, ratio = self.full_bps, seen_bps / self.full_bps
        if self.load.brims or ratio > WIDER * promise.most or ratio < NARROWER * promise.mean:
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
    def _passed_bps(self) -> float | None:
        """What it carries at least, where packets come closer than a bucket would let them; None where they do not."""
        seen_bps, promise = self._seen_bps, self.promises.least
        if seen_bps is None or promise is None or promise.most < BUCKET:
            return None
        most = min(seen_bps, PASSED_MOST * self.load.received_bps)
        if self.load.brims and seen_bps >= PASSED * self.full_bps:
            return most
        mean = self.promises.under_load_mean if self.load.is_loaded else None
        return most if mean is not None and seen_bps >= PASSED * mean * self.full_bps else None

    @property
    def _seen_bps(self) -> float | None:
        before = total(self.trains[:-CHANGED_S])
        latest = total(self.trains[-CHANGED_S:])
        looked = latest if latest.bits >= LEAST_BITS and _is_wider(latest, before) else latest.plus(before)
        return looked.bits / max(LEAST_S, looked.seconds) if looked.bits >= LEAST_BITS else None

    def _compared(self, said_bps: float | None) -> Promises:
        """What is promised, with what trains say now beside what came when the way was full."""
        if said_bps is None or not self.full_bps:
            return self.promises
        promises = self.promises.settled(said_bps / self.full_bps)
        return promises.under_load(said_bps / self.full_bps) if self.load.is_loaded else promises


UNKNOWN_WIDTH = WayWidth()


def _is_wider(latest: Train, before: Train) -> bool:
    return latest.bits * before.seconds > CHANGED * before.bits * latest.seconds

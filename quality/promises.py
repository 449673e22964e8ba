"""How much more trains of packets promise than came when the way was full: what a bucket of tokens adds to them."""

from dataclasses import dataclass, replace

CALIBRATED_S = 4  # seconds of it: the way seldom changes in them
LOADED_LEAST, LOADED_MOST = 5, 20  # looks while much comes, that count: one is of three seconds
JUMP = 1.5  # times what trains promised so far: the way becomes wider, and that is no promise


@dataclass(frozen=True, slots=True)
class Promise:
    """What trains promised, over what had come when the way was full: the mean of `seconds` looks, and the most."""

    mean: float
    most: float
    seconds: int = 1

    def with_look(self, ratio: float) -> "Promise":
        """One look more."""
        return Promise((self.seconds * self.mean + ratio) / (self.seconds + 1), max(self.most, ratio), self.seconds + 1)


@dataclass(frozen=True, slots=True)
class Promises:
    """What was promised so far. Begin with `NO_PROMISES`.

    `times` are of the last two times after the way was full: one may be of a way that became wider in that moment, two
    are a bucket of tokens. `due`: it was full since. `loaded` is that of the seconds in which much comes.
    """

    times: tuple[Promise, ...] = ()
    due: bool = False
    loaded: Promise | None = None

    def after_full(self) -> "Promises":
        """The way is full: what comes is to be compared with anew."""
        return replace(self, due=True, loaded=None)

    def settled(self, ratio: float) -> "Promises":
        """With a look at a way that is not full any more."""
        if self.due:
            return replace(self, times=(*self.times[-1:], Promise(ratio, ratio)), due=False)
        if not self.times or self.times[-1].seconds >= CALIBRATED_S:
            return self
        latest = self.times[-1]
        over = ratio > JUMP * latest.mean
        looked = replace(latest, seconds=CALIBRATED_S) if over else latest.with_look(ratio)
        return replace(self, times=(*self.times[:-1], looked))

    def under_load(self, ratio: float) -> "Promises":
        """With a look while much comes."""
        if self.loaded is None:
            return replace(self, loaded=Promise(ratio, ratio))
        if ratio > JUMP * self.loaded.mean:
            return self
        known = replace(self.loaded, seconds=min(LOADED_MOST, self.loaded.seconds))
        return replace(self, loaded=known.with_look(ratio))

    @property
    def least(self) -> Promise | None:
        """The lesser of the last ones: the other may be of a way that became wider in that moment."""
        return min(self.times, key=lambda item: item.most, default=None)

    @property
    def under_load_mean(self) -> float | None:
        """What is promised while much comes, where that was looked at often enough."""
        return self.loaded.mean if self.loaded is not None and self.loaded.seconds >= LOADED_LEAST else None


NO_PROMISES = Promises()

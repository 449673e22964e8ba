"""What comes over a way, beside what came when it was last full: that is all that it carried then."""

from dataclasses import dataclass, replace

FULL_S = 3  # the way may change while it is full; what comes in one second need not fill it
SETTLED_S = 3  # since the way was full: what was looked at is of later
LOADED, LOADED_S = 0.7, 3  # of what came when it was full, and more, comes for so long: not all passes a bucket


@dataclass(frozen=True, slots=True)
class WayLoad:
    """The seconds so far. Begin with `NO_LOAD`.

    `full_bps` is what came when the way was last seen full (0: never). For `full_s` seconds on end it has been full
    (`filled_bps` is of the last ones), for `idle_s` it has not. For `loaded_s` much of that came without a queue, for
    `brim_s` as much, in the last one `received_bps`.
    """

    full_bps: float = 0.0
    full_s: int = 0
    filled_bps: tuple[float, ...] = ()
    idle_s: int = 0
    loaded_s: int = 0
    brim_s: int = 0
    received_bps: float = 0.0

    def after(self, received_bps: float, *, full: bool) -> "WayLoad":
        """With a second more: all that came in it, and whether the way was full."""
        if full and not received_bps:
            return replace(self, received_bps=0.0)  # padding alone says nothing of what it carries
        if full:
            # In the first of these seconds the way may still have been wider.
            filled_bps = (*(self.filled_bps if self.full_s > 1 else ()), received_bps)[-FULL_S:]
            return WayLoad(max(filled_bps), self.full_s + 1, filled_bps, received_bps=received_bps)
        known = self.full_bps > 0
        return replace(
            self,
            full_s=0,
            idle_s=self.idle_s + 1,
            loaded_s=self.loaded_s + 1 if known and received_bps > LOADED * self.full_bps else 0,
            brim_s=self.brim_s + 1 if known and received_bps > self.full_bps else 0,
            received_bps=received_bps,
        )

    @property
    def was_full(self) -> bool:
        """Whether the way was full just now."""
        return self.full_bps > 0 and self.idle_s < SETTLED_S

    @property
    def is_loaded(self) -> bool:
        """Whether much of what came when it was full comes now, without a queue."""
        return self.loaded_s >= LOADED_S

    @property
    def brims(self) -> bool:
        """Whether as much comes, without a queue."""
        return self.brim_s >= LOADED_S


NO_LOAD = WayLoad()

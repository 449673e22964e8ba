"""What is remembered of one reason to send a video otherwise: the processor, the way out, or a screen of ours. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean

from quality.publish_ladder import Limit, Move, Rung
from quality.publish_signs import Signs

UP_AFTER_S = {Limit.BANDWIDTH: 10.0, Limit.CPU: 30.0}
MAX_UP_AFTER_S = 300.0
BACKOFF = 2.0
PROVEN_S = 60.0  # a change up that held for so long ends the back-off
BARRED_S = 60.0  # what did not help is not tried again for so long, twice as long each time
MAX_BARRED_S = 600.0
SEEN_S = 5  # seconds whose mean counts as "before" and "after": an encoder in need does well for one now and then


@dataclass(frozen=True, slots=True)
class Watch:
    """A step down whose effect is judged at `until`; before it the measure was `before` and the rungs were `kept`."""

    rung: Rung
    until: float
    before: float
    kept: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """`trouble` is the last one seen, `trouble_s` counts seconds with it, those without it off; `recent` are the last
    seconds, both since it changed something. `barred`: until when each rung is not tried, and how often it failed.

    `gives_way`: trouble and seconds are those of a screen of ours that the video makes room for.
    """

    limit: Limit
    up_after_s: float
    gives_way: bool = False
    applied: tuple[Rung, ...] = ()
    trouble: str = ""
    trouble_s: float = 0.0
    room_s: float = 0.0
    recent: tuple[Signs, ...] = ()
    watch: Watch | None = None
    raised_at: float | None = None
    barred: tuple[tuple[Rung, float, int], ...] = ()

    @classmethod
    def of(cls, limit: Limit, *, gives_way: bool = False) -> "Side":
        """One to begin with."""
        return cls(limit, UP_AFTER_S[limit], gives_way)

    def measure(self, move: Move) -> float:
        """How well it went lately as to what `move` is to help."""
        return fmean(signs.measure(self.limit, move) for signs in self.recent)

    def allowed(self, ladder: Iterable[Rung], now: float) -> list[Rung]:
        """The rungs of `ladder` that are not barred at `now`."""
        barred = {rung for rung, until, _ in self.barred if now < until}
        return [rung for rung in ladder if rung not in barred]

    def bar(self, rung: Rung, now: float) -> "Side":
        """`rung` did not help, or could not be had: not again for a while, twice as long each time."""
        failed = 1 + next((times for each, _, times in self.barred if each == rung), 0)
        until = now + min(MAX_BARRED_S, BARRED_S * BACKOFF ** (failed - 1))
        return replace(self, barred=(*(each for each in self.barred if each[0] != rung), (rung, until, failed)))

    def later(self) -> "Side":
        """A change up failed, or is to be made later."""
        return replace(self, up_after_s=min(MAX_UP_AFTER_S, self.up_after_s * BACKOFF))

    def count(self, signs: Signs | None, trouble: str, duration_s: float, now: float, *, room: bool) -> "Side":
        """Take in a second; `signs` is None without a screen to give way to. `room`: there is some for a change up."""
        proven = self.raised_at is not None and now - self.raised_at >= PROVEN_S and not trouble
        return replace(
            self,
            trouble=trouble or self.trouble,
            trouble_s=max(0.0, self.trouble_s + (duration_s if trouble else -duration_s)) if signs else 0.0,
            room_s=self.room_s + duration_s if room and not trouble else 0.0,
            recent=(*self.recent, signs)[-SEEN_S:] if signs else (),
            up_after_s=UP_AFTER_S[self.limit] if proven else self.up_after_s,
            raised_at=None if proven else self.raised_at,
        )

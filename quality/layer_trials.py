"""What a layer controller asks for as a trial, and how long a kind of trial waits after one that failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from quality.evidence import Evidence
from quality.stats import VideoQuality

FIRST_WAIT_S = 30.0
FILLED_WAIT_S = 15.0  # the first after a trial undone before a picture broke, where only trials tell of the way
MAX_WAIT_S = 480.0
BETTER = 1.05  # what a trial is to bring at least
NO_WORSE = 0.95  # what one that need not gain may cost at most: scenes vary by as much
# A few seconds of one video vary by more than those of all: what freezes at random does so before and after.
RESCUED = 2.0
OWN_NO_WORSE = 0.8
FAILED = 0.6  # seen for two seconds after a raise
SEEN_S = 3  # seconds that count as "before" and "after"


class Kind(StrEnum):
    """Why something is asked for."""

    LIMIT = "limit"
    FIT = "fit"
    RELIEVE = "relieve"
    SHARE = "share"
    PROBE = "probe"
    STEADY = "steady"
    RAISE = "raise"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Action:
    """Ask for `to_quality` of `track_sid` (None: disabled). `reason` and `expects` are for people, and for the log."""

    track_sid: str
    from_quality: VideoQuality | None
    to_quality: VideoQuality | None
    kind: Kind
    reason: str
    expects: str


@dataclass(frozen=True, slots=True)
class Trial:
    """Something asked for of the tracks `changed` whose effect is awaited: what was held down before it, and seen.

    `wanted` is what a probe asks for once all was lowered. `gains`: more is to be seen after it, not just no less.
    """

    kind: Kind
    began: float
    held: tuple[tuple[str, VideoQuality], ...]
    before: tuple[Evidence, ...]
    changed: frozenset[str] = frozenset()
    after: tuple[Evidence, ...] = ()
    wanted: tuple[tuple[str, VideoQuality], ...] = ()
    gains: bool = True

    @property
    def raised(self) -> bool:
        """Whether more was asked for."""
        return self.kind in {Kind.PROBE, Kind.RAISE}

    @property
    def worth(self) -> float:
        """What was seen before it."""
        return fmean(evidence.worth for evidence in self.before)

    def outcome(self) -> "Outcome | None":
        """How what is seen compares with what was seen before, by what matters now.

        Of the tracks that could be judged in every second; None where there are none, or none that it changed.
        """
        looks = (*self.before, *self.after)
        sids = self.after[-1].sids.intersection(*(evidence.sids for evidence in looks)) if self.after else frozenset()
        if not sids & self.changed:
            return None
        weights = {item.track_sid: item.weight for item in self.after[-1].tracks if item.track_sid in sids}
        own = {sid: weight for sid, weight in weights.items() if sid in self.changed}
        return Outcome(_gain(self, weights), _gain(self, own), self.gains)


@dataclass(frozen=True, slots=True)
class Gain:
    """Worth of some tracks: before a trial, at its end, and the most of its last two seconds."""

    before: float
    after: float
    latest: float

    def reaches(self, ratio: float) -> bool:
        """Whether it is `ratio` of what was before."""
        return self.after >= ratio * self.before


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial: of all tracks that could be judged before and after, and of those that it changed.

    `gains` is whether more was to be seen. What helps one of many hardly shows in the whole, nor does what costs one of
    them its picture.
    """

    whole: Gain
    own: Gain
    gains: bool

    @property
    def fails(self) -> bool:
        """Whether so little is left that it need not be waited for."""
        return any(gain.latest < FAILED * gain.before for gain in (self.whole, self.own))

    @property
    def helped(self) -> bool:
        """Whether the trial brought what it was for."""
        if not self.gains:
            return self.whole.reaches(NO_WORSE) and self.own.reaches(OWN_NO_WORSE)
        rescued = self.own.after > self.own.before and self.own.reaches(RESCUED)
        return self.whole.reaches(BETTER) or (rescued and self.whole.reaches(NO_WORSE))


@dataclass(frozen=True, slots=True)
class Wait:
    """A kind of trial that failed: not again before `until`; `wait_s` is how long that was."""

    kind: Kind
    until: float
    wait_s: float


def waits(all_waits: tuple[Wait, ...], kind: Kind, now: float) -> bool:
    """Whether it is too early for another trial of `kind`."""
    return any(wait.kind is kind and now < wait.until for wait in all_waits)


def longer(all_waits: tuple[Wait, ...], kind: Kind, now: float, first_s: float = FIRST_WAIT_S) -> tuple[Wait, ...]:
    """A trial failed: the next waits twice as long as this one did, `first_s` where it is the first."""
    known = next((2 * wait.wait_s for wait in all_waits if wait.kind is kind), first_s)
    wait_s = min(MAX_WAIT_S, max(first_s, known))
    return (*_without(all_waits, kind), Wait(kind, now + wait_s, wait_s))


def longer_after_all(
    all_waits: tuple[Wait, ...], kind: Kind, now: float, first_s: float = FIRST_WAIT_S
) -> tuple[Wait, ...]:
    """A trial that was taken for one that worked (`shorter`) failed late: as if it had failed at once."""
    failed = longer(all_waits, kind, now, first_s)
    return longer(failed, kind, now, first_s) if any(wait.kind is kind for wait in all_waits) else failed


def shorter(all_waits: tuple[Wait, ...], kind: Kind, now: float) -> tuple[Wait, ...]:
    """A trial worked: half the wait after the next that does not, rather than the first wait again."""
    known = [Wait(kind, now, wait.wait_s / 2) for wait in all_waits if wait.kind is kind]
    return (*_without(all_waits, kind), *known)


def _gain(trial: Trial, weights: Mapping[str, float]) -> Gain:
    before = fmean(evidence.worth_of(weights) for evidence in trial.before)
    after = [evidence.worth_of(weights) for evidence in trial.after[-SEEN_S:]]
    return Gain(before, fmean(after), max(after[-2:]))


def _without(all_waits: tuple[Wait, ...], kind: Kind) -> tuple[Wait, ...]:
    return tuple(wait for wait in all_waits if wait.kind is not kind)

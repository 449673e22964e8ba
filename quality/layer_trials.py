"""What a layer controller asks for as a trial, and how long a kind of trial waits after one that failed."""

from dataclasses import dataclass
from enum import StrEnum

from quality.stats import VideoQuality

FIRST_WAIT_S = 30.0
MAX_WAIT_S = 480.0


class Kind(StrEnum):
    """Why something is asked for."""

    LIMIT = "limit"
    RELIEVE = "relieve"
    SHARE = "share"
    PROBE = "probe"
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
    """Something asked for whose effect is awaited: the ceilings before it, and what was seen before and after.

    `wanted` is what a probe asks for once all was lowered.
    """

    kind: Kind
    began: float
    held: tuple[tuple[str, VideoQuality], ...]
    worth: float
    after: tuple[float, ...] = ()
    wanted: tuple[tuple[str, VideoQuality], ...] = ()

    @property
    def raised(self) -> bool:
        """Whether more was asked for."""
        return self.kind in {Kind.PROBE, Kind.RAISE}


@dataclass(frozen=True, slots=True)
class Wait:
    """A kind of trial that failed: not again before `until`; `wait_s` is how long that was."""

    kind: Kind
    until: float
    wait_s: float


def waits(all_waits: tuple[Wait, ...], kind: Kind, now: float) -> bool:
    """Whether it is too early for another trial of `kind`."""
    return any(wait.kind is kind and now < wait.until for wait in all_waits)


def longer(all_waits: tuple[Wait, ...], kind: Kind, now: float) -> tuple[Wait, ...]:
    """A trial failed: the next waits twice as long as this one did."""
    known = next((2 * wait.wait_s for wait in all_waits if wait.kind is kind), FIRST_WAIT_S)
    wait_s = min(MAX_WAIT_S, max(FIRST_WAIT_S, known))
    return (*_without(all_waits, kind), Wait(kind, now + wait_s, wait_s))


def shorter(all_waits: tuple[Wait, ...], kind: Kind, now: float) -> tuple[Wait, ...]:
    """A trial worked: half the wait after the next that does not, rather than the first wait again."""
    known = [Wait(kind, now, wait.wait_s / 2) for wait in all_waits if wait.kind is kind]
    return (*_without(all_waits, kind), *known)


def _without(all_waits: tuple[Wait, ...], kind: Kind) -> tuple[Wait, ...]:
    return tuple(wait for wait in all_waits if wait.kind is not kind)

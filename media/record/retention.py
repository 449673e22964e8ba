"""Which recordings are to be deleted, by age and by size (pure).

Never one that is held: being recorded, exported, not handed off yet, or damaged, which a person has to look at.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

HANDOFF_HOLD_S = 86_400.0
"""How long after its end a recording is kept for segments that nobody took.

Segments are handed off while their room is recorded, and when the same recording is gone on with. What repair added,
what a drain left or what was set aside may never be asked for again: a day leaves time to see and mend that.
"""


class Hold(StrEnum):
    """Why a recording is kept whatever the limits say."""

    RECORDED = "recorded"
    EXPORTED = "exported"
    NOT_HANDED_OFF = "not_handed_off"
    DAMAGED = "damaged"


class RetentionReason(StrEnum):
    """Which limit a recording is over; or that somebody asked."""

    AGE = "age"
    SIZE = "size"
    REQUESTED = "requested"


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How long and how much is kept; None: without a limit.

    `max_age_s` counts from the end of a recording. `max_bytes` is for the media of all recordings together, held ones
    and files with tracks together included; the ones that ended first are deleted first until the rest fits.
    """

    max_age_s: float | None = None
    max_bytes: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_age_s is not None or self.max_bytes is not None


@dataclass(frozen=True, slots=True)
class RetentionCandidate:
    """A recording. `ended_at`: Unix seconds at which its last media were written; `size_bytes`: of all its media."""

    recording_id: str
    ended_at: float
    size_bytes: int
    hold: Hold | None = None
    room: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A recording to delete, and why. `room` is empty where its files do not say."""

    recording_id: str
    reason: RetentionReason
    age_s: float
    size_bytes: int
    room: str = ""


def awaits_handoff(ended_at: float, now: float) -> bool:
    """Whether segments that were not taken still hold a recording that ended at `ended_at` (both Unix seconds)."""
    return now - ended_at <= HANDOFF_HOLD_S


def decide_deletions(
    candidates: Iterable[RetentionCandidate], limits: RetentionLimits, now: float
) -> tuple[Deletion, ...]:
    """What to delete at `now` (Unix seconds), the oldest first."""
    oldest_first = sorted(candidates, key=lambda item: (item.ended_at, item.recording_id))
    total_bytes = sum(item.size_bytes for item in oldest_first)
    deletions: list[Deletion] = []
    for item in oldest_first:
        if item.hold is not None:
            continue
        age_s = now - item.ended_at
        reason = None
        if limits.max_age_s is not None and age_s > limits.max_age_s:
            reason = RetentionReason.AGE
        elif limits.max_bytes is not None and total_bytes > limits.max_bytes:
            reason = RetentionReason.SIZE
        if reason is not None:
            total_bytes -= item.size_bytes
            deletions.append(Deletion(item.recording_id, reason, age_s, item.size_bytes, item.room))
    return tuple(deletions)

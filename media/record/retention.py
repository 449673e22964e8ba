"""Which recordings are to be deleted, by age and by size (pure).

Never one that is held: being recorded, exported, not handed off yet, or damaged, which a person has to look at.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Hold(StrEnum):
    """Why a recording is kept whatever the limits say."""

    RECORDED = "recorded"
    EXPORTED = "exported"
    NOT_HANDED_OFF = "not_handed_off"
    DAMAGED = "damaged"


class RetentionReason(StrEnum):
    """Which limit a recording is over."""

    AGE = "age"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How long and how much is kept; None: without a limit.

    `max_age_s` counts from the end of a recording. `max_bytes` is for the media of all recordings together, held ones
    included; the ones that ended first are deleted first until the rest fits.
    """

    max_age_s: float | None = None
    max_bytes: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_age_s is not None or self.max_bytes is not None


@dataclass(frozen=True, slots=True)
class RetentionCandidate:
    """A recording. `ended_at`: Unix seconds at which its last media were written."""

    recording_id: str
    ended_at: float
    size_bytes: int
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """A recording to delete, and why."""

    recording_id: str
    reason: RetentionReason
    age_s: float
    size_bytes: int


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
            deletions.append(Deletion(item.recording_id, reason, age_s, item.size_bytes))
    return tuple(deletions)

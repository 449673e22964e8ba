"""Which recordings are deleted: by what must always hold, and by example."""

from hypothesis import given
from hypothesis import strategies as st

from media.record.retention import (
    Deletion,
    Hold,
    RetentionCandidate,
    RetentionLimits,
    RetentionReason,
    decide_deletions,
)

NOW = 1_000_000.0

CANDIDATES = st.lists(
    st.builds(
        RetentionCandidate,
        recording_id=st.uuids().map(str),
        ended_at=st.floats(0, NOW),
        size_bytes=st.integers(0, 1000),
        hold=st.none() | st.sampled_from(Hold),
    ),
    max_size=12,
    unique_by=lambda item: item.recording_id,
)
LIMITS = st.builds(
    RetentionLimits,
    max_age_s=st.none() | st.floats(0, NOW),
    max_bytes=st.none() | st.integers(0, 8000),
)


@given(CANDIDATES, LIMITS)
def test_limits_hold_afterwards_as_far_as_what_is_held_lets_them(
    candidates: list[RetentionCandidate], limits: RetentionLimits
) -> None:
    deletions = decide_deletions(candidates, limits, NOW)
    gone = {item.recording_id for item in deletions}
    left = [item for item in candidates if item.recording_id not in gone]
    free = [item for item in left if item.hold is None]
    assert all(item.hold is None for item in candidates if item.recording_id in gone)
    if limits.max_age_s is not None:
        assert all(NOW - item.ended_at <= limits.max_age_s for item in free)
    if limits.max_bytes is not None:
        assert not free or sum(item.size_bytes for item in left) <= limits.max_bytes


@given(CANDIDATES, LIMITS)
def test_no_more_than_needed_is_deleted_and_the_oldest_first(
    candidates: list[RetentionCandidate], limits: RetentionLimits
) -> None:
    deletions = decide_deletions(candidates, limits, NOW)
    ends = {item.recording_id: item.ended_at for item in candidates}
    assert [ends[item.recording_id] for item in deletions] == sorted(ends[item.recording_id] for item in deletions)
    left_bytes = sum(item.size_bytes for item in candidates) - sum(item.size_bytes for item in deletions)
    for deletion in reversed(deletions):
        if deletion.reason is RetentionReason.SIZE:
            assert limits.max_bytes is not None
            assert left_bytes + deletion.size_bytes > limits.max_bytes
            break
        assert limits.max_age_s is not None
        assert deletion.age_s > limits.max_age_s
        left_bytes += deletion.size_bytes


@given(CANDIDATES)
def test_without_limits_everything_is_kept(candidates: list[RetentionCandidate]) -> None:
    assert decide_deletions(candidates, RetentionLimits(), NOW) == ()


def test_what_age_deletes_makes_room_before_size_does() -> None:
    old = RetentionCandidate("old", NOW - 500, 60)
    recorded = RetentionCandidate("recorded", NOW - 400, 30, Hold.RECORDED)
    middle, new = RetentionCandidate("middle", NOW - 300, 30), RetentionCandidate("new", NOW - 100, 30)
    everything = [new, middle, recorded, old]
    by_age = RetentionLimits(max_age_s=450, max_bytes=100)
    assert decide_deletions(everything, by_age, NOW) == (Deletion("old", RetentionReason.AGE, 500, 60),)
    by_size = RetentionLimits(max_bytes=80)
    assert [item.recording_id for item in decide_deletions(everything, by_size, NOW)] == ["old", "middle"]

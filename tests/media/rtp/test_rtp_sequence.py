"""Unwrapping of sequence numbers and timestamps."""

from hypothesis import given, settings
from hypothesis import strategies as st

from media.rtp.sequence import SEQUENCE_JUMP, SequenceUnwrapper, TimestampUnwrapper


@settings(max_examples=50)
@given(st.integers(0, 0xFFFF), st.lists(st.integers(-500, 900), min_size=1, max_size=300))
def test_any_walk_of_reordered_numbers_is_followed(first: int, steps: list[int]) -> None:
    unwrapper = SequenceUnwrapper()
    origin = unwrapper.unwrap(first)
    assert origin & 0xFFFF == first
    assert origin >= 0x10000
    highest = origin
    for step in steps:
        wanted = highest + step
        assert unwrapper.unwrap(wanted & 0xFFFF) == wanted
        highest = max(highest, wanted)
        assert unwrapper.highest == highest


def test_a_jump_is_more_than_3000_either_way() -> None:
    unwrapper = SequenceUnwrapper()
    assert not unwrapper.is_jump(5)
    unwrapper.unwrap(100)
    assert not unwrapper.is_jump(100 + SEQUENCE_JUMP)
    assert unwrapper.is_jump(101 + SEQUENCE_JUMP)
    assert not unwrapper.is_jump((100 - SEQUENCE_JUMP) & 0xFFFF)
    assert unwrapper.is_jump((99 - SEQUENCE_JUMP) & 0xFFFF)


def test_a_restart_goes_on_above_all_that_was() -> None:
    unwrapper = SequenceUnwrapper()
    before = unwrapper.unwrap(20_000)
    after = unwrapper.restart(10_000)
    assert after > before
    assert after & 0xFFFF == 10_000
    assert unwrapper.unwrap(10_001) == after + 1


@settings(max_examples=50)
@given(st.integers(0, 0xFFFF_FFFF), st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=50))
def test_timestamps_are_followed_over_half_a_cycle(first: int, steps: list[int]) -> None:
    unwrapper = TimestampUnwrapper()
    wanted = unwrapper.unwrap(first)
    assert wanted == first
    for step in steps:
        wanted += step
        assert unwrapper.locate(wanted & 0xFFFF_FFFF) == wanted
        assert unwrapper.unwrap(wanted & 0xFFFF_FFFF) == wanted

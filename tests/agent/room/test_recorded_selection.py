"""Which tracks a recording takes: what is gone first, then what the policy says, then what keeps a place in vain."""

from hypothesis import given
from hypothesis import strategies as st

from agent.request import EVERYTHING, NOTHING
from agent.room.recorded_selection import Ended, SelectionStep, select
from agent.room.state import ParticipantState, TrackState
from agent.room.subscription import Candidate, SubscribeAction, SubscriptionPolicy, SubscriptionRule
from media.record.entries import GapReason
from quality.stats import TrackKind, TrackSource

ONE = SubscriptionPolicy(max_tracks=1)


def published(sid: str, *, taken: bool = False) -> Candidate:
    track = TrackState(sid, "", TrackKind.AUDIO, TrackSource.MICROPHONE, "ada", "audio/opus", False, False, 0, 0)
    return Candidate(ParticipantState("ada", "PA_1", "", "", {}), track, taken)


def told(steps: tuple[SelectionStep, ...]) -> list[tuple[str, str]]:
    return [(step.sid, step.reason if isinstance(step, Ended) else "begin") for step in steps]


def test_what_is_gone_ends_before_what_is_published_in_its_place_begins() -> None:
    steps = select(EVERYTHING, [published("TR_2")], {"TR_2"}, {"TR_1"})
    assert told(steps) == [("TR_1", GapReason.UNPUBLISHED), ("TR_2", "begin")]


def test_what_the_policy_leaves_out_ends_only_where_it_is_recorded() -> None:
    steps = select(NOTHING, [published("TR_1", taken=True), published("TR_2")], {"TR_1", "TR_2"}, {"TR_1"})
    assert told(steps) == [("TR_1", GapReason.UNSUBSCRIBED)]


def test_what_cannot_be_had_takes_no_place_and_is_kept_while_the_policy_wants_it() -> None:
    candidates = [published("TR_1", taken=True), published("TR_2")]
    assert told(select(ONE, candidates, {"TR_2"}, {"TR_1"})) == [("TR_2", "begin")]
    only_second = SubscriptionPolicy((SubscriptionRule(sid="TR_2"),), default=SubscribeAction.IGNORE)
    assert told(select(only_second, candidates, {"TR_2"}, {"TR_1"})) == [
        ("TR_2", "begin"),
        ("TR_1", GapReason.UNSUBSCRIBED),
    ]


SIDS = st.sets(st.sampled_from(["TR_1", "TR_2", "TR_3", "TR_4"]))


@given(SIDS, SIDS, SIDS, st.integers(0, 4))
def test_nobody_is_both_begun_and_ended_and_the_limit_holds(
    present: set[str], taken: set[str], recordable: set[str], limit: int
) -> None:
    candidates = [published(sid, taken=sid in taken) for sid in sorted(present)]
    steps = select(SubscriptionPolicy(max_tracks=limit), candidates, recordable, taken)
    begun = [step.sid for step in steps if not isinstance(step, Ended)]
    ended = [step.sid for step in steps if isinstance(step, Ended)]
    assert len(begun) == min(limit, len(present & recordable))
    assert len({*begun, *ended}) == len(steps)
    assert set(ended) <= taken
    assert taken - present <= set(ended)

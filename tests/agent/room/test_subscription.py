"""Subscription rules: first match wins, limits, people's choices."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.room.state import ParticipantState, TrackState
from agent.room.subscription import (
    Candidate,
    SubscribeAction,
    SubscriptionPolicy,
    SubscriptionRule,
    TrackKey,
    decide,
)
from quality.stats import TrackKind, TrackSource, VideoQuality

IGNORE = SubscribeAction.IGNORE


def candidate(
    sid: str = "TR_1",
    *,
    identity: str = "alice",
    kind: TrackKind = TrackKind.VIDEO,
    source: TrackSource = TrackSource.CAMERA,
    name: str = "camera",
    metadata: str = "",
    attributes: dict[str, str] | None = None,
    subscribed: bool = False,
) -> Candidate:
    track = TrackState(sid, name, kind, source, identity, "video/vp8", False, True, 1280, 720)
    return Candidate(ParticipantState(identity, "PA_1", "", metadata, attributes or {}), track, subscribed)


def wanted(policy: SubscriptionPolicy, *candidates: Candidate) -> list[str]:
    return [choice.sid for choice in decide(policy, candidates) if choice.subscribe]


def test_each_field_of_a_rule_is_matched() -> None:
    rule = SubscriptionRule(
        participant="ali?e",
        kind=TrackKind.VIDEO,
        source=TrackSource.CAMERA,
        name="cam*",
        metadata="*host*",
        attributes=(("role", "guest-*"), ("team", "")),
    )
    policy = SubscriptionPolicy((rule,), default=IGNORE)
    good = candidate(metadata="the host", attributes={"role": "guest-1"})
    assert wanted(policy, good) == ["TR_1"]
    others = [
        replace(good, participant=replace(good.participant, identity="bob")),
        replace(good, track=replace(good.track, kind=TrackKind.AUDIO)),
        replace(good, track=replace(good.track, source=TrackSource.SCREEN_SHARE)),
        replace(good, track=replace(good.track, name="screen")),
        replace(good, participant=replace(good.participant, metadata="a guest")),
        replace(good, participant=replace(good.participant, attributes={"role": "host"})),
        replace(good, participant=replace(good.participant, attributes={"role": "guest-1", "team": "red"})),
    ]
    for other in others:
        assert wanted(policy, other) == []


def test_globs_are_case_sensitive_and_match_the_whole() -> None:
    policy = SubscriptionPolicy((SubscriptionRule(participant="Alice"),), default=IGNORE)
    assert wanted(policy, candidate(identity="alice")) == []
    assert wanted(policy, candidate(identity="Alice2")) == []
    assert wanted(policy, candidate(identity="Alice")) == ["TR_1"]


def test_the_first_match_wins_and_brings_its_quality() -> None:
    policy = SubscriptionPolicy(
        (
            SubscriptionRule(IGNORE, participant="bot-*"),
            SubscriptionRule(source=TrackSource.SCREEN_SHARE),
            SubscriptionRule(kind=TrackKind.VIDEO, quality=VideoQuality.LOW),
        )
    )
    choices = decide(
        policy,
        (
            candidate("A", identity="bot-1", source=TrackSource.SCREEN_SHARE),
            candidate("B", source=TrackSource.SCREEN_SHARE),
            candidate("C"),
            candidate("D", kind=TrackKind.AUDIO, source=TrackSource.MICROPHONE),
        ),
    )
    assert [(choice.sid, choice.subscribe, choice.quality, choice.reason) for choice in choices] == [
        ("A", False, VideoQuality.HIGH, "rule 1"),
        ("B", True, VideoQuality.HIGH, "rule 2"),
        ("C", True, VideoQuality.LOW, "rule 3"),
        ("D", True, VideoQuality.HIGH, "no rule matches"),
    ]


def test_the_frame_rate_is_that_of_the_rule_that_matches() -> None:
    policy = SubscriptionPolicy((SubscriptionRule(name="camera", max_fps=10), SubscriptionRule()))
    choices = decide(policy, [candidate("TR_1"), candidate("TR_2", name="other")])
    assert [choice.max_fps for choice in choices] == [10, None]


def test_limits_favor_earlier_rules_then_what_is_subscribed_then_order() -> None:
    policy = SubscriptionPolicy((SubscriptionRule(source=TrackSource.SCREEN_SHARE), SubscriptionRule()), max_tracks=2)
    first, second, third = candidate("A"), candidate("B"), candidate("C", subscribed=True)
    assert wanted(policy, first, second, third) == ["A", "C"]
    screen = candidate("S", source=TrackSource.SCREEN_SHARE)
    assert wanted(policy, first, second, third, screen) == ["C", "S"]


def test_a_rule_has_its_own_limit_and_others_go_on() -> None:
    policy = SubscriptionPolicy((SubscriptionRule(kind=TrackKind.VIDEO, max_tracks=1),))
    sound = candidate("X", kind=TrackKind.AUDIO)
    assert wanted(policy, candidate("A"), candidate("B"), sound) == ["A", "X"]
    assert decide(policy, (candidate("A"), candidate("B")))[1].reason == "rule 1 has 1 tracks"


def test_people_come_first_and_follow_the_track_through_a_new_sid() -> None:
    policy = SubscriptionPolicy(max_tracks=1)
    chosen = candidate("B", name="second")
    overrides = {TrackKey.of(chosen.track): SubscribeAction.SUBSCRIBE}
    again = replace(chosen, track=replace(chosen.track, sid="B2"))
    choices = decide(policy, (candidate("A", subscribed=True), again), overrides)
    assert [(choice.sid, choice.subscribe) for choice in choices] == [("A", False), ("B2", True)]
    assert choices[1].reason == "chosen by hand"
    refused = decide(policy, (again,), {TrackKey.of(again.track): IGNORE})
    assert not refused[0].subscribe


@given(
    data=st.data(),
    max_tracks=st.none() | st.integers(0, 6),
    rule_limit=st.none() | st.integers(0, 4),
    count=st.integers(0, 12),
)
@settings(max_examples=60)
def test_limits_hold_and_the_choice_is_stable(
    data: st.DataObject, max_tracks: int | None, rule_limit: int | None, count: int
) -> None:
    tracks = [
        candidate(
            f"T{number}",
            identity=f"p{number}",
            kind=data.draw(st.sampled_from(TrackKind)),
            subscribed=data.draw(st.booleans()),
        )
        for number in range(count)
    ]
    policy = SubscriptionPolicy((SubscriptionRule(kind=TrackKind.VIDEO, max_tracks=rule_limit),), max_tracks=max_tracks)
    choices = decide(policy, tracks)
    assert [choice.sid for choice in choices] == [each.track.sid for each in tracks]
    chosen = [choice.sid for choice in choices if choice.subscribe]
    assert max_tracks is None or len(chosen) <= max_tracks
    videos = [each for each in tracks if each.track.sid in chosen and each.track.kind is TrackKind.VIDEO]
    assert rule_limit is None or len(videos) <= rule_limit
    # What was chosen stays chosen when asked again: no subscription flaps.
    settled = [replace(each, subscribed=each.track.sid in chosen) for each in tracks]
    assert wanted(policy, *settled) == chosen

"""The layer controller on windows made by hand: what it expects of each action, whether it checks, and its bounds."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.allocation import Limits, Subscription, decode_cores
from quality.asking import SETTLE_S
from quality.controller import TROUBLE_S, adopt, step
from quality.controller_state import ControllerState
from quality.layer_steps import measured
from quality.layer_trials import FIRST_WAIT_S, Action, Kind
from quality.raising import UNANSWERED_S, UNPROVEN_S
from quality.stats import Direction, TrackKind, VideoQuality
from quality.window import Window
from tests.quality.controller_room import (
    EPOCH,
    FULL_S,
    HIGH,
    IDLE_S,
    LAYERS,
    LOW,
    MEDIUM,
    ROOM,
    Asked,
    Room,
    window,
)


def test_what_is_clean_and_complete_is_left_alone() -> None:
    assert Room().pass_seconds(600) == []


def test_no_video_goes_off_for_want_of_cpu_so_that_another_has_more() -> None:
    speaker = (replace(ROOM[0], active_speaker=True), ROOM[1])
    lowest = sum(decode_cores(item.layers[0], Limits()) for item in speaker)
    for cores in (1.0, 1.5, 2.0, 4.0):
        windows = tuple(window(item.track_sid, HIGH) for item in speaker)
        state, _ = step(ControllerState(), speaker, windows, EPOCH, Limits(cpu_cores=cores * lowest + 1e-3))
        assert None not in state.asked.values(), cores


def test_the_server_is_given_time_to_act_on_congestion() -> None:
    room = Room(1_000_000.0)
    assert room.pass_seconds(TROUBLE_S - 1) == []
    room.link_bps = math.inf
    assert room.pass_seconds(60) == []


def test_what_stays_in_trouble_is_lowered_to_what_comes_through_and_the_speaker_comes_first() -> None:
    room = Room(1_000_000.0)
    lowered = room.pass_seconds(TROUBLE_S)
    assert {action.kind for action in lowered} == {Kind.RELIEVE}
    assert "no complete frame" in lowered[0].reason
    assert lowered[0].expects == "more to be seen"
    assert room.asked == {"TR_a": MEDIUM, "TR_b": LOW}
    assert room.pass_seconds(10) == []


def test_what_was_lowered_comes_back_when_the_link_does() -> None:
    room = Room(700_000.0)
    room.pass_seconds(TROUBLE_S)
    assert HIGH not in room.asked.values()
    room.link_bps = math.inf
    room.pass_seconds(120)
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}
    assert room.times(Kind.UNDO) == []


def test_a_raise_that_fails_is_undone_and_the_next_waits_longer() -> None:
    room = Room(700_000.0)
    room.pass_seconds(600)
    undone = room.times(Kind.UNDO)
    assert len(undone) >= 3
    raised = room.times(Kind.RAISE)
    assert all(min(at - before for before in raised if before < at) <= SETTLE_S for at in undone)
    waits = [later - at for at, later in pairwise(undone)]
    assert waits[0] >= FIRST_WAIT_S
    assert all(later > 1.5 * wait for wait, later in pairwise(waits))


def test_what_the_server_withholds_on_an_idle_way_is_tried_after_a_while() -> None:
    room = Room(given={"TR_a": MEDIUM, "TR_b": MEDIUM})
    assert room.pass_seconds(UNANSWERED_S - 1) == []
    lowered = room.pass_seconds(1)
    assert {(action.kind, action.to_quality) for action in lowered} == {(Kind.PROBE, LOW)}
    assert "on an idle way" in lowered[0].reason
    room.given = {}
    room.pass_seconds(1)
    assert MEDIUM in room.asked.values()
    room.pass_seconds(60)
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}
    assert room.times(Kind.UNDO) == []


def test_after_a_probe_that_brings_nothing_the_next_waits_longer() -> None:
    room = Room(given={"TR_a": MEDIUM, "TR_b": LOW})
    room.pass_seconds(600)
    probes = [at for at in room.times(Kind.PROBE) if at - 1 not in room.times(Kind.PROBE)]
    waits = [later - at for at, later in pairwise(probes)]
    assert len(probes) >= 4
    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]


def test_frames_that_are_withheld_count_where_the_estimate_says_that_the_way_is_full() -> None:
    for available_bps, probed in ((700_000.0, True), (4_000_000.0, False)):
        state, found = ControllerState(), []
        for second in range(3 * UNANSWERED_S):
            windows = (
                window("TR_a", HIGH, fps=7.5 if second > 10 else None, available_bps=available_bps),
                window("TR_b", LOW, available_bps=available_bps),
            )
            state, actions = step(state, (ROOM[0], replace(ROOM[1], max_quality=LOW)), windows, EPOCH + second)
            found += [action for action in actions if action.kind is Kind.PROBE]
        assert bool(found) is probed


def test_bits_go_to_what_matters_more_where_the_server_shares_them_otherwise() -> None:
    room = Room(given={"TR_a": MEDIUM})
    lowered = room.pass_seconds(4)
    assert [(action.track_sid, action.kind, action.to_quality) for action in lowered] == [("TR_b", Kind.SHARE, MEDIUM)]
    assert "otherwise shared" in lowered[0].reason
    room.given = {}
    room.pass_seconds(7)
    assert room.times(Kind.UNDO) == []


def test_sharing_that_brings_nothing_is_undone() -> None:
    room = Room(given={"TR_a": MEDIUM})
    room.pass_seconds(11)
    assert [action.kind for _, action in room.actions] == [Kind.SHARE, Kind.UNDO]
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}


def withheld(*, muted: int = 0) -> tuple[ControllerState, tuple[Subscription, ...], list[Action]]:
    """A room in which the server withholds, up to the second in which all was lowered for a probe."""
    room = ROOM + tuple(Subscription(f"TR_muted{at}", LAYERS) for at in range(muted))
    state, second = ControllerState(), 0
    while True:
        second += 1
        state, actions = step(state, room, narrow(state), EPOCH + second)
        if any(action.kind is Kind.PROBE for action in actions):
            return state, room, list(actions)
        assert second < 60, "no probe"


def narrow(state: ControllerState) -> tuple[Window, ...]:
    """The server gives TR_a one layer less than was asked for, and TR_b its lowest."""
    asked = state.asked or {"TR_a": HIGH, "TR_b": HIGH}
    return tuple(
        window(sid, quality, distance=max(0, quality - best), available_bps=700_000.0)
        for sid, best in (("TR_a", MEDIUM), ("TR_b", LOW))
        if (quality := asked[sid]) is not None
    )


@pytest.mark.parametrize("what", ["somebody else speaks", "a camera is muted", "no statistics"])
def test_a_probe_does_not_end_half_way(what: str) -> None:
    state, room, lowered = withheld()
    assert all(action.to_quality != HIGH for action in lowered)
    now, windows = state.switches[-1][1] + 1, narrow(state)
    if what == "somebody else speaks":
        room = (replace(room[0], active_speaker=False), replace(room[1], active_speaker=True))
    elif what == "a camera is muted":
        windows = (replace(windows[0], muted=True), windows[1])
    else:
        windows = ()
    state, actions = step(state, room, windows, now)
    assert {action.kind for action in actions} == {Kind.PROBE}
    assert state.probing is None
    assert all(state.asked[action.track_sid] == action.to_quality for action in actions)


def test_a_probe_that_a_limit_ends_is_undone_and_the_next_waits() -> None:
    state, room, _ = withheld()
    now = state.switches[-1][1] + 1
    state, _ = step(state, room, narrow(state), now, Limits(cpu_cores=5.0))
    assert (state.probing, state.held) == (None, ())
    assert [wait.kind for wait in state.waits] == [Kind.PROBE]


def test_what_is_muted_takes_no_share_of_what_comes() -> None:
    asked = []
    for muted in (0, 8):
        state, room, _ = withheld(muted=muted)
        state, _ = step(state, room, narrow(state), state.switches[-1][1] + 1)
        asked.append({sid: state.asked[sid] for sid in ("TR_a", "TR_b")})
    assert asked[0] == asked[1]


def test_relief_of_one_of_many_is_kept_and_a_raise_that_blackens_one_of_many_is_undone() -> None:
    room = tuple(Subscription(f"TR_{at}", LAYERS) for at in range(30))
    state, found = ControllerState(), list[tuple[int, Action]]()
    for second in range(120):
        windows = tuple(
            window(
                item.track_sid,
                state.asked.get(item.track_sid) or HIGH,
                fps=0.0 if item is room[0] and state.asked.get(item.track_sid, HIGH) == HIGH else None,
            )
            for item in room
        )
        state, actions = step(state, room, windows, EPOCH + second)
        found += [(second, action) for action in actions]
    first = found[0][1]
    assert (first.track_sid, first.kind, first.to_quality) == ("TR_0", Kind.RELIEVE, MEDIUM)
    undone = [(at, action.to_quality) for at, action in found if action.kind is Kind.UNDO]
    assert {quality for _, quality in undone} == {MEDIUM}, "HIGH is tried again, and taken back"
    raised = [at for at, action in found if action.kind is Kind.RAISE]
    assert all(any(0 < back - at <= 4 for back, _ in undone) for at in raised)


def test_what_somebody_else_lowered_is_taken_over_and_comes_back() -> None:
    room = Room()
    room.pass_seconds(5)
    room.state = adopt(room.state, {"TR_a": LOW, "TR_b": HIGH, "TR_gone": LOW})
    room.asked["TR_a"] = LOW
    assert room.state.asked == {"TR_a": LOW, "TR_b": HIGH}
    room.pass_seconds(120)
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(max_quality=MEDIUM), {"TR_a": MEDIUM, "TR_b": MEDIUM}),
        (Limits(bandwidth_bps=2e6), {"TR_a": HIGH, "TR_b": LOW}),
        (Limits(cpu_cores=0.3), {"TR_a": HIGH, "TR_b": MEDIUM}),
        (Limits(cpu_cores=0.01), {"TR_a": LOW, "TR_b": None}),
        (Limits(max_height=200), {"TR_a": LOW, "TR_b": LOW}),
    ],
)
def test_limits_work_at_once_and_stay(limits: Limits, expected: Asked) -> None:
    room = Room()
    room.pass_seconds(5)
    assert room.pass_seconds(1, limits)
    assert room.asked == expected
    assert room.pass_seconds(300, limits) == []


def test_less_cpu_lowers_layers_and_more_brings_them_back_by_steps() -> None:
    room = Room()
    room.pass_seconds(5, Limits(cpu_cores=1.0))
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}
    lowered = room.pass_seconds(1, Limits(cpu_cores=0.3))
    assert [action.reason for action in lowered] == ["who is seen, or a limit, changed"]
    assert room.asked == {"TR_a": HIGH, "TR_b": MEDIUM}
    assert room.pass_seconds(60, Limits(cpu_cores=0.3)) == []
    room.pass_seconds(10, Limits(cpu_cores=1.0))
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}


def test_what_is_muted_takes_no_cpu_and_keeps_its_layer_and_who_unmutes_is_counted_at_once() -> None:
    limits = Limits(cpu_cores=0.3)
    muted = tuple(Subscription(f"TR_muted{at}", LAYERS) for at in range(8))
    silent = tuple(replace(window(item.track_sid, HIGH), muted=True) for item in muted)
    sending = tuple(window(item.track_sid, HIGH) for item in ROOM)
    state, _ = step(ControllerState(), ROOM + muted, sending + silent, EPOCH)
    state, actions = step(state, ROOM + muted, sending + silent, EPOCH + 1, limits)
    assert {action.track_sid: action.to_quality for action in actions} == {"TR_b": MEDIUM}, "as without the muted"
    state, actions = step(state, ROOM + muted, (), EPOCH + 2, limits)
    assert actions == (), "a second without statistics unmutes nobody"
    heard = (*sending, window("TR_muted0", HIGH), *silent[1:])
    state, actions = step(state, ROOM + muted, heard, EPOCH + 3, limits)
    lowered = {action.track_sid: action.to_quality for action in actions}
    assert "TR_muted0" in lowered
    assert not lowered.keys() & {item.track_sid for item in muted[1:]}
    state, actions = step(state, ROOM + muted, sending + silent, EPOCH + 4, limits)
    assert {sid: state.asked[sid] for sid in ("TR_a", "TR_b")} == {"TR_a": HIGH, "TR_b": MEDIUM}, "muted again"
    assert state.asked["TR_muted0"] == lowered["TR_muted0"], "kept"
    assert step(state, ROOM + muted, sending + silent, EPOCH + 5)[0].asked["TR_muted0"] is HIGH, "no limit any more"


def test_what_the_limits_leave_nothing_of_comes_back_though_nothing_of_it_comes() -> None:
    windows = (window("TR_a", HIGH), window("TR_b", HIGH))
    state, _ = step(ControllerState(), ROOM, windows, EPOCH, Limits(cpu_cores=0.01))
    assert dict(state.asked) == {"TR_a": LOW, "TR_b": None}
    off = (window("TR_a", LOW), replace(window("TR_b", LOW), muted=True))
    state, _ = step(state, ROOM, off, EPOCH + 1, Limits(cpu_cores=0.01))
    state, _ = step(state, ROOM, off, EPOCH + 2, Limits(cpu_cores=0.3))
    assert dict(state.asked) == {"TR_a": HIGH, "TR_b": MEDIUM}


def test_layers_without_a_bitrate_cost_what_livekits_presets_do() -> None:
    bare = tuple(replace(item, layers=tuple(replace(one, bitrate_bps=0.0) for one in item.layers)) for item in ROOM)
    state, _ = step(ControllerState(), bare, (), EPOCH, Limits(bandwidth_bps=2.1e6))
    assert dict(state.asked) == {"TR_a": HIGH, "TR_b": LOW}


@pytest.mark.parametrize("share", [0.5, 1.0, 1.5])
def test_layers_that_were_not_seen_take_as_much_more_than_the_presets_as_those_that_were(share: float) -> None:
    bare = replace(ROOM[0], layers=tuple(replace(one, bitrate_bps=0.0) for one in LAYERS))
    (preset,) = measured((bare,), {})
    low, medium, high = (layer.bitrate_bps for layer in preset.layers)
    assert low > 0
    (known,) = measured((bare,), {("TR_a", MEDIUM): share * medium})
    assert [layer.bitrate_bps for layer in known.layers] == pytest.approx([share * low, share * medium, share * high])
    (both,) = measured((bare,), {("TR_a", MEDIUM): medium, ("TR_a", LOW): 2 * low})
    assert low < both.layers[0].bitrate_bps == 2 * low
    assert high < both.layers[2].bitrate_bps < 2 * high
    (announced,) = measured((replace(bare, layers=LAYERS),), {})
    assert announced.layers == LAYERS


def test_tracks_come_and_go_and_one_without_layers_is_left_alone() -> None:
    room = (ROOM[0], Subscription("TR_bare", ()))
    state, actions = step(ControllerState(), room, (window("TR_bare", HIGH),), EPOCH)
    assert (actions, dict(state.asked)) == ((), {"TR_a": HIGH})
    state, actions = step(state, ROOM, (window("TR_gone", LOW),), EPOCH + 1)
    assert (actions, dict(state.asked)) == ((), {"TR_a": HIGH, "TR_b": HIGH})
    assert dict(step(state, (), (), EPOCH + 2)[0].asked) == {}


def test_a_ceiling_is_never_passed() -> None:
    ruled = (ROOM[0], replace(ROOM[1], max_quality=MEDIUM))
    state = ControllerState()
    for second in range(30):
        state, _ = step(state, ruled, (window("TR_a", HIGH), window("TR_b", MEDIUM)), EPOCH + second)
        assert dict(state.asked) == {"TR_a": HIGH, "TR_b": MEDIUM}


def test_a_muted_or_paused_or_unmeasured_track_says_nothing() -> None:
    bad = window("TR_a", HIGH, fps=0.0, loss=0.5, round_trip_s=FULL_S)
    for quiet in (
        replace(bad, muted=True),
        replace(bad, stream_paused=True),
        replace(bad, measured=False),
        replace(bad, kind=TrackKind.AUDIO),
        replace(bad, direction=Direction.OUTBOUND),
    ):
        state = ControllerState()
        for second in range(30):
            state, actions = step(state, ROOM, (quiet,), EPOCH + second)
            assert actions == ()


any_window = st.builds(
    window,
    st.sampled_from(["TR_a", "TR_b"]),
    st.sampled_from(list(VideoQuality)),
    distance=st.integers(0, 2),
    fps=st.sampled_from([0.0, 5.0, 10.0, 20.0]),
    loss=st.sampled_from([0.0, 0.01, 0.04, 0.1, 0.6]),
    round_trip_s=st.sampled_from([IDLE_S, 0.1, FULL_S]),
    available_bps=st.sampled_from([None, 300_000.0, 1_000_000.0, 5_000_000.0]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(any_window, max_size=2, unique_by=lambda w: w.track_sid), min_size=20, max_size=120))
def test_same_input_same_decisions_and_what_is_asked_stays_within_reason(seconds: list[list[Window]]) -> None:
    first, second = ControllerState(), ControllerState()
    asked: Asked = {"TR_a": HIGH, "TR_b": HIGH}
    for at, windows in enumerate(seconds):
        first, actions = step(first, ROOM, tuple(windows), EPOCH + at)
        second, again = step(second, ROOM, tuple(windows), EPOCH + at)
        assert actions == again
        for action in actions:
            assert asked[action.track_sid] == action.from_quality != action.to_quality
            assert action.reason
            assert action.expects
            asked[action.track_sid] = action.to_quality
        assert dict(first.asked) == asked


@settings(max_examples=10, deadline=None)
@given(any_window, any_window)
def test_constant_windows_lead_to_a_constant_choice_but_for_trials_that_grow_rare(one: Window, other: Window) -> None:
    windows = (replace(one, track_sid="TR_a"), replace(other, track_sid="TR_b"))
    state, times = ControllerState(), Counter[str]()
    for second in range(600):
        state, actions = step(state, ROOM, windows, EPOCH + second)
        if second >= 300:
            times.update(action.track_sid for action in actions)
    # In the last five minutes: a trial and its end every two minutes at most.
    assert max(times.values(), default=0) <= 8


@settings(max_examples=15, deadline=None)
@given(st.floats(100_000.0, 4e6), st.floats(100_000.0, 4e6), st.integers(5, 60))
def test_on_any_link_that_changes_a_track_switches_at_most_six_times_a_minute(
    one: float, other: float, period: int
) -> None:
    room = Room(one)
    for at in range(0, 240, period):
        room.link_bps = other if at // period % 2 else one
        room.pass_seconds(period)
    for sid in ("TR_a", "TR_b"):
        times = [at for at, action in room.actions if action.track_sid == sid]
        assert max((sum(at <= later < at + 60 for later in times) for at in times), default=0) <= 6


def test_it_waits_after_each_action_for_its_effect() -> None:
    room = Room(1_000_000.0)
    room.pass_seconds(240)
    times = sorted({at for at, _ in room.actions})
    undone = room.times(Kind.UNDO)
    gaps = [later - at for at, later in pairwise(times) if later not in undone]
    assert min(gaps) >= SETTLE_S


def test_seconds_in_which_nothing_is_seen_are_no_clean_ones() -> None:
    room = Room()
    room.pass_seconds(1)
    room.state = adopt(room.state, {"TR_a": LOW})
    room.asked["TR_a"] = LOW
    for _ in range(2 * UNPROVEN_S):
        room.now += 1
        muted = tuple(replace(window(sid, LOW), muted=True, packets=0, bytes=0, frames=0) for sid in room.asked)
        room.state, actions = step(room.state, ROOM, muted, room.now)
        assert actions == ()
    assert room.pass_seconds(UNPROVEN_S - 2) == []
    assert [action.kind for action in room.pass_seconds(2)] == [Kind.RAISE]

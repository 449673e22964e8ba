"""The layer controller on windows made by hand: what it expects of each action, whether it checks, and its bounds."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.allocation import Layer, Limits, Subscription
from quality.controller import SERVER_S, SETTLE_S, Action, ControllerState, step
from quality.stats import Direction, TrackKind, TrackSource, VideoQuality
from quality.window import Window

LOW, MEDIUM, HIGH = VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH
EPOCH = 1_800_000_000.0
LAYERS = (
    Layer(LOW, 320, 180, 20.0, 160_000.0),
    Layer(MEDIUM, 640, 360, 20.0, 450_000.0),
    Layer(HIGH, 1280, 720, 30.0, 1_700_000.0),
)
ROOM = (Subscription("TR_a", LAYERS, active_speaker=True), Subscription("TR_b", LAYERS))
Asked = dict[str, VideoQuality | None]


def window(
    sid: str, bps: float, *, loss: float = 0.0, delay_s: float = 0.04, distance: int = 0, fps: float = 25.0
) -> Window:
    packets = max(1, round(bps / 8800))
    return Window(
        sid,
        TrackKind.VIDEO,
        TrackSource.CAMERA,
        Direction.INBOUND,
        measured=True,
        duration_s=1.0,
        packets=packets,
        packets_lost=round(packets * loss / (1.0 - loss)),
        bytes=round(bps / 8),
        frames=round(fps),
        fps=fps,
        jitter_buffer_delay_s=delay_s,
        layer_distance=distance,
    )


def rate(quality: VideoQuality | None) -> float:
    return 0.0 if quality is None else LAYERS[quality].bitrate_bps


class Room:
    """Feeds the controller a window a second of a link that carries `link_bps` of video."""

    def __init__(self, link_bps: float = math.inf, radio_loss: float = 0.0) -> None:
        self.state = ControllerState()
        self.now = EPOCH
        self.link_bps = link_bps
        self.radio_loss = radio_loss
        self.asked: Asked = {"TR_a": HIGH, "TR_b": HIGH}
        self.actions: list[tuple[float, Action]] = []

    def pass_seconds(self, seconds: int, limits: Limits | None = None, distance: int = 0) -> list[Action]:
        began = len(self.actions)
        for _ in range(seconds):
            self.now += 1.0
            total = sum(map(rate, self.asked.values()))
            lost = max(self.radio_loss, 1.0 - self.link_bps / total if total else 0.0)
            delay_s = 0.34 if total > self.link_bps else 0.04
            windows = tuple(
                window(sid, rate(quality) * (1.0 - lost), loss=lost, delay_s=delay_s, distance=distance)
                for sid, quality in self.asked.items()
                if quality is not None
            )
            self.state, actions = step(self.state, ROOM, windows, self.now, limits)
            for action in actions:
                assert action.from_quality == self.asked[action.track_sid] != action.to_quality
                self.asked[action.track_sid] = action.to_quality
            self.actions.extend((self.now - EPOCH, action) for action in actions)
        return [action for _, action in self.actions[began:]]


def test_what_is_clean_and_complete_is_left_alone() -> None:
    assert Room().pass_seconds(600) == []


def test_a_narrow_link_is_filled_within_its_budget_and_the_speaker_comes_first() -> None:
    room = Room(2_300_000.0)
    lowered = room.pass_seconds(5)
    assert lowered[0].reason.startswith("a queue of ")
    assert lowered[0].expects == "no queue and less loss"
    assert [action.to_quality for action in lowered[:2]] == [LOW, LOW]
    assert room.asked == {"TR_a": HIGH, "TR_b": LOW}
    room.pass_seconds(20)
    assert room.asked == {"TR_a": HIGH, "TR_b": MEDIUM}


def test_a_raise_that_fails_is_undone_at_once_and_the_next_waits_longer() -> None:
    room = Room(2_000_000.0)
    room.pass_seconds(400)
    raises = [at for at, action in room.actions if (action.to_quality or 0) > (action.from_quality or 0)]
    undone = [at for at, action in room.actions if action.reason.startswith("the raise brought")]
    assert len(undone) >= 3
    assert all(min(at - raised for raised in raises if raised < at) <= 1.0 for at in undone)
    waits = [later - at for at, later in pairwise(undone)]
    assert min(waits[1:]) > 2 * waits[0]


def test_it_comes_back_when_the_link_does() -> None:
    room = Room(500_000.0)
    room.pass_seconds(5)
    assert room.asked == {"TR_a": LOW, "TR_b": LOW}
    room.link_bps = math.inf
    room.pass_seconds(60)
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}


def test_a_link_too_narrow_for_all_shows_the_most_useful() -> None:
    room = Room(200_000.0)
    room.pass_seconds(20)
    assert room.asked == {"TR_a": LOW, "TR_b": None}


def test_loss_that_lower_layers_do_not_end_is_borne() -> None:
    room = Room(radio_loss=0.1)
    actions = room.pass_seconds(50)
    assert [(action.from_quality, action.to_quality) for action in actions] == [(HIGH, MEDIUM), (MEDIUM, HIGH)]
    assert "at the lower layers as well" in actions[-1].reason
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}


def test_a_short_burst_of_loss_changes_nothing() -> None:
    room = Room()
    for _ in range(20):
        room.radio_loss = 0.15
        room.pass_seconds(3)
        room.radio_loss = 0.0
        room.pass_seconds(17)
    assert room.actions == []


def test_what_the_server_withholds_is_left_to_its_probes() -> None:
    room = Room(500_000.0)
    room.pass_seconds(10)
    room.link_bps = math.inf
    while not (raised := room.pass_seconds(1)):
        pass
    assert {action.to_quality for action in raised} == {MEDIUM}
    assert room.pass_seconds(120, distance=1) == []


def test_where_the_server_already_gives_no_more_than_fits_no_ceiling_is_lowered() -> None:
    windows = (window("TR_a", 200_000.0, distance=1, delay_s=0.4), window("TR_b", 100_000.0, distance=2, delay_s=0.4))
    state, actions = step(ControllerState(), ROOM, windows, EPOCH)
    assert [(action.track_sid, action.to_quality) for action in actions] == [("TR_a", LOW)]
    assert dict(state.asked) == {"TR_a": LOW, "TR_b": HIGH}


def test_the_server_is_let_act_on_an_estimate_that_this_end_tells_it() -> None:
    full = tuple(
        replace(window(sid, 500_000.0, loss=0.4, delay_s=0.4), available_bandwidth_bps=900_000.0)
        for sid in ("TR_a", "TR_b")
    )
    state, when = ControllerState(), []
    for second in range(20):
        state, actions = step(state, ROOM, full, EPOCH + second)
        when += [second for _ in actions]
    assert min(when) == SERVER_S


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


def test_layers_without_a_bitrate_cost_what_livekits_presets_do() -> None:
    bare = tuple(replace(item, layers=tuple(replace(one, bitrate_bps=0.0) for one in item.layers)) for item in ROOM)
    state, _ = step(ControllerState(), bare, (), EPOCH, Limits(bandwidth_bps=2.1e6))
    assert dict(state.asked) == {"TR_a": HIGH, "TR_b": LOW}


def test_tracks_come_and_go_and_one_without_layers_is_left_alone() -> None:
    room = (ROOM[0], Subscription("TR_bare", ()))
    state, actions = step(ControllerState(), room, (window("TR_bare", 1e6),), EPOCH)
    assert (actions, dict(state.asked)) == ((), {"TR_a": HIGH})
    state, actions = step(state, ROOM, (window("TR_gone", 1e5),), EPOCH + 1)
    assert (actions, dict(state.asked)) == ((), {"TR_a": HIGH, "TR_b": HIGH})
    assert dict(step(state, (), (), EPOCH + 2)[0].asked) == {}


def test_a_pinned_ceiling_is_never_passed() -> None:
    pinned = (ROOM[0], replace(ROOM[1], max_quality=MEDIUM))
    state = ControllerState()
    for second in range(30):
        state, _ = step(state, pinned, (window("TR_a", 1.7e6), window("TR_b", 450e3)), EPOCH + second)
        assert dict(state.asked) == {"TR_a": HIGH, "TR_b": MEDIUM}


def test_a_muted_or_paused_or_unmeasured_track_says_nothing() -> None:
    bad = window("TR_a", 100_000.0, loss=0.5, delay_s=0.5)
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
    st.floats(0.0, 3e6),
    loss=st.sampled_from([0.0, 0.01, 0.04, 0.1, 0.6]),
    delay_s=st.sampled_from([0.04, 0.06, 0.1, 0.2, 0.4]),
    distance=st.integers(0, 2),
    fps=st.sampled_from([0.0, 10.0, 30.0]),
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
    undone = {at for at, action in room.actions if action.reason.startswith("the raise brought")}
    gaps = [later - at for at, later in pairwise(times) if later not in undone]
    assert min(gaps) >= SETTLE_S

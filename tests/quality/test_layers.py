"""The layer controller on traces whose right answer is known, and its bounds on any trace."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality import layers
from quality.layers import LayerDecision, LayerState
from quality.stats import Direction, TrackKind, TrackSource, VideoQuality
from quality.window import Window
from tests.quality.traces import EPOCH, Link, camera_window

LOW, MEDIUM, HIGH = VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH
CLEAN = camera_window()
LOSSY = camera_window(loss=0.12)
MAX_SWITCHES_PER_MINUTE = 7

Switch = tuple[float, LayerDecision]


def drive(
    state: LayerState, windows: list[Window], *, at: float = EPOCH, ceiling: VideoQuality = HIGH
) -> tuple[LayerState, list[Switch]]:
    """Feed `windows` one after the other; switches carry the seconds since `EPOCH`."""
    switches: list[Switch] = []
    now = at
    for window in windows:
        now += window.duration_s
        state, decision = layers.step(state, window, now, ceiling)
        if decision is not None:
            switches.append((now - EPOCH, decision))
    return state, switches


def drive_link(seconds: int, capacity_bps: dict[int, float]) -> list[Switch]:
    """Close the loop: each second's window comes from the link at the quality asked for then."""
    state = layers.start("TR_camera", EPOCH)
    link = Link(capacity_bps[0])
    switches: list[Switch] = []
    for second in range(seconds):
        link = Link(capacity_bps.get(second, link.capacity_bps))
        state, decision = layers.step(state, link.window(state.quality), EPOCH + second + 1)
        if decision is not None:
            switches.append((second + 1.0, decision))
    return switches


def busiest_minute(switches: list[Switch]) -> int:
    times = [at for at, _ in switches]
    return max((sum(start <= at <= start + 60 for at in times) for start in times), default=0)


def settled(quality: VideoQuality = HIGH) -> LayerState:
    """A state past its first seconds that knows the usual 30 frames per second."""
    state, switches = drive(layers.start("TR_camera", EPOCH - 8, quality), [CLEAN] * 8, at=EPOCH - 8)
    assert not switches
    return state


def test_a_clean_track_is_left_alone() -> None:
    assert drive(settled(), [CLEAN] * 600)[1] == []


def test_two_bad_seconds_bring_it_down_by_one_with_a_reason() -> None:
    _, switches = drive(settled(), [LOSSY] * 2)
    assert switches == [(2.0, LayerDecision("TR_camera", HIGH, MEDIUM, "12% of packets lost"))]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (camera_window(freeze_s=0.8), "video froze for 0.8 s"),
        (camera_window(fps=12), "12 frames per second where about 28 are usual"),
        (camera_window(fps=0), "packets arrive, but no complete frame"),
    ],
)
def test_other_complaints_bring_it_down_too(bad: Window, reason: str) -> None:
    _, switches = drive(settled(), [bad] * 2)
    assert [(decision.to_quality, decision.reason) for _, decision in switches] == [(MEDIUM, reason)]


def test_one_bad_second_is_noise() -> None:
    assert drive(settled(), ([LOSSY] + [CLEAN] * 3) * 50)[1] == []


def test_loss_between_the_bounds_changes_nothing() -> None:
    middling = [camera_window(loss=0.04)] * 300
    assert drive(settled(), middling)[1] == []
    assert drive(settled(MEDIUM), middling)[1] == []


def test_it_settles_after_a_switch_before_it_judges_again() -> None:
    _, switches = drive(settled(), [LOSSY] * 10)
    assert [(at, decision.to_quality) for at, decision in switches] == [(2.0, MEDIUM), (6.0, LOW)]


def test_lasting_loss_ends_at_low_and_stays() -> None:
    _, switches = drive(settled(), [LOSSY] * 600)
    assert [decision.to_quality for _, decision in switches] == [MEDIUM, LOW]


def test_it_climbs_step_by_step_once_clean() -> None:
    down, _ = drive(settled(), [LOSSY] * 10)
    _, switches = drive(down, [CLEAN] * 60, at=EPOCH + 10)
    assert [decision.to_quality for _, decision in switches] == [MEDIUM, HIGH]
    assert switches[0][0] == pytest.approx(10 + 1 + 12)
    assert switches[0][1].reason == "clean for 12 s"
    assert switches[1][0] - switches[0][0] == pytest.approx(15.0)


def test_a_failed_upgrade_makes_the_next_one_wait_longer() -> None:
    """A link that never carries HIGH: tries are further and further apart, up to two minutes."""
    switches = drive_link(900, {0: 1_000_000.0})
    ups = [at for at, decision in switches if decision.to_quality > decision.from_quality]
    gaps = [later - earlier for earlier, later in pairwise(ups)]
    assert gaps == sorted(gaps)
    assert max(gaps) <= 120 + 12
    assert len(ups) <= 13
    assert {decision.to_quality for _, decision in switches} == {MEDIUM, HIGH}
    assert sum(at > 300 for at in ups) <= 6


def test_an_upgrade_that_holds_ends_the_back_off() -> None:
    switches = drive_link(700, {0: 1_000_000.0, 200: 5_000_000.0, 500: 1_000_000.0, 506: 5_000_000.0})
    recovered = [at for at, decision in switches if decision.to_quality is HIGH and at > 506]
    assert recovered
    assert recovered[0] - 506 < 20


def test_rfc_8867_link_pattern() -> None:
    """RFC 8867 §5.1 (1.0, 2.5, 0.6, 1.0 Mb/s): HIGH fits only from 40 to 60 s, MEDIUM always."""
    switches = drive_link(140, {0: 1e6, 40: 2.5e6, 60: 0.6e6, 80: 1.0e6})
    assert all(decision.to_quality is not LOW for _, decision in switches)
    assert switches[0][0] <= 6
    high_at = [at for at, decision in switches if decision.to_quality is HIGH and 40 < at < 60]
    assert len(high_at) == 1
    assert any(decision.to_quality is MEDIUM and 60 < at <= 63 for at, decision in switches)
    assert busiest_minute(switches) <= 5


@pytest.mark.parametrize(
    "idle",
    [
        replace(LOSSY, muted=True),
        replace(LOSSY, was_muted=True),
        replace(LOSSY, stream_paused=True),
        replace(LOSSY, measured=False),
        replace(LOSSY, packets=0, packets_lost=0, fps=0.0, frames=0),
        replace(LOSSY, kind=TrackKind.AUDIO),
        replace(LOSSY, direction=Direction.OUTBOUND),
    ],
)
def test_no_decision_without_media_to_judge(idle: Window) -> None:
    assert drive(settled(), [idle] * 60)[1] == []


def test_a_track_that_returns_is_given_time_to_settle() -> None:
    muted, _ = drive(settled(), [replace(LOSSY, muted=True)] * 5)
    assert drive(muted, [LOSSY] * 3, at=EPOCH + 5)[1] == []


def test_a_new_subscription_is_given_time_to_settle() -> None:
    state = layers.start("TR_camera", EPOCH)
    assert drive(state, [LOSSY] * 3)[1] == []
    assert drive(state, [LOSSY] * 4)[1][0][0] == 4.0


def test_a_screen_that_stands_still_is_not_bad() -> None:
    still = camera_window(fps=0.0, packets=5, source=TrackSource.SCREEN_SHARE)
    moving = camera_window(fps=15.0, source=TrackSource.SCREEN_SHARE)
    assert drive(settled(), [moving] * 10 + [still] * 60 + [moving] * 10)[1] == []


def test_a_publisher_that_sends_fewer_frames_is_soon_normal() -> None:
    _, switches = drive(settled(), [camera_window(fps=15)] * 300)
    assert [decision.to_quality for _, decision in switches] == [MEDIUM, HIGH]


def test_a_burst_after_a_stall_does_not_raise_what_is_expected() -> None:
    assert drive(settled(), [camera_window(fps=60), CLEAN, CLEAN, CLEAN] * 20)[1] == []


def test_a_lower_ceiling_works_at_once_even_while_muted() -> None:
    state, decision = layers.step(settled(), replace(CLEAN, muted=True), EPOCH, ceiling=LOW)
    assert decision == LayerDecision("TR_camera", HIGH, LOW, "ceiling is LOW")
    assert drive(state, [CLEAN] * 120, ceiling=LOW)[1] == []


def test_a_raised_ceiling_gives_back_at_once_what_the_link_could_carry() -> None:
    state, _ = layers.step(settled(), CLEAN, EPOCH, ceiling=LOW)
    _, switches = drive(state, [CLEAN] * 10)
    assert switches == [(3.0, LayerDecision("TR_camera", LOW, HIGH, "ceiling is HIGH"))]


def test_a_raised_ceiling_does_not_forget_that_the_link_was_bad() -> None:
    state, _ = layers.step(settled(), CLEAN, EPOCH, ceiling=MEDIUM)
    state, _ = drive(state, [LOSSY] * 5, ceiling=MEDIUM)
    _, switches = drive(state, [CLEAN] * 12, at=EPOCH + 5)
    assert switches == []


qualities = st.sampled_from(VideoQuality)
any_window = st.builds(
    camera_window,
    loss=st.sampled_from([0.0, 0.01, 0.03, 0.07, 0.5]),
    fps=st.sampled_from([0.0, 5.0, 15.0, 30.0, 60.0]),
    freeze_s=st.sampled_from([0.0, 0.0, 0.0, 1.0]),
    duration_s=st.sampled_from([0.5, 1.0, 1.0, 1.0, 2.0]),
    packets=st.sampled_from([0, 50, 200]),
)
# Runs of one window, so that traces stay clean long enough for upgrades.
runs = st.lists(st.tuples(any_window | st.just(CLEAN), st.integers(1, 30)), min_size=1, max_size=25)


@settings(max_examples=50, deadline=None)
@given(runs=runs, ceilings=st.lists(qualities, min_size=1, max_size=5))
def test_never_above_the_ceiling_adjacent_at_a_time_and_repeatable(
    runs: list[tuple[Window, int]], ceilings: list[VideoQuality]
) -> None:
    state = layers.start("TR_camera", EPOCH)
    now = EPOCH
    for number, (window, count) in enumerate(runs):
        ceiling = ceilings[number % len(ceilings)]
        for _ in range(count):
            now += window.duration_s
            before = state
            state, decision = layers.step(before, window, now, ceiling)
            assert (state, decision) == layers.step(before, window, now, ceiling)
            assert state.quality <= ceiling
            if decision is None:
                assert state.quality is before.quality
            else:
                assert (decision.from_quality, decision.to_quality) == (before.quality, state.quality)
                assert decision.from_quality is not decision.to_quality
                assert decision.reason


@settings(max_examples=50, deadline=None)
@given(runs=runs, quality=qualities)
def test_few_switches_in_any_minute_of_any_trace(runs: list[tuple[Window, int]], quality: VideoQuality) -> None:
    windows = [window for window, count in runs for _ in range(count)]
    _, switches = drive(layers.start("TR_camera", EPOCH, quality), windows)
    assert busiest_minute(switches) <= MAX_SWITCHES_PER_MINUTE


@settings(max_examples=50, deadline=None)
@given(window=any_window, quality=qualities)
def test_constant_input_never_swings(window: Window, quality: VideoQuality) -> None:
    _, switches = drive(layers.start("TR_camera", EPOCH, quality), [window] * 300)
    directions = {decision.to_quality > decision.from_quality for _, decision in switches}
    assert len(directions) <= 1
    assert len(switches) <= 2


def test_the_fastest_trace_that_a_link_could_play_stays_within_the_bound() -> None:
    """An adversary that is bad as soon as that is not a failed upgrade, and clean otherwise."""
    state = layers.start("TR_camera", EPOCH)
    switches: list[Switch] = []
    for second in range(1, 600):
        held = state.upgraded_at is None or EPOCH + second - state.upgraded_at > layers.FAILED_UPGRADE_S - 1
        window = LOSSY if held and state.quality is HIGH else CLEAN
        state, decision = layers.step(state, window, EPOCH + second)
        if decision is not None:
            switches.append((float(second), decision))
    assert 4 <= busiest_minute(switches) <= MAX_SWITCHES_PER_MINUTE

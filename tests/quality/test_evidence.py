"""What a second of windows is taken for, on both sides of each bound, and what a trial has to bring."""

from dataclasses import replace

import pytest

from quality.allocation import Subscription
from quality.controller_state import ControllerState
from quality.evidence import Evidence, LayerRate, Rates, Seen, gather, learned
from quality.layer_trials import Gain, Outcome
from quality.stats import TrackSource
from quality.way_load import WayLoad
from quality.way_width import WayWidth
from quality.window import Window
from tests.quality.controller_room import HIGH, LAYERS, LOW, MEDIUM, window

CAMERA = Subscription("TR_a", LAYERS)
FULL_FPS, FULL_BPS = LAYERS[HIGH].fps, LAYERS[HIGH].bitrate_bps


def evidence(second: Window, rates: Rates | None = None, source: TrackSource = TrackSource.CAMERA) -> Evidence:
    asked = {"TR_a": HIGH}
    return gather((replace(CAMERA, source=source),), (replace(second, source=source),), asked, rates or {})


def seen(second: Window, rates: Rates | None = None, source: TrackSource = TrackSource.CAMERA) -> Seen:
    (found,) = evidence(second, rates, source).tracks
    return found


@pytest.mark.parametrize(("lost", "trouble"), [(0, ""), (59, ""), (61, "6% of packets lost")])
def test_over_six_percent_lost_is_trouble(lost: int, trouble: str) -> None:
    assert seen(replace(window("TR_a", HIGH), packets=1000 - lost, packets_lost=lost)).trouble == trouble


def test_freezes_and_packets_without_a_frame_are_trouble() -> None:
    frozen = replace(window("TR_a", HIGH), freeze_count=1, freeze_s=0.8)
    assert seen(frozen).trouble == "video froze for 0.8 s"
    assert "no complete frame" in seen(window("TR_a", HIGH, fps=0.0)).trouble


@pytest.mark.parametrize(("share", "withheld"), [(1.0, False), (0.71, False), (0.69, True)])
def test_frames_are_withheld_where_less_than_seven_tenths_of_the_usual_come(share: float, withheld: bool) -> None:
    """Of what was announced, of what was seen to be usual, and of what was asked for."""
    assert seen(window("TR_a", HIGH, fps=share * FULL_FPS)).withheld is withheld
    usual = {("TR_a", HIGH): LayerRate(FULL_BPS, 15.0)}
    assert seen(window("TR_a", HIGH, fps=share * 15.0), usual).withheld is withheld
    asked_for = replace(window("TR_a", HIGH, fps=share * 10.0), requested_fps=10.0)
    assert seen(asked_for).withheld is withheld


def test_a_lower_layer_than_was_asked_for_is_withheld() -> None:
    lower = seen(window("TR_a", HIGH, distance=1))
    assert (lower.quality, lower.withheld) == (MEDIUM, True)


def test_a_screen_stands_by_itself() -> None:
    still = seen(window("TR_a", HIGH, fps=0.0), source=TrackSource.SCREEN_SHARE)
    assert (still.withheld, still.trouble) == (False, "")
    window_with_freeze = replace(window("TR_a", HIGH, fps=5.0), freeze_count=1, freeze_s=0.7)
    paused = seen(window_with_freeze, source=TrackSource.SCREEN_SHARE)
    assert (paused.trouble, paused.broken, paused.frozen) == ("", False, 0.0)
    lossy = seen(window("TR_a", HIGH, loss=0.2), source=TrackSource.SCREEN_SHARE)
    assert lossy.trouble == "20% of packets lost"


@pytest.mark.parametrize(("ratio", "limited"), [(1.39, True), (1.41, False)])
def test_an_estimate_of_less_than_1_4_times_what_comes_may_be_all_that_there_is(ratio: float, limited: bool) -> None:
    assert evidence(window("TR_a", HIGH, available_bps=ratio * FULL_BPS)).limited is limited
    assert evidence(window("TR_a", HIGH)).limited, "none is known"


@pytest.mark.parametrize(("ratio", "fell"), [(1.0, False), (0.96, False), (0.94, True)])
def test_an_estimate_falls_by_a_twentieth_or_more(ratio: float, fell: bool) -> None:
    before, after = (evidence(window("TR_a", HIGH, available_bps=bps)) for bps in (1e6, ratio * 1e6))
    assert after.estimate_fell(before) is fell
    assert not after.estimate_fell(None)


@pytest.mark.parametrize(("queue_s", "idle"), [(0.0, True), (0.039, True), (0.041, False)])
def test_a_queue_of_forty_milliseconds_is_one(queue_s: float, idle: bool) -> None:
    state = replace(ControllerState(), round_trip_s=0.05)
    assert state.is_idle(evidence(window("TR_a", HIGH, round_trip_s=0.05 + queue_s))) is idle


@pytest.mark.parametrize(
    ("share", "lost_ratio", "later_s", "idle"),
    [(0.69, 0.0, 0.0, True), (0.71, 0.0, 0.0, False), (0.69, 0.02, 0.0, False), (0.69, 0.0, 0.001, False)],
    ids=["far less comes", "about as much", "some is lost", "measured just now"],
)
def test_a_queue_that_was_measured_seconds_ago_is_gone_where_far_less_comes_than_through_it(
    share: float, lost_ratio: float, later_s: float, idle: bool
) -> None:
    state = replace(ControllerState(), round_trip_s=0.05, width=WayWidth(load=WayLoad(FULL_BPS)))
    before = evidence(window("TR_a", HIGH, round_trip_s=0.35))
    second = replace(window("TR_a", HIGH, round_trip_s=0.35 + later_s), bytes=round(share * FULL_BPS / 8))
    after = gather((CAMERA,), (second,), {"TR_a": HIGH}, {}, before)
    assert after.is_measured_anew is (later_s > 0)
    assert state.is_idle(replace(after, lost_ratio=lost_ratio)) is idle
    broken = replace(after, tracks=tuple(replace(item, broken=True) for item in after.tracks), lost_ratio=lost_ratio)
    assert replace(state, width=WayWidth(load=WayLoad(FULL_BPS, full_s=1))).is_full(broken) is not idle


def test_what_a_layer_takes_is_learned_from_seconds_that_are_whole() -> None:
    full = evidence(window("TR_a", HIGH))
    assert learned({}, None, full) == {}, "the first second of a layer has less"
    rates = learned({}, full, full)
    assert rates == {("TR_a", HIGH): LayerRate(FULL_BPS, FULL_FPS, confirmed=True)}
    half = evidence(replace(window("TR_a", HIGH), bytes=round(FULL_BPS / 16)))
    assert learned(rates, full, half)["TR_a", HIGH].bps == pytest.approx(0.85 * FULL_BPS), "three tenths of the way"
    few = evidence(window("TR_a", HIGH, fps=0.19 * FULL_FPS))
    assert learned(rates, full, few)["TR_a", HIGH].bps == FULL_BPS
    troubled = evidence(window("TR_a", HIGH, loss=0.1))
    assert learned(rates, full, troubled)["TR_a", HIGH].bps == FULL_BPS


@pytest.mark.parametrize(("frames", "bits"), [(0.5, 0.6), (0.25, 0.4)])
def test_what_a_layer_takes_is_inferred_where_temporal_layers_are_missing(frames: float, bits: float) -> None:
    """As libwebrtc shares out bits and frames among three of them."""
    some = evidence(replace(window("TR_a", HIGH, fps=frames * FULL_FPS), bytes=round(bits * FULL_BPS / 8)))
    rates = learned({("TR_a", HIGH): LayerRate(0.0, FULL_FPS)}, some, some)
    assert rates["TR_a", HIGH].bps == pytest.approx(FULL_BPS, rel=0.1)


def test_a_lower_frame_rate_becomes_usual_slowly_and_a_higher_one_within_seconds() -> None:
    slow = evidence(window("TR_a", HIGH, fps=20.0))
    rates, withheld = {("TR_a", HIGH): LayerRate(FULL_BPS, FULL_FPS)}, 0
    while evidence(window("TR_a", HIGH, fps=20.0), rates).withheld:
        rates, withheld = learned(rates, slow, slow), withheld + 1
        assert withheld < 60
    assert withheld == 3, "two thirds of 30 are seven tenths of 28.6"
    quick = evidence(window("TR_a", HIGH, fps=30.0))
    usual = [15.0]
    rates = {("TR_a", HIGH): LayerRate(FULL_BPS, 15.0)}
    for _ in range(10):
        rates = learned(rates, quick, quick)
        usual.append(rates["TR_a", HIGH].fps)
    assert usual == sorted(usual)
    assert 28.0 < usual[-1] <= 30.0


@pytest.mark.parametrize(
    ("available_bps", "seen", "remembered"),
    [
        pytest.param(1.1, True, True, id="the server may withhold them"),
        pytest.param(1.5, True, False, id="it has room for them"),
        pytest.param(None, True, False, id="no limit is known"),
        pytest.param(1.1, False, False, id="they were never seen"),
    ],
)
def test_frames_that_were_seen_are_not_forgotten_while_the_server_may_withhold_them(
    available_bps: float | None, seen: bool, remembered: bool
) -> None:
    """`available_bps` is over what comes."""
    few = window("TR_a", HIGH, fps=15.0)
    few = replace(few, available_bandwidth_bps=available_bps and available_bps * few.bitrate_bps)
    rates = {("TR_a", HIGH): LayerRate(FULL_BPS, FULL_FPS, confirmed=seen)}
    for _ in range(30):
        second = evidence(few, rates)
        rates = learned(rates, second, second)
    assert evidence(few, rates).withheld == remembered


def outcome(whole: float, own: float, latest: float = 1.0, *, gains: bool = True) -> Outcome:
    """Of a trial before which either was worth 1."""
    return Outcome(Gain(1.0, whole, latest), Gain(1.0, own, 1.0), gains)


@pytest.mark.parametrize(
    ("whole", "own", "helped"),
    [
        (1.0, 1.0, True),
        (0.96, 1.0, True),
        (0.94, 1.0, False),
        (1.0, 0.81, True),
        (1.0, 0.79, False),
    ],
)
def test_a_raise_may_cost_a_twentieth_of_all_and_a_fifth_of_what_it_raised(
    whole: float, own: float, helped: bool
) -> None:
    assert outcome(whole, own, gains=False).helped is helped


@pytest.mark.parametrize(
    ("whole", "own", "helped"),
    [
        (1.06, 1.0, True),
        (1.04, 1.0, False),
        (1.0, 2.1, True),
        (1.0, 1.9, False),
        (0.96, 2.1, True),
        (0.94, 2.1, False),
    ],
)
def test_trials_that_are_to_gain_bring_a_twentieth_more_or_twice_what_they_changed_without_harm_to_the_whole(
    whole: float, own: float, helped: bool
) -> None:
    assert outcome(whole, own).helped is helped


def test_what_showed_nothing_before_is_rescued_only_by_something() -> None:
    nothing = Outcome(Gain(1.0, 1.0, 1.0), Gain(0.0, 0.0, 0.0), gains=True)
    assert not nothing.helped
    assert replace(nothing, own=Gain(0.0, 0.1, 0.1)).helped


@pytest.mark.parametrize(("latest", "fails"), [(0.61, False), (0.59, True)])
def test_a_raise_that_leaves_less_than_six_tenths_is_not_waited_for(latest: float, fails: bool) -> None:
    assert outcome(1.0, 1.0, latest, gains=False).fails is fails
    assert Outcome(Gain(1.0, 1.0, 1.0), Gain(1.0, 1.0, latest), gains=False).fails is fails


def test_what_is_asked_for_lower_is_seen_as_that() -> None:
    found = gather((CAMERA,), (window("TR_a", LOW),), {"TR_a": LOW}, {})
    assert [(item.quality, item.withheld) for item in found.tracks] == [(LOW, False)]
    assert gather((CAMERA,), (window("TR_a", LOW),), {"TR_a": None}, {}).tracks == ()

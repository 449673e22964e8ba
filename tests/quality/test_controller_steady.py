"""What the controller leaves to the server (its own probes, time while the estimate falls), and what it does not."""

from dataclasses import replace

import pytest

from quality.controller import TROUBLE_S, step
from quality.controller_state import ControllerState
from quality.layer_trials import Kind
from quality.lowering import SWUNG
from quality.raising import PROVED_UNANSWERED_S, UNANSWERED_S, UNPROVEN_S
from quality.stats import VideoQuality
from tests.quality.controller_room import EPOCH, HIGH, LAYERS, LOW, MEDIUM, ROOM, Room, window


def test_the_server_has_time_to_find_out_by_itself_before_it_is_made_to_try_more() -> None:
    room = Room(given={"TR_a": MEDIUM, "TR_b": MEDIUM})
    assert room.pass_seconds(UNANSWERED_S - 1) == []
    assert {action.kind for action in room.pass_seconds(1)} == {Kind.PROBE}


def test_where_its_probes_are_answered_it_has_that_time_from_when_the_way_proved_to_carry_all() -> None:
    room = Room(given={"TR_a": MEDIUM, "TR_b": MEDIUM}, probes=False)
    room.available_bps = 1e6
    assert room.pass_seconds(2 * UNANSWERED_S) == []
    room.available_bps = 4e6
    assert room.pass_seconds(PROVED_UNANSWERED_S - 1) == []
    assert {(action.kind, action.to_quality) for action in room.pass_seconds(1)} == {(Kind.PROBE, LOW)}
    assert {(action.kind, action.to_quality) for action in room.pass_seconds(1)} == {(Kind.PROBE, HIGH)}


@pytest.mark.parametrize(("others_bps", "asked"), [(0.0, 1), (1.5e6, 0)])
def test_what_other_videos_of_the_connection_want_is_to_be_carried_too(others_bps: float, asked: int) -> None:
    state, kinds = ControllerState(), []
    camera = ROOM[:1]
    for second in range(UNANSWERED_S + 3):
        windows = (window("TR_a", HIGH, distance=1, available_bps=1.9e6),)
        state, actions = step(state, camera, windows, EPOCH + second, probes=False, others_bps=others_bps)
        kinds += [action.kind for action in actions]
    assert kinds.count(Kind.PROBE) >= asked
    assert bool(kinds) is bool(asked)


def test_what_is_muted_need_not_be_carried() -> None:
    for muted in (False, True):
        state, kinds = ControllerState(), set()
        for second in range(UNANSWERED_S + 3):
            windows = (
                window("TR_a", HIGH, distance=1, available_bps=1.9e6),
                replace(window("TR_b", HIGH), muted=muted),
            )
            state, actions = step(state, ROOM, windows, EPOCH + second, probes=False)
            kinds |= {action.kind for action in actions}
        assert kinds == ({Kind.PROBE} if muted else set())


@pytest.mark.parametrize("available_bps", [None, 3e6])
def test_where_its_probes_are_answered_the_server_shares_out_alone(available_bps: float | None) -> None:
    room = Room(given={"TR_a": MEDIUM}, probes=False)
    room.available_bps = available_bps
    assert room.pass_seconds(4 * UNANSWERED_S) == []


def test_trouble_counts_from_the_last_time_that_the_estimate_fell() -> None:
    state = ControllerState()
    estimates = [3e6, 3e6, 8e5, 8e5, 8e5, 6e5] + [6e5] * TROUBLE_S
    for second, available_bps in enumerate(estimates):
        windows = tuple(window(sid, HIGH, fps=0.0, loss=0.5, available_bps=available_bps) for sid in ("TR_a", "TR_b"))
        state, actions = step(state, ROOM, windows, EPOCH + second, probes=False)
        assert bool(actions) is (second == 5 + TROUBLE_S - 1), "the estimate fell in the sixth second"
        if actions:
            return


def swung(times: int, low: VideoQuality = MEDIUM, available_bps: float | None = None) -> Room:
    """One that the server lowered and raised again, every five seconds, and gives in full from then on."""
    room = Room(given={"TR_a": HIGH}, probes=False)
    room.available_bps = available_bps
    for second in range(5 * times + 3):
        room.given = {"TR_a": low if second // 5 % 2 else HIGH}
        room.pass_seconds(1)
    room.given = {}
    return room


@pytest.mark.parametrize("low", [MEDIUM, LOW])
def test_what_went_down_up_and_down_again_is_asked_for_a_layer_lower(low: VideoQuality) -> None:
    room = swung(SWUNG, low)
    assert [(action.track_sid, action.kind, action.to_quality) for _, action in room.actions] == [
        ("TR_a", Kind.STEADY, MEDIUM)
    ]
    assert f"{SWUNG} times" in room.actions[-1][1].reason


def test_it_is_raised_again_as_all_that_was_lowered() -> None:
    room = swung(SWUNG)
    assert room.pass_seconds(UNPROVEN_S - 4) == []
    (raised,) = room.pass_seconds(6)
    assert (raised.kind, raised.to_quality) == (Kind.RAISE, HIGH)


@pytest.mark.parametrize("share", [1.01, 0.95])
@pytest.mark.parametrize(("more", "comes_back"), [((), True), ((LOW, MEDIUM), False)])
def test_it_comes_back_only_while_the_minute_has_switches_left_to_take_it_away(
    share: float, more: tuple[VideoQuality, ...], comes_back: bool
) -> None:
    room = swung(SWUNG, available_bps=1e6)
    # The server goes on at it, between the two lower layers.
    for given in more:
        room.given = {"TR_a": given}
        room.pass_seconds(3)
    room.given = {}
    room.available_bps = share * 2 * LAYERS[HIGH].bitrate_bps
    room.pass_seconds(UNPROVEN_S)
    assert (room.asked["TR_a"] == HIGH) == comes_back
    room.pass_seconds(60)
    assert room.asked["TR_a"] == HIGH

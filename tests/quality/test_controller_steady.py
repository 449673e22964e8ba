"""What the controller leaves to the server (its own probes, time while the estimate falls), and what it does not."""

import pytest

from quality.controller import MAX_SWITCHES, PROBE_S, TROUBLE_S, UNANSWERED_S, step
from quality.controller_state import ControllerState
from quality.layer_trials import Kind
from tests.quality.controller_room import EPOCH, HIGH, LOW, MEDIUM, ROOM, Room, window


@pytest.mark.parametrize(("probes", "patience_s"), [(True, PROBE_S), (False, UNANSWERED_S)])
def test_the_server_is_made_to_try_more_late_where_its_own_probes_are_answered(probes: bool, patience_s: int) -> None:
    room = Room(given={"TR_a": MEDIUM, "TR_b": MEDIUM}, probes=probes)
    assert room.pass_seconds(patience_s - 1) == []
    assert {action.kind for action in room.pass_seconds(1)} == {Kind.PROBE}


def test_where_its_probes_are_answered_the_server_shares_out_alone() -> None:
    room = Room(given={"TR_a": MEDIUM}, probes=False)
    assert room.pass_seconds(UNANSWERED_S - 1) == []


def test_trouble_counts_from_the_last_time_that_the_estimate_fell() -> None:
    state = ControllerState()
    estimates = [3e6, 3e6, 8e5, 8e5, 8e5, 6e5] + [6e5] * TROUBLE_S
    for second, available_bps in enumerate(estimates):
        windows = tuple(window(sid, HIGH, fps=0.0, loss=0.5, available_bps=available_bps) for sid in ("TR_a", "TR_b"))
        state, actions = step(state, ROOM, windows, EPOCH + second, probes=False)
        assert bool(actions) is (second == 5 + TROUBLE_S - 1), "the estimate fell in the sixth second"
        if actions:
            return


def test_what_the_server_has_switched_five_times_in_a_minute_stays_down_for_the_rest_of_it() -> None:
    room = Room(given={"TR_a": HIGH}, probes=False)
    for second in range(30):
        room.given = {"TR_a": MEDIUM if second // 5 % 2 else HIGH}
        room.pass_seconds(1)
    assert [(action.track_sid, action.kind, action.to_quality) for _, action in room.actions][-1:] == [
        ("TR_a", Kind.STEADY, MEDIUM)
    ]
    assert f"{MAX_SWITCHES - 1} times" in room.actions[-1][1].reason
    room.given = {}
    room.pass_seconds(20)
    assert room.asked["TR_a"] == MEDIUM
    room.pass_seconds(40)
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}
    assert LOW not in {action.to_quality for _, action in room.actions}

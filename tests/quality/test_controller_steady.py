"""What the controller leaves to the server (its own probes, time while the estimate falls), and what it does not."""

from quality.controller import MAX_SWITCHES, PROBE_S, TROUBLE_S, step
from quality.controller_state import ControllerState
from quality.layer_trials import Kind
from tests.quality.controller_room import EPOCH, HIGH, LOW, MEDIUM, ROOM, Room, window


def test_the_server_is_not_made_to_try_more_where_its_own_probes_are_answered() -> None:
    for probes in (True, False):
        state, kinds = ControllerState(), set()
        for second in range(3 * PROBE_S):
            windows = (window("TR_a", HIGH, distance=1), window("TR_b", HIGH, distance=1))
            state, actions = step(state, ROOM, windows, EPOCH + second, probes=probes)
            kinds |= {action.kind for action in actions}
        assert (Kind.PROBE in kinds) is probes


def test_trouble_counts_from_the_last_time_that_the_estimate_fell() -> None:
    state = ControllerState()
    estimates = [3e6, 3e6, 8e5, 8e5, 8e5, 6e5] + [6e5] * TROUBLE_S
    for second, available_bps in enumerate(estimates):
        windows = tuple(window(sid, HIGH, fps=0.0, loss=0.5, available_bps=available_bps) for sid in ("TR_a", "TR_b"))
        state, actions = step(state, ROOM, windows, EPOCH + second)
        assert bool(actions) is (second == 5 + TROUBLE_S - 1), "the estimate fell in the sixth second"
        if actions:
            return


def test_what_the_server_has_switched_five_times_in_a_minute_stays_down_for_the_rest_of_it() -> None:
    room = Room(given={"TR_a": HIGH})
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

"""What becomes of a controller's trials that cannot be judged, and of those that seemed to work for a while."""

from dataclasses import replace

import pytest

from quality.allocation import Limits, Subscription
from quality.controller import TROUBLE_S, adopt, step
from quality.controller_state import ControllerState
from quality.layer_trials import Action, Kind
from quality.window import Window
from tests.quality.controller_room import EPOCH, HIGH, LAYERS, LOW, MEDIUM, ROOM, OneCamera, Room, window


def shared() -> Room:
    """A room in which TR_b was lowered so that TR_a might have more."""
    room = Room(given={"TR_a": MEDIUM})
    room.pass_seconds(3)
    assert [(action.track_sid, action.kind) for _, action in room.actions] == [("TR_b", Kind.SHARE)]
    return room


def test_a_share_that_a_limit_ends_is_undone_and_the_next_waits() -> None:
    room = shared()
    taken_back = room.pass_seconds(1, Limits(cpu_cores=5.0))
    assert [(action.track_sid, action.to_quality) for action in taken_back] == [("TR_b", HIGH)]
    assert [wait.kind for wait in room.state.waits] == [Kind.SHARE]
    room.pass_seconds(29, Limits(cpu_cores=5.0))
    assert len(room.times(Kind.SHARE)) == 1


def test_a_share_that_a_new_track_ends_is_undone() -> None:
    room = shared()
    newcomer = Subscription("TR_new", LAYERS)
    windows = (window("TR_a", HIGH, distance=1), window("TR_b", MEDIUM))
    state, actions = step(room.state, (*ROOM, newcomer), windows, room.now + 1)
    assert [(action.track_sid, action.to_quality) for action in actions] == [("TR_b", HIGH)]
    assert (state.held, [wait.kind for wait in state.waits]) == ((), [Kind.SHARE])


def test_a_share_of_which_nothing_can_be_known_any_more_is_undone() -> None:
    room = shared()
    state, found = room.state, list[tuple[int, Action]]()
    for second in range(1, 8):
        windows = (window("TR_a", HIGH, distance=1), replace(window("TR_b", MEDIUM), muted=True))
        state, actions = step(state, ROOM, windows, room.now + second)
        found += [(second, action) for action in actions]
    ((at, undone),) = found
    assert (at, undone.track_sid, undone.kind, undone.to_quality) == (4, "TR_b", Kind.UNDO, HIGH)
    assert "nothing is known of what became of the share" in undone.reason
    assert (state.trial, [wait.kind for wait in state.waits]) == (None, [Kind.SHARE])


@pytest.mark.parametrize("seen", [(), (window("TR_b", LOW),)], ids=["nothing", "the other one"])
def test_a_relief_of_which_nothing_can_be_known_any_more_is_kept_and_holds_up_nothing(
    seen: tuple[Window, ...],
) -> None:
    room = Room(1_000_000.0)
    room.pass_seconds(TROUBLE_S)
    assert [action.kind for _, action in room.actions] == [Kind.RELIEVE, Kind.RELIEVE]
    changed = frozenset({"TR_a"})
    assert room.state.trial is not None
    state = replace(room.state, trial=replace(room.state.trial, changed=changed))
    for second in range(1, 5):
        assert state.trial is not None
        state, actions = step(state, ROOM, seen, room.now + second)
        assert actions == ()
    assert state.trial is None
    assert dict(state.asked) == {"TR_a": MEDIUM, "TR_b": LOW}


def test_what_was_held_down_of_a_track_that_went_is_not_when_it_comes_again() -> None:
    state, _ = step(ControllerState(), ROOM, (), EPOCH)
    state = adopt(state, {"TR_b": LOW})
    assert state.asked == {"TR_a": HIGH, "TR_b": LOW}
    for second, room in enumerate((ROOM, ROOM[:1], ROOM), start=1):
        windows = tuple(window(item.track_sid, state.asked.get(item.track_sid) or HIGH) for item in room)
        state, _ = step(state, room, windows, EPOCH + second)
    assert state.asked == {"TR_a": HIGH, "TR_b": HIGH}


def test_of_a_share_only_what_loses_by_it_is_held_down() -> None:
    room = (replace(ROOM[0], pinned=True), ROOM[1])
    state, found = ControllerState(), list[Action]()
    for second in range(4):
        windows = (window("TR_a", HIGH, distance=2), window("TR_b", HIGH, distance=1))
        state, actions = step(state, room, windows, EPOCH + second)
        found += actions
    assert [(action.track_sid, action.kind, action.to_quality) for action in found] == [("TR_b", Kind.SHARE, LOW)]
    assert state.asked == {"TR_a": HIGH, "TR_b": LOW}, "TR_a has MEDIUM by it, and may have more"


@pytest.mark.parametrize(("share", "raised"), [(0.3, False), (0.88, False), (0.92, True), (3.0, True)], ids="{}".format)
def test_an_estimate_of_nine_tenths_of_what_a_step_needs_covers_it(share: float, raised: bool) -> None:
    camera = OneCamera(share * LAYERS[MEDIUM].bitrate_bps)
    action = camera.next_action(within=10)
    assert ((action.kind, action.to_quality) if action else None) == ((Kind.RAISE, MEDIUM) if raised else None)


@pytest.mark.parametrize(("after_s", "waits"), [(12, True), (19, True), (20, False)])
def test_trouble_within_twenty_seconds_of_a_raise_that_seemed_to_work_is_its_doing(after_s: int, waits: bool) -> None:
    camera = OneCamera()
    raised = camera.next_action()
    assert raised is not None
    assert raised.kind is Kind.RAISE
    assert camera.next_action(within=after_s - TROUBLE_S) is None
    assert camera.state.trial is None, "it was judged, and worked"
    relieved = camera.next_action(trouble=True)
    at = camera.second
    assert relieved is not None
    assert (relieved.kind, relieved.to_quality) == (Kind.RELIEVE, LOW)
    again = camera.next_action()
    assert again is not None
    assert again.kind is Kind.RAISE
    assert (camera.second - at >= 30) is waits


def test_raises_that_fail_late_wait_twice_as_long_each_time_as_those_that_fail_at_once_do() -> None:
    camera = OneCamera()
    waited: list[int] = []
    for _ in range(4):
        raised = camera.next_action()
        assert raised is not None
        assert raised.kind is Kind.RAISE
        assert camera.next_action(within=6) is None, "it seems to work"
        assert camera.next_action(trouble=True) is not None
        waited += [round(wait.wait_s) for wait in camera.state.waits if wait.kind is Kind.RAISE]
    assert waited == [30, 60, 120, 240]

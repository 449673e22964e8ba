"""The layer controller where trains of packets tell what the way carries."""

from dataclasses import replace

import pytest

from quality.controller import step
from quality.controller_state import ControllerState
from quality.evidence import gather
from quality.layer_trials import FILLED_WAIT_S, Kind
from quality.promises import NO_PROMISES, Promise, Promises
from quality.way_load import WayLoad
from quality.way_width import WayWidth
from tests.quality.controller_room import EPOCH, FULL_S, HIGH, IDLE_S, LOW, MEDIUM, ROOM, Room, window

GIVEN = {"TR_a": MEDIUM, "TR_b": MEDIUM}


def withheld(width_bps: float | None, *, probes: bool = True) -> Room:
    room = Room(given=dict(GIVEN), probes=probes)
    room.width_bps = width_bps
    return room


def lowered(width_bps: float | None, available_bps: float | None = None) -> Room:
    room = Room()
    room.pass_seconds(1)
    room.lower(MEDIUM)
    room.width_bps, room.available_bps = width_bps, available_bps
    return room


def test_what_the_server_withholds_from_a_wide_way_is_probed_for_after_three_seconds_and_asked_for_whole() -> None:
    room = withheld(10e6)
    room.pass_seconds(4)
    assert room.times(Kind.PROBE) == [3, 4]
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}
    lower = [action.to_quality for _, action in room.actions if action.to_quality != HIGH]
    assert lower == [LOW, LOW], "the server grants what is asked for only where it withholds nothing"


def test_as_much_is_probed_for_as_three_quarters_of_the_way_carry() -> None:
    room = withheld(3e6)
    room.pass_seconds(4)
    assert room.asked == {"TR_a": HIGH, "TR_b": MEDIUM}


@pytest.mark.parametrize(("width_bps", "after_s"), [(None, 30), (1.5e6, 45)], ids=["nothing tells", "no more fits"])
def test_without_room_for_more_a_probe_waits(width_bps: float | None, after_s: int) -> None:
    room = withheld(width_bps)
    room.pass_seconds(61)
    assert room.times(Kind.PROBE)[0] == after_s


def test_a_recording_leaves_a_wide_way_to_its_own_estimate() -> None:
    room = withheld(10e6, probes=False)
    room.pass_seconds(60)
    assert room.actions == []


def test_all_that_was_lowered_comes_back_at_once_where_the_way_carries_it_all() -> None:
    room = lowered(10e6)
    room.pass_seconds(3)
    raised = [(at, action.track_sid, action.kind, action.to_quality) for at, action in room.actions]
    assert raised == [(2, "TR_a", Kind.RAISE, HIGH), (2, "TR_b", Kind.RAISE, HIGH)]


def test_of_what_was_lowered_as_much_comes_back_as_the_way_carries() -> None:
    room = lowered(3e6)
    room.pass_seconds(40)
    assert room.asked == {"TR_a": HIGH, "TR_b": MEDIUM}


@pytest.mark.parametrize(("width_bps", "after_s"), [(None, 4), (1.5e6, 90)], ids=["nothing tells", "it does not fit"])
def test_what_the_way_does_not_carry_is_tried_late_whatever_the_estimate_says(
    width_bps: float | None, after_s: int
) -> None:
    room = lowered(width_bps, available_bps=10e6)
    room.pass_seconds(100)
    assert room.times(Kind.RAISE)[0] == after_s


def test_nothing_is_raised_while_a_queue_stands() -> None:
    room = lowered(1.2e6, available_bps=10e6)
    room.queue_stands = True
    room.pass_seconds(100)
    assert room.actions == []


@pytest.mark.parametrize("was_full", [False, True])
def test_frames_that_are_missing_are_probed_for_early_only_where_the_way_was_full_before(was_full: bool) -> None:
    state, kinds = ControllerState(), list[Kind]()
    for second in range(30):
        full = was_full and second in {10, 11}
        seen = window(
            "TR_a",
            HIGH,
            fps=10.0 if second > 11 else None,
            round_trip_s=FULL_S if full else IDLE_S,
            available_bps=700_000.0,
            width_bps=2e6 if was_full and second < 18 else 8e6,
        )
        state, actions = step(state, (ROOM[0],), (seen,), EPOCH + second)
        kinds += [action.kind for action in actions]
    assert (Kind.PROBE in kinds) is was_full, "its publisher may have no more of them"


@pytest.mark.parametrize(
    ("loss", "round_trip_s", "learned"),
    [(0.0, IDLE_S, True), (0.05, IDLE_S, False), (0.0, FULL_S, False)],
    ids=["all well", "packets lost", "a queue stands"],
)
def test_jitter_is_learned_while_nothing_else_takes_time(loss: float, round_trip_s: float, learned: bool) -> None:
    subscriptions = ROOM[0], replace(ROOM[1], max_quality=MEDIUM)
    first = tuple(window(item.track_sid, item.max_quality) for item in subscriptions)
    state = ControllerState()
    for second in range(2):
        state, _ = step(state, subscriptions, first, EPOCH + second)
    for second in range(2, 20):
        seen = (
            window(item.track_sid, item.max_quality, loss=loss, round_trip_s=round_trip_s, width_bps=10e6)
            for item in subscriptions
        )
        late = tuple(replace(each, assembly_s=each.assembly_s + 0.02 * each.frames_assembled) for each in seen)
        state, _ = step(state, subscriptions, late, EPOCH + second)
    assert (state.jitter.seconds > 0.01) is learned


def raised_in_vain(width_bps: float) -> Room:
    """All that was lowered is asked for again, and the server goes on to withhold one of the two."""
    room = lowered(None)
    room.pass_seconds(3)
    room.width_bps, room.given = width_bps, {"TR_b": MEDIUM}
    room.pass_seconds(1)
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}
    return room


def test_what_fits_and_was_not_granted_is_asked_for_again_once_all_was_lowered() -> None:
    room = raised_in_vain(3.9e6)  # three quarters of it are not enough for both
    actions = [action for action in room.pass_seconds(7) if action.kind is Kind.PROBE]
    lowered = {action.track_sid: action.to_quality for action in actions[:2]}
    assert lowered == {"TR_a": MEDIUM, "TR_b": LOW}, "what the other leaves completes what is in its lowest layer"
    assert {action.track_sid: action.to_quality for action in actions[2:]} == {"TR_a": HIGH, "TR_b": HIGH}
    raised_at = room.times(Kind.RAISE)[0]
    assert room.times(Kind.PROBE) == [raised_at + 4, raised_at + 5], "once it is judged"


def test_what_was_not_granted_and_does_not_fit_any_more_is_not_asked_for_again() -> None:
    room = raised_in_vain(3.9e6)
    room.width_bps = 3e6
    room.pass_seconds(30)
    assert room.times(Kind.PROBE) == []


@pytest.mark.parametrize(("width_bps", "after_s"), [(10e6, 3), (None, 4)], ids=["the way is known", "it is not"])
def test_what_was_raised_and_came_whole_has_worked_and_more_comes_in_the_same_second(
    width_bps: float | None, after_s: int
) -> None:
    room = lowered(None, available_bps=2e6)
    room.pass_seconds(4)
    (raised_at,) = room.times(Kind.RAISE)
    assert room.asked == {"TR_a": HIGH, "TR_b": MEDIUM}, "as much as the estimate covers"
    room.width_bps, room.available_bps = width_bps, 10e6
    room.pass_seconds(after_s)
    assert room.times(Kind.RAISE) == [raised_at, raised_at + after_s]
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}


@pytest.mark.parametrize(("width_bps", "raised"), [(10e6, True), (6e6, False)], ids=["far more", "just enough"])
def test_on_a_way_that_carries_twice_what_is_wanted_a_raise_is_not_expected_to_fail(
    width_bps: float, raised: bool
) -> None:
    room = lowered(width_bps)
    room.state = replace(room.state, switches=room.state.switches + (("TR_a", room.now),) * 5)
    room.pass_seconds(10)
    assert (room.asked["TR_a"] == HIGH) is raised, "one of six switches is left"


@pytest.mark.parametrize(
    ("width_bps", "switched", "probed"),
    [(10e6, 4, True), (5e6, 4, False), (5e6, 3, True)],
)
def test_a_probe_leaves_switches_for_its_failure_where_it_may_fail(
    width_bps: float, switched: int, probed: bool
) -> None:
    """Of six; 3.4 Mb/s are wanted."""
    room = withheld(width_bps)
    room.state = replace(room.state, seen=(("TR_a", room.now),) * switched)
    room.pass_seconds(10)
    assert bool(room.times(Kind.PROBE)) is probed


HIDDEN = Promises((Promise(5.0, 5.0),))


def raised_onto(width_bps: float, promises: Promises = HIDDEN) -> Room:
    """One of them is asked for at HIGH again, and a queue stands from then on; a bucket of tokens hid the way."""
    room = lowered(None, available_bps=10e6)
    room.pass_seconds(4)
    assert room.asked == {"TR_a": HIGH, "TR_b": MEDIUM}
    room.queue_stands, room.width_bps = True, width_bps
    room.state = replace(room.state, width=replace(room.state.width, promises=promises))
    return room


def test_a_raise_that_fills_a_way_that_a_bucket_hid_is_undone_before_a_picture_breaks() -> None:
    room = raised_onto(2.3e6)
    (undone,) = room.pass_seconds(3)
    assert (undone.track_sid, undone.kind, undone.to_quality) == ("TR_a", Kind.UNDO, MEDIUM)
    assert undone.reason == "raise of 3 s ago fills the way: a queue stands, and 2150 kb/s come"


@pytest.mark.parametrize(
    ("width_bps", "promises"), [(10e6, HIDDEN), (2.3e6, NO_PROMISES)], ids=["packets come close", "the way was known"]
)
def test_a_queue_after_a_raise_is_not_always_its_doing(width_bps: float, promises: Promises) -> None:
    room = raised_onto(width_bps, promises)
    room.pass_seconds(20)
    assert room.times(Kind.UNDO) == []


def test_what_filled_the_way_and_cost_no_picture_is_tried_again_after_fifteen_seconds_and_then_thirty() -> None:
    room = raised_onto(2.3e6)
    room.pass_seconds(2)
    room.queue_stands, room.width_bps = False, None
    room.pass_seconds(16)
    room.queue_stands, room.width_bps = True, 2.3e6
    room.pass_seconds(4)
    room.queue_stands, room.width_bps = False, None
    room.pass_seconds(60)
    (first, second, *_), (_, again, once_more, *_) = room.times(Kind.UNDO), room.times(Kind.RAISE)
    assert (again - first, once_more - second) == (15, 30)


def test_a_raise_that_fills_a_hidden_way_slowly_gives_place_as_the_queue_goes_on_to_stand() -> None:
    room = raised_onto(10e6)
    room.pass_seconds(4)
    assert room.state.trial is None, "packets came close: taken for a raise that worked"
    room.width_bps = 2.3e6
    room.pass_seconds(3)
    assert room.times(Kind.FIT)
    assert room.asked == {"TR_a": HIGH, "TR_b": LOW}, "less than comes"
    (wait,) = (wait for wait in room.state.waits if wait.kind is Kind.RAISE)
    assert wait.wait_s == FILLED_WAIT_S


@pytest.mark.parametrize(
    ("loss", "full_s", "full"),
    [(0.0, 0, False), (0.3, 0, True), (0.0, 1, True)],
    ids=["no loss", "loss", "it was full"],
)
def test_a_picture_that_breaks_says_that_the_way_is_full_where_packets_were_lost(
    loss: float, full_s: int, full: bool
) -> None:
    state = replace(ControllerState(), width=WayWidth(load=WayLoad(full_s=full_s)))
    seen = replace(window("TR_a", HIGH, loss=loss), freeze_count=1, freeze_s=0.5)
    broken = gather((ROOM[0],), (seen,), {"TR_a": HIGH}, {})
    assert broken.broken
    assert state.is_full(broken) is full

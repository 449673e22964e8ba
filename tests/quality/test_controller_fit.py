"""The layer controller where the way becomes full: what is asked for fits at once, and loss is no full way."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from quality.asking import ask
from quality.controller import adopt, step
from quality.controller_state import ControllerState
from quality.layer_trials import FIRST_WAIT_S, Kind
from quality.lowering import LOSSY_S
from quality.stats import VideoQuality
from quality.window import Window
from tests.quality.controller_room import EPOCH, FULL_S, HIGH, IDLE_S, LOW, MEDIUM, ROOM, Room, window

WIDE_BPS = 10e6


def filled(link_bps: float, *, told: bool = True, probes: bool = True) -> Room:
    """All was well for some seconds; from the next on the link carries no more than that."""
    room = Room(probes=probes)
    room.width_bps = WIDE_BPS if told else None
    room.pass_seconds(4)
    room.link_bps = link_bps
    return room


class Breaking(Room):
    """Pictures can break, and half comes of what the layers take, whatever they are."""

    def __init__(self, *, lost: float = 0.0, round_trip_s: float = IDLE_S, width_bps: float = WIDE_BPS) -> None:
        super().__init__()
        self.broken = False
        self.seen_then = lost, round_trip_s, width_bps

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.now += 1.0
            self.state, actions = step(self.state, ROOM, tuple(self._windows()), self.now)
            self.asked |= {action.track_sid: action.to_quality for action in actions}
            self.actions.extend((self.now - EPOCH, action) for action in actions)

    def _windows(self) -> Iterator[Window]:
        for sid, quality in self.asked.items():
            assert quality is not None
            if not self.broken:
                yield window(sid, quality, width_bps=WIDE_BPS)
                continue
            lost, round_trip_s, width_bps = self.seen_then
            own = window(sid, quality, round_trip_s=round_trip_s, width_bps=width_bps)
            missing = round(own.packets * lost / (1.0 - lost))
            yield replace(own, packets_lost=missing, bytes=own.bytes // 2, freeze_count=1, freeze_s=0.5)


@pytest.mark.parametrize(
    ("link_bps", "asked"),
    [(2.5e6, (HIGH, MEDIUM)), (1e6, (MEDIUM, MEDIUM)), (0.7e6, (MEDIUM, LOW)), (0.4e6, (LOW, LOW))],
)
def test_what_a_full_way_carries_is_asked_for_in_its_second_second(
    link_bps: float, asked: tuple[VideoQuality, VideoQuality]
) -> None:
    room = filled(link_bps)
    assert room.pass_seconds(1) == [], "some of it may be of the time before"
    actions = room.pass_seconds(1)
    assert {action.kind for action in actions} == {Kind.FIT}
    assert (room.asked["TR_a"], room.asked["TR_b"]) == asked
    assert actions[0].reason == f"a queue stands, and {link_bps / 1000:.0f} kb/s come"


@pytest.mark.parametrize(("link_bps", "asked"), [(1.2e6, HIGH), (1e6, MEDIUM), (0.4e6, LOW)])
def test_a_single_video_keeps_its_layer_where_half_of_its_frames_fit(link_bps: float, asked: VideoQuality) -> None:
    """The frames of two of three temporal layers take 0.6 of the 1.7 Mb/s."""
    state, now = ControllerState(), EPOCH
    for _ in range(4):
        now += 1.0
        state, actions = step(state, ROOM[:1], (window("TR_a", HIGH, width_bps=WIDE_BPS),), now)
        assert not actions
    for _ in range(2):
        now += 1.0
        full = window("TR_a", HIGH, fps=0.0, loss=0.3, round_trip_s=FULL_S, width_bps=WIDE_BPS)
        state, _ = step(state, ROOM[:1], (replace(full, bytes=round(link_bps / 8)),), now)
    assert state.asked["TR_a"] == asked


def test_what_comes_is_that_of_the_last_second() -> None:
    room = filled(1.7e6)
    room.pass_seconds(1)
    room.link_bps = 1e6
    (low, *_) = room.pass_seconds(1)
    assert low.reason == "a queue stands, and 1000 kb/s come"


@pytest.mark.parametrize(("given", "fitted"), [(HIGH, True), (MEDIUM, False)], ids=["it does not", "it does"])
def test_what_the_server_lowers_itself_is_asked_for_as_before(given: VideoQuality, fitted: bool) -> None:
    """It leaves a layer at once then, and sends nothing of it again; where less is asked for it does both."""
    room = filled(1e6)
    room.pass_seconds(1)
    room.given = {"TR_a": given}
    room.queue_stands = True
    room.pass_seconds(1)
    assert bool(room.times(Kind.FIT)) is fitted


def test_what_fits_stays_asked_for_while_the_way_is_as_narrow() -> None:
    room = filled(1e6)
    room.pass_seconds(2)
    room.width_bps = 1e6
    room.pass_seconds(40)
    assert {action.kind for _, action in room.actions} == {Kind.FIT}


def test_a_full_way_is_asked_for_less_and_of_nothing_for_more() -> None:
    room = filled(1.3e6)
    room.state = adopt(room.state, {"TR_b": LOW})
    room.asked["TR_b"] = LOW
    room.pass_seconds(2)
    assert room.asked == {"TR_a": MEDIUM, "TR_b": LOW}, "medium of both would fit"


@pytest.mark.parametrize(
    ("held", "before", "order"),
    [
        ({"TR_a": LOW, "TR_b": MEDIUM}, {"TR_a": HIGH, "TR_b": HIGH}, ["TR_b", "TR_a"]),
        ({"TR_b": LOW}, {"TR_a": LOW, "TR_b": HIGH}, ["TR_b", "TR_a"]),
    ],
    ids=["the least last", "less before more"],
)
def test_what_is_freed_goes_to_what_is_asked_for_less_already(
    held: dict[str, VideoQuality], before: dict[str, VideoQuality], order: list[str]
) -> None:
    state = replace(ControllerState(), allowed=(("TR_a", HIGH), ("TR_b", HIGH))).holding(held)
    _, actions = ask(state, before, EPOCH, Kind.FIT, "full", "less")
    assert [action.track_sid for action in actions] == order


def test_it_comes_back_in_seconds_once_the_way_is_wide_again() -> None:
    room = filled(1e6)
    room.width_bps = 1e6
    room.pass_seconds(20)
    assert room.asked == {"TR_a": MEDIUM, "TR_b": MEDIUM}
    room.link_bps, room.width_bps = 10e6, WIDE_BPS
    room.pass_seconds(2)
    assert room.times(Kind.RAISE) == [26], "more than came when it was full is known to fit"
    room.pass_seconds(6)
    assert room.asked == {"TR_a": HIGH, "TR_b": HIGH}


def test_a_raise_that_fills_the_way_gives_place_and_waits_longer() -> None:
    room = Breaking(round_trip_s=FULL_S, width_bps=1e6)
    room.seconds(1)
    room.lower(MEDIUM)
    room.seconds(3)
    room.broken = True
    room.seconds(3)
    (raised_at,) = room.times(Kind.RAISE)
    assert room.times(Kind.FIT) == [raised_at + 4], "a switch takes a second or so, and the queue has to grow"
    (wait,) = (wait for wait in room.state.waits if wait.kind is Kind.RAISE)
    assert wait.wait_s == FIRST_WAIT_S


@pytest.mark.parametrize(("told", "probes"), [(False, True), (True, False)], ids=["nothing tells", "a recording"])
def test_what_tells_nothing_of_the_way_and_recordings_leave_it_to_the_server(told: bool, probes: bool) -> None:
    room = filled(1e6, told=told, probes=probes)
    room.pass_seconds(7)
    assert room.actions == []


def test_less_frames_of_what_is_asked_for_are_no_full_way() -> None:
    room = filled(3.4e6)  # as much as is asked for
    room.queue_stands = True
    room.pass_seconds(7)
    assert room.times(Kind.FIT) == []


def test_a_way_that_became_longer_is_no_narrow_one() -> None:
    room = Breaking(round_trip_s=FULL_S, width_bps=WIDE_BPS)
    room.seconds(4)
    room.broken = True
    room.seconds(7)
    assert room.times(Kind.FIT) == [], "packets come as close as before, whatever the publisher sends"


@pytest.mark.parametrize(("width_bps", "raised"), [(WIDE_BPS, True), (3e6, False), (None, False)])
def test_what_was_lowered_comes_back_on_a_way_that_became_longer_where_packets_come_close(
    width_bps: float | None, raised: bool
) -> None:
    room = Room()
    room.width_bps = width_bps
    room.pass_seconds(4)
    room.lower(MEDIUM)
    room.link_bps, room.queue_stands = WIDE_BPS, True
    room.pass_seconds(15)
    assert room.state.round_trip_s < FULL_S - 0.04, "the shorter one is not forgotten"
    assert (room.asked == {"TR_a": HIGH, "TR_b": HIGH}) is raised


@pytest.mark.parametrize(("lost", "fitted_at"), [(0.19, []), (0.21, [6])])
def test_without_a_queue_a_fifth_of_the_packets_has_to_be_lost(lost: float, fitted_at: list[int]) -> None:
    room = Breaking(lost=lost)
    room.seconds(4)
    room.broken = True
    room.seconds(2)
    assert room.times(Kind.FIT) == fitted_at


def test_where_pictures_go_on_to_break_without_a_queue_it_is_undone_and_not_tried_again_soon() -> None:
    room = Breaking(lost=0.4)
    room.seconds(4)
    room.broken = True
    room.seconds(25)
    kinds = [(at, action.kind) for at, action in room.actions if action.track_sid == "TR_a"]
    assert kinds[:2] == [(6, Kind.FIT), (6 + LOSSY_S, Kind.UNDO)]
    assert room.times(Kind.FIT) == [6]


def test_a_picture_that_is_whole_again_keeps_what_fits() -> None:
    room = Breaking(lost=0.4)
    room.seconds(4)
    room.broken = True
    room.seconds(2)
    room.broken = False
    room.seconds(5)
    assert room.times(Kind.FIT) == [6]
    assert room.times(Kind.UNDO) == []

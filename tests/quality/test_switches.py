"""A minute's switches of a track, the server's own among them, and how far up it is asked for meanwhile."""

import pytest

from quality.controller import step
from quality.controller_state import ControllerState
from quality.layer_trials import Action, Kind
from quality.stats import VideoQuality
from quality.switches import MAX_SWITCHES, SWITCH_WINDOW_S, highest_after
from quality.window import Window
from tests.quality.controller_room import EPOCH, HIGH, LOW, MEDIUM, ROOM, window


@pytest.mark.parametrize(
    ("switches", "quality", "highest"),
    [(0, LOW, HIGH), (4, LOW, HIGH), (5, LOW, MEDIUM), (6, LOW, LOW), (9, LOW, LOW), (5, HIGH, HIGH)],
)
def test_no_more_layers_than_switches_are_left_to_take_them_away(
    switches: int, quality: VideoQuality, highest: VideoQuality
) -> None:
    assert highest_after(switches, quality, roomy=False) == highest


@pytest.mark.parametrize(("switches", "highest"), [(5, HIGH), (6, LOW)])
def test_none_has_to_be_left_where_the_way_carries_all(switches: int, highest: VideoQuality) -> None:
    assert highest_after(switches, LOW, roomy=True) == highest


class Camera:
    """A single video, of which the server gives what it is told, up to what is asked for."""

    def __init__(self) -> None:
        self.state = ControllerState()
        self.now = EPOCH
        self.asked: VideoQuality | None = HIGH
        self.actions: list[Action] = []

    def see(self, given: VideoQuality | None, width_bps: float | None = None) -> None:
        """A second of `given`, or one that cannot be judged."""
        self.now += 1
        windows: tuple[Window, ...] = ()
        if given is not None and self.asked is not None:
            distance = max(0, self.asked - given)
            windows = (window("TR_a", self.asked, distance=distance, width_bps=width_bps),)
        self.state, actions = step(self.state, ROOM[:1], windows, self.now)
        for action in actions:
            self.asked = action.to_quality
        self.actions += actions

    def switch(self, times: int, low: VideoQuality = LOW) -> None:
        """Two layers by turns, every other second, ending with the lower one."""
        for left in range(times, -1, -1):
            for _ in range(2):
                self.see(VideoQuality(low + left % 2))


@pytest.mark.parametrize(
    ("switches", "asked"), [(MAX_SWITCHES - 2, HIGH), (MAX_SWITCHES - 1, MEDIUM), (MAX_SWITCHES, LOW)]
)
def test_a_track_is_asked_for_in_what_comes_as_the_minutes_switches_are_used_up(
    switches: int, asked: VideoQuality
) -> None:
    camera = Camera()
    camera.switch(switches)
    assert camera.asked == asked
    assert {(action.kind, action.reason) for action in camera.actions} <= {
        (Kind.STEADY, "no more than 6 switches in a minute")
    }


def test_more_is_asked_for_again_as_the_switches_are_a_minute_old() -> None:
    camera = Camera()
    camera.switch(MAX_SWITCHES)
    while camera.now - EPOCH < SWITCH_WINDOW_S + 2:
        assert camera.asked == LOW
        camera.see(LOW)
    camera.see(LOW)
    assert camera.asked == MEDIUM, "the first of them is a minute old"


def test_a_switch_in_a_second_that_could_not_be_judged_counts() -> None:
    camera = Camera()
    for given in (HIGH, None, MEDIUM, MEDIUM):
        camera.see(given)
    assert camera.state.seen == (("TR_a", EPOCH + 3),)


def test_what_is_known_of_the_way_comes_and_goes_and_takes_nothing_back() -> None:
    camera = Camera()
    camera.switch(MAX_SWITCHES - 1, low=MEDIUM)
    for width_bps in (10e6, 10e6, 10e6, 1e6, 1e6, 10e6, 1e6):
        camera.see(MEDIUM, width_bps)
    worn = [action.to_quality for action in camera.actions if "switches in a minute" in action.reason]
    assert worn == [MEDIUM, HIGH]

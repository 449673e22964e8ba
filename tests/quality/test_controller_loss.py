"""What the layer controller does about loss: when it lowers layers for it, and when they come back."""

from dataclasses import replace
from itertools import pairwise

import pytest

from quality.asking import SETTLE_S
from quality.controller import TROUBLE_S, adopt, step
from quality.controller_state import ControllerState
from quality.layer_trials import FIRST_WAIT_S, Kind
from quality.stats import VideoQuality
from quality.window import Window
from tests.quality.controller_room import (
    EPOCH,
    FULL_S,
    HIGH,
    IDLE_S,
    LAYERS,
    LOW,
    MEDIUM,
    ROOM,
    Room,
    window,
)


def test_loss_that_costs_few_pictures_lowers_nothing() -> None:
    assert Room(radio_loss=0.1).pass_seconds(600) == []


def broken(sid: str, asked: VideoQuality, *, distance: int = 0) -> Window:
    """A second in which a tenth of the pictures came, and none of the lowest layer, without a queue."""
    quality = VideoQuality(asked - distance)
    frames = round(LAYERS[quality].fps / 10) if quality > LOW else 0
    shown = window(sid, asked, distance=distance, loss=0.3)
    return replace(shown, frames=frames, fps=float(frames), freeze_count=1, freeze_s=0.9)


def test_loss_that_costs_most_pictures_is_relieved_and_borne_where_lower_layers_do_not_end_it() -> None:
    state, tries, asked = ControllerState(), list[int](), {"TR_a": HIGH, "TR_b": HIGH}
    for second in range(400):
        windows = tuple(broken(sid, quality) for sid, quality in asked.items())
        state, actions = step(state, ROOM, windows, EPOCH + second)
        tries += [second] if Kind.RELIEVE in {action.kind for action in actions} else []
        asked |= {action.track_sid: action.to_quality for action in actions if action.to_quality is not None}
    assert tries[0] == TROUBLE_S - 1
    assert all(later - at > FIRST_WAIT_S for at, later in pairwise(tries))
    assert 2 <= len(tries) <= 4
    assert asked == {"TR_a": HIGH, "TR_b": HIGH}, "undone, as nothing was withheld before"


def test_what_did_not_help_is_taken_back_to_what_was_given() -> None:
    state, given, kinds = ControllerState(), {"TR_a": 1, "TR_b": 0}, list[Kind]()
    for second in range(TROUBLE_S + SETTLE_S + 3):
        asked = state.asked or {"TR_a": HIGH, "TR_b": HIGH}
        windows = tuple(
            broken(sid, quality, distance=min(given[sid], quality) if not kinds else 0)
            for sid, quality in asked.items()
            if quality is not None
        )
        state, actions = step(state, ROOM, windows, EPOCH + second)
        kinds += [action.kind for action in actions]
    assert set(kinds) == {Kind.RELIEVE, Kind.UNDO}
    assert state.asked == {"TR_a": MEDIUM, "TR_b": HIGH}, "as they were given"


@pytest.mark.parametrize(("queued", "froze", "asked"), [(False, False, HIGH), (True, False, LOW), (False, True, LOW)])
def test_what_loss_lowered_comes_back_where_it_stays_and_breaks_no_picture(
    queued: bool, froze: bool, asked: VideoQuality
) -> None:
    state, _ = step(ControllerState(), ROOM, (window("TR_a", HIGH), window("TR_b", HIGH)), EPOCH)
    state, kinds = adopt(state, {"TR_a": LOW, "TR_b": HIGH}), list[tuple[int, Kind]]()
    for second in range(1, 40):
        own = state.asked["TR_a"]
        assert own is not None
        windows = tuple(
            replace(
                window(sid, quality, loss=0.1, round_trip_s=FULL_S if queued and second > 1 else IDLE_S),
                freeze_count=int(froze and second % 5 == 0),
                freeze_s=0.3 if froze and second % 5 == 0 else 0.0,
            )
            for sid, quality in (("TR_a", own), ("TR_b", state.asked["TR_b"] or LOW))
        )
        state, actions = step(state, ROOM, windows, EPOCH + second)
        kinds.extend((second, action.kind) for action in actions if action.track_sid == "TR_a")
    if asked is HIGH:
        (first, *_) = [at for at, kind in kinds if kind is Kind.RAISE]
        assert first == 9, "in the tenth second of loss without a broken picture"
        assert state.asked["TR_a"] is not None
        assert state.asked["TR_a"] > LOW
    else:
        assert Kind.RAISE not in {kind for _, kind in kinds}
        assert state.asked["TR_a"] is LOW


def test_a_short_burst_of_loss_changes_nothing() -> None:
    room = Room()
    for _ in range(20):
        room.radio_loss = 0.15
        room.pass_seconds(3)
        room.radio_loss = 0.0
        room.pass_seconds(17)
    assert room.actions == []

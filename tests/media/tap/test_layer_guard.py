"""The layer guard: whole frames on a narrow way, the higher layer again on a wide one, no swinging between."""

import itertools

from media.tap.events import LayerQuality
from media.tap.layer_guard import FIRST_TRIAL_S, MAX_TRIAL_S, LayerGuard


class Scene:
    """A video whose frame rate and overloads the test sets."""

    def __init__(self, wanted: LayerQuality = LayerQuality.HIGH) -> None:
        self.guard = LayerGuard()
        self.wanted = {"TR": wanted}
        self.now = 1000.0
        self.frames = 0.0
        self.decreases = 0
        self.max_fps: dict[str, int] = {}
        self.changes: list[tuple[float, LayerQuality]] = []

    def run(self, seconds: float, fps: float) -> None:
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.frames += fps / 4
            frames, decreases = {"TR": int(self.frames)}, self.decreases
            step = self.guard.step(self.now, frames, self.wanted, decreases=decreases, max_fps=self.max_fps)
            self.changes += [(self.now, quality) for quality in step.values()]


def test_frames_that_are_thinned_on_a_limited_way_ask_for_a_lower_layer() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(4, 6)
    assert [quality for _, quality in scene.changes] == [LayerQuality.MEDIUM]
    assert scene.guard.ceiling("TR") is LayerQuality.MEDIUM


def test_few_frames_that_were_asked_for_are_no_sign_of_a_narrow_way() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.max_fps = {"TR": 10}
    scene.decreases = 1
    scene.run(10, 12.5)
    assert scene.changes == []
    scene.run(4, 3)
    assert [quality for _, quality in scene.changes] == [LayerQuality.MEDIUM]


def test_a_camera_that_slows_down_is_left_alone() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.run(30, 6)
    assert scene.changes == []


def test_a_full_frame_rate_is_left_alone_on_a_limited_way() -> None:
    scene = Scene()
    scene.decreases = 1
    scene.run(60, 25)
    assert scene.changes == []


def test_a_burst_after_a_stall_is_not_held_against_the_rate_after_it() -> None:
    scene = Scene()
    scene.run(6, 20)
    scene.decreases = 1
    scene.run(3, 0)
    scene.run(1, 105)
    scene.run(20, 20)
    assert scene.changes == []


def test_a_lower_layer_with_fewer_frames_does_not_keep_the_higher_one_away() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(4, 6)
    assert scene.guard.ceiling("TR") is LayerQuality.MEDIUM
    scene.run(FIRST_TRIAL_S + 2, 14)
    assert scene.guard.ceiling("TR") is LayerQuality.HIGH


def test_what_was_limited_long_ago_is_not_held_against_a_camera() -> None:
    scene = Scene()
    scene.decreases = 1
    scene.run(60, 25)
    scene.run(60, 6)
    assert scene.changes == []


def test_a_layer_asked_for_with_fewer_frames_is_not_thinned() -> None:
    scene = Scene()
    scene.run(6, 30)
    scene.decreases = 1
    scene.run(1, 30)
    scene.wanted["TR"] = LayerQuality.MEDIUM
    scene.run(10, 10)
    assert scene.changes == []


def test_the_higher_layer_comes_again_on_a_way_that_became_wide() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(4, 6)
    scene.run(FIRST_TRIAL_S + 1, 25)
    assert scene.changes[-1][1] is LayerQuality.HIGH
    scene.run(60, 25)
    assert len(scene.changes) == 2


def test_trials_that_overload_the_way_end_at_once_and_grow_rare() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(4, 6)
    trials = []
    began = scene.now
    while scene.now < began + 600:
        scene.run(0.25, 25)
        if scene.changes[-1][1] is LayerQuality.HIGH:
            trials.append(scene.now)
            scene.run(0.75, 25)
            scene.decreases += 1
            scene.run(0.25, 25)
            assert [quality for _, quality in scene.changes[-2:]] == [LayerQuality.HIGH, LayerQuality.MEDIUM]
    waits = [after - before for before, after in itertools.pairwise(trials)]
    assert waits == sorted(waits)
    assert MAX_TRIAL_S <= waits[-1] <= MAX_TRIAL_S + 10
    assert len(trials) <= 14


def test_no_more_than_is_wanted_is_asked_for() -> None:
    scene = Scene(wanted=LayerQuality.MEDIUM)
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(4, 6)
    scene.run(60, 25)
    assert [quality for _, quality in scene.changes] == [LayerQuality.LOW, LayerQuality.MEDIUM]


def test_the_lowest_layer_is_the_end_and_a_still_picture_no_reason() -> None:
    scene = Scene(wanted=LayerQuality.LOW)
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(20, 6)
    assert scene.changes == []
    still = Scene()
    still.run(6, 25)
    still.decreases = 1
    still.run(20, 0)
    assert still.changes == []


def test_nothing_is_tried_while_no_frames_come() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(4, 6)
    scene.run(60, 0)
    assert scene.guard.ceiling("TR") is LayerQuality.MEDIUM
    scene.run(3, 20)
    assert scene.guard.ceiling("TR") is LayerQuality.HIGH


def test_a_track_that_went_is_forgotten() -> None:
    scene = Scene()
    scene.run(6, 25)
    scene.decreases = 1
    scene.run(4, 6)
    scene.guard.step(scene.now, {}, {}, decreases=1)
    assert scene.guard.ceiling("TR") is LayerQuality.HIGH

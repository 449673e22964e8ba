"""The times and ratios that docs/quality.md promises of layers, CPU and publishing, as literals."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from quality import controller, cpu_budget, lowering, publishing, switches
from quality.allocation import Layer, Subscription, utility
from quality.controller_state import ControllerState
from quality.cpu_budget import CpuBudget, CpuUse
from quality.layer_trials import Kind
from quality.publish_choice import yielding
from quality.publish_ladder import Limit, Published, Settings, least_bps, rungs, yields
from quality.publishing import Course
from quality.stats import QualityLimitationReason
from quality.video_model import VideoCodec
from quality.window import Window
from tests.quality.controller_room import EPOCH, FULL_S, HIGH, IDLE_S, LAYERS, MEDIUM, OneCamera, Room, window
from tests.quality.sent_video import PUBLISHED, Machine, Run

# Layers


def first(kind: Kind, room: Room) -> float:
    """The second in which an action of that kind comes, which is the first of all."""
    actions = room.pass_seconds(60)
    assert actions[0].kind is kind
    return room.actions[0][0]


def test_trouble_is_relieved_after_eight_seconds() -> None:
    assert first(Kind.RELIEVE, Room(1_000_000.0)) == 8


@pytest.mark.parametrize(
    ("promised", "queued", "relieved"),
    [(1.04, True, False), (1.06, True, True), (1.29, False, False), (1.31, False, True)],
)
def test_relief_has_to_promise_five_percent_and_thirty_where_there_is_no_queue(
    promised: float, queued: bool, relieved: bool
) -> None:
    camera = Subscription("TR_a", LAYERS)
    frozen = 1.0 - utility(LAYERS[MEDIUM], camera) / (promised * utility(LAYERS[HIGH], camera))
    state, kinds = ControllerState(), set[Kind]()
    for second in range(10):
        round_trip_s = FULL_S if queued and second else IDLE_S
        seen = replace(window("TR_a", HIGH, round_trip_s=round_trip_s), freeze_count=1, freeze_s=frozen)
        state, actions = controller.step(state, (camera,), (seen,), EPOCH + second)
        kinds |= {action.kind for action in actions}
    assert kinds == ({Kind.RELIEVE} if relieved else set())


def test_what_is_withheld_is_probed_after_thirty_seconds_and_after_ten_where_the_way_has_proved_to_carry_it() -> None:
    given = {"TR_a": MEDIUM, "TR_b": MEDIUM}
    assert first(Kind.PROBE, Room(given=given)) == 30
    recorded = Room(given=given, probes=False)
    recorded.available_bps = 4e6
    assert first(Kind.PROBE, recorded) == 10


def test_what_all_was_lowered_for_is_asked_for_a_second_later() -> None:
    room = Room(given={"TR_a": MEDIUM, "TR_b": MEDIUM})
    room.pass_seconds(32)
    assert room.times(Kind.PROBE) == [30, 31]


@pytest.mark.parametrize(("smaller_lines", "gain"), [(347, 1.16), (379, 1.14)])
def test_bits_are_shared_otherwise_where_that_is_worth_fifteen_percent_more(smaller_lines: int, gain: float) -> None:
    layers = (Layer(MEDIUM, 640, smaller_lines, 30.0, 1e6), Layer(HIGH, 1280, 720, 30.0, 3e6))
    room = Subscription("TR_a", layers, active_speaker=True), Subscription("TR_b", layers)
    state, kinds = ControllerState(), set[Kind]()
    small = replace(window("TR_a", HIGH, distance=1), frame_height=smaller_lines, fps=30.0, frames=30, bytes=125_000)
    large = replace(window("TR_b", HIGH), bytes=375_000)
    share = (smaller_lines / 720) ** 0.62
    assert (2 + share) / (2 * share + 1) == pytest.approx(gain, abs=0.003)
    for second in range(11):
        state, actions = controller.step(state, room, (small, large), EPOCH + second)
        kinds |= {action.kind for action in actions}
    assert (Kind.SHARE in kinds) is (gain > 1.15)


@pytest.mark.parametrize(
    ("available_bps", "probes", "clean_s"),
    [
        pytest.param(450_000.0, True, 4, id="covered by the estimate"),
        pytest.param(300_000.0, True, 15, id="not covered"),
        pytest.param(None, True, 15, id="no estimate"),
        pytest.param(450_000.0, False, 2, id="a recording's way that carries all"),
        pytest.param(300_000.0, False, 15, id="a recording's way that may not"),
    ],
)
def test_what_was_lowered_comes_back_after_four_clean_seconds_or_two_or_fifteen(
    available_bps: float | None, probes: bool, clean_s: int
) -> None:
    camera = OneCamera(available_bps, probes=probes)
    raised = camera.next_action()
    assert raised is not None
    assert (raised.kind, camera.second) == (Kind.RAISE, clean_s)


def test_a_trial_is_judged_after_four_seconds() -> None:
    room = Room(given={"TR_a": MEDIUM})
    room.pass_seconds(11)
    (shared,), (undone,) = room.times(Kind.SHARE), room.times(Kind.UNDO)
    assert undone - shared == 4


def test_what_was_undone_is_tried_again_after_thirty_seconds_and_twice_as_late_each_time() -> None:
    camera, waits = OneCamera(), list[int]()
    for _ in range(5):
        undone_at = camera.second
        raised = camera.next_action(within=600)
        assert raised is not None
        waits.append(camera.second - undone_at)
        undone = camera.next_action(trouble=True)
        assert undone is not None
        assert (raised.kind, undone.kind) == (Kind.RAISE, Kind.UNDO)
    assert waits[1:] == [30, 60, 120, 240]


def test_of_a_track_six_changes_a_minute_are_asked_for_and_three_swings_are_steadied() -> None:
    """What they do is in test_controller.py and test_controller_steady.py."""
    assert (switches.MAX_SWITCHES, switches.SWITCH_WINDOW_S) == (6, 60.0)
    assert lowering.SWUNG == 3


# CPU


def cut_at(busiest: float, decoding: float = 2.0) -> tuple[float | None, float]:
    """After how many seconds decoding gets a budget, and which."""
    state = CpuBudget()
    for second in range(60):
        state = cpu_budget.step(state, CpuUse(1.0, busiest), decoding, EPOCH + second)
        if not state.unlimited:
            return second, state.cores
    return None, math.inf


@pytest.mark.parametrize(("busiest", "after_s"), [(0.84, None), (0.86, 5), (0.96, 5), (0.98, 3), (1.0, 3)])
def test_a_thread_that_cannot_keep_up_cuts_decoding_to_seven_tenths(busiest: float, after_s: float | None) -> None:
    second, cores = cut_at(busiest)
    assert second == after_s
    assert cores == pytest.approx(math.inf if after_s is None else 0.7 * 2.0)


@pytest.mark.parametrize(("decoding", "after_s"), [(0.29, None), (0.31, 5)])
def test_decoding_below_three_tenths_of_what_ran_is_not_cut(decoding: float, after_s: float | None) -> None:
    assert cut_at(0.9, decoding)[0] == after_s


def raised_after(state: CpuBudget, busiest: float, now: float) -> tuple[CpuBudget, float | None]:
    for second in range(400):
        after = cpu_budget.step(state, CpuUse(1.0, busiest), 0.5, now + second)
        if after.cores > state.cores:
            return after, second
        state = after
    return state, None


@pytest.mark.parametrize(("busiest", "after_s"), [(0.61, None), (0.59, 20)])
def test_the_budget_doubles_after_twenty_seconds_in_which_four_tenths_are_left(
    busiest: float, after_s: float | None
) -> None:
    cut = CpuBudget(cores=1.0)
    state, second = raised_after(cut, busiest, EPOCH)
    assert second == after_s
    assert state.cores == (1.0 if after_s is None else 2.0)


def test_a_raise_that_was_too_much_doubles_the_wait_up_to_160_seconds() -> None:
    state, now, waits = CpuBudget(cores=1.0), EPOCH, list[float | None]()
    for _ in range(6):
        state, second = raised_after(state, 0.5, now)
        waits.append(second)
        now = state.raised_at
        while state.cores == 2.0:
            now += 1
            state = cpu_budget.step(state, CpuUse(1.0, 0.9), 1.0, now)
        state, now = replace(state, cores=1.0), state.quiet_until
    assert waits == [20, 40, 80, 160, 160, 160]


# Publishing

WIDE = Machine()


def encoded(load: float, fps: float = 10.0, *, limited: bool = False, published: Published = PUBLISHED) -> Window:
    """A second in which encoding takes that much of the time, whatever is asked for."""
    seen = Machine(cores=0.2).second(published, Settings())
    reason = QualityLimitationReason.CPU if limited else QualityLimitationReason.NONE
    layers = (replace(each, fps=fps, encode_load=load, quality_limitation_reason=reason) for each in seen.layers)
    return replace(seen, layers=tuple(layers))


def hopeless(published: Published = PUBLISHED) -> Callable[[], Window]:
    """Encoding that no change helps."""
    # Of fewer frames neither cap takes any.
    return lambda: encoded(0.95, fps=25.0, limited=True, published=published)


def told(run: Run, course: Course) -> list[int]:
    return [at for at, decision in run.told if decision.course is course]


def test_a_video_that_suffers_for_six_seconds_is_changed_and_one_that_is_new_has_twelve_of_peace() -> None:
    for machine in (Machine(1_050_000), Machine(cores=1.2)):
        assert told(Run().go(WIDE, 30).go(machine, 20), Course.DOWN) == [30 + 6]
        assert told(Run().go(machine, 20), Course.DOWN) == [11 + 6]


@pytest.mark.parametrize(
    ("seen", "changed"),
    [
        ({"load": 0.76, "limited": True, "fps": 30.0}, True),
        ({"load": 0.74, "limited": True, "fps": 30.0}, False),
        ({"load": 0.76, "fps": 22.0}, True),
        ({"load": 0.76, "fps": 23.0}, False),
    ],
)
def test_encoding_is_short_of_cpu_over_three_quarters_of_the_time_with_its_word_or_a_quarter_of_frames_missing(
    seen: dict[str, float], changed: bool
) -> None:
    run = Run().go(WIDE, 20).see(lambda: encoded(**seen), 20)  # type: ignore[arg-type]  # fields of the test's own
    assert bool(run.told) is changed


@pytest.mark.parametrize(("times", "every_s", "smaller"), [(2, 10, False), (3, 10, True), (4, 40, False)])
def test_a_highest_layer_that_goes_three_times_in_a_minute_is_made_smaller(
    times: int, every_s: int, smaller: bool
) -> None:
    run = Run().go(WIDE, 20)
    for _ in range(times):
        run.go(Machine(620_000), 1).go(WIDE, every_s - 1)
    assert bool(run.told) is smaller


def test_a_highest_layer_has_its_least_bitrates() -> None:
    assert [least_bps(lines) for lines in (360, 540, 720)] == [150_000.0, 350_000.0, 600_000.0]


@pytest.mark.parametrize(("uplink_bps", "lines"), [(1_020_000, 540), (1_005_000, 360)])
def test_a_smaller_picture_is_one_that_fits_with_1_15_times_the_least(uplink_bps: int, lines: int) -> None:
    """Two lower layers of 160 and 450 kb/s, and 1.15 times 350."""
    assert Run().go(WIDE, 30).go(Machine(uplink_bps), 20).state.settings == Settings(lines=lines)


def test_the_steps_down_are_two_thirds_and_half_the_frames_smaller_pictures_and_a_cheaper_codec() -> None:
    camera = Published(1920, 1080, 30.0, VideoCodec.VP9)
    assert [rung.settings for rung in rungs(camera, Limit.CPU)] == [
        Settings(max_fps=20.0),
        Settings(max_fps=15.0),
        Settings(lines=720),
        Settings(codec=VideoCodec.VP8),
        Settings(lines=540),
        Settings(lines=360),
    ]
    one_layer = Settings(lines=360, simulcast=False)
    sizes = [Settings(lines=lines) for lines in (720, 540, 360)]
    assert [rung.settings for rung in rungs(camera, Limit.BANDWIDTH)] == [*sizes, one_layer]
    screen = Published(1920, 1080, 24.0, layered=False, screen=True)
    frames = [Settings(max_fps=fps) for fps in (16.0, 12.0, 6.0)]
    assert [rung.settings for rung in rungs(screen, Limit.BANDWIDTH)] == frames
    assert [rung.settings for rung in rungs(replace(screen, layered=True), Limit.BANDWIDTH)] == [
        *frames,
        Settings(simulcast=False),
    ]


def test_a_video_gives_way_to_a_screen_in_two_steps_of_three_quarters_of_what_it_sends_at_most() -> None:
    least, most = yields(PUBLISHED)
    assert least.settings == Settings(lines=360, simulcast=False, max_bitrate_bps=450_000)
    assert most.settings == Settings(lines=180, simulcast=False, max_bitrate_bps=160_000)
    assert yielding(PUBLISHED, (), 600_001.0) == [least, most]
    assert yielding(PUBLISHED, (), 599_999.0) == [most]
    assert yielding(PUBLISHED, (least,), 450_000.0) == [most]
    assert yielding(PUBLISHED, (most,), 450_000.0) == yielding(PUBLISHED, (), 200_000.0) == []


def test_a_change_is_judged_after_fifteen_seconds_and_a_codec_after_thirty() -> None:
    published = replace(PUBLISHED, codec=VideoCodec.AV1)
    run = Run(published).go(WIDE, 20).see(hopeless(published), 400)
    courses = [(at, decision.course, decision.move.value) for at, decision in run.told]
    waits = {
        move: later - at
        for (at, course, move), (later, after, _) in pairwise(courses)
        if (course, after) == (Course.DOWN, Course.UNDONE)
    }
    assert waits == {"fps": 15, "lines": 15, "codec": 30}


def test_what_did_not_help_is_barred_for_a_minute_then_two_up_to_ten() -> None:
    run = Run().go(WIDE, 20).see(hopeless(), 2500)
    thinner = Settings(max_fps=20.0)
    undone = [at for at, item in run.told if item.course is Course.UNDONE and item.from_settings == thinner]
    tried = [at for at, item in run.told if item.course is Course.DOWN and item.settings == thinner]
    waits = [again - at for at, again in zip(undone, tried[1:], strict=False)]
    barred = [60, 120, 240, 480, 600, 600]
    assert all(least <= wait < least + 10 for wait, least in zip(waits, barred, strict=True))


@pytest.mark.parametrize(("uplink_bps", "raised"), [(1_130_000, False), (1_140_000, True)])
def test_it_grows_where_the_way_carries_one_and_a_half_times_the_least(uplink_bps: int, raised: bool) -> None:
    """Two lower layers of 160 and 450 kb/s, and 1.5 times the 350 of 540 lines."""
    run = Run().go(WIDE, 20).go(Machine(700_000), 40).go(Machine(uplink_bps), 60)
    assert bool(told(run, Course.UP)) is raised


def test_it_goes_up_after_ten_seconds_of_bandwidth_and_thirty_of_cpu() -> None:
    narrow = Run().go(WIDE, 20).go(Machine(700_000), 40).go(WIDE, 40)
    assert told(narrow, Course.UP) == [60 + 10, 60 + 10 + 5 + 10], (
        "after a change six seconds of peace, the last counts"
    )
    slow = Run().go(WIDE, 20).go(Machine(cores=1.2), 60).go(WIDE, 40)
    assert told(slow, Course.UP) == [80 + 30]


@pytest.mark.parametrize(
    ("short", "waits"),
    [
        (Machine(cores=1.2), [30, 60, 120, 240, 300, 300]),
        (Machine(1_050_000), [10, 20, 40, 80, 160, 300, 300]),
    ],
    ids=["cpu", "bandwidth"],
)
def test_the_wait_for_more_doubles_up_to_five_minutes_until_one_holds_for_a_minute(
    short: Machine, waits: list[int]
) -> None:
    run = Run().go(WIDE, 20)

    def room_until_up() -> int:
        run.go(short, 30)
        began, before = run.at, len(told(run, Course.UP))
        while len(told(run, Course.UP)) == before:
            run.go(WIDE, 1)
            assert run.at < began + 600
        return run.at - began

    assert [room_until_up() for _ in waits] == waits
    run.go(WIDE, 59)
    assert room_until_up() == waits[-1], "it did not hold for a minute"
    run.go(WIDE, 60)
    assert room_until_up() == waits[0]


def test_a_codec_is_changed_twice_in_a_minute_at_most() -> None:
    published = replace(PUBLISHED, codec=VideoCodec.AV1)
    run = Run(published).go(WIDE, 20)
    for _ in range(8):
        run.see(hopeless(published), 60).go(WIDE, 60)
    changed = [at for at, item in run.told if item.settings.track != item.from_settings.track]
    assert len(changed) >= 3
    assert publishing.REPUBLISH_EVERY_S == 30.0
    assert all(sum(at <= later < at + 60 for later in changed) <= 2 for at in changed)

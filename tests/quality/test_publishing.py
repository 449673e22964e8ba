"""How a sent video follows what machine and way out carry: down, watched, undone where it does not help, and up."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quality import publishing
from quality.publish_ladder import Limit, Move, Published, Settings, fitting_lines, least_bps, needed_bps, scaled_size
from quality.publish_signs import read_signs
from quality.publishing import Course
from quality.sent_layers import SentLayer, pictures_encoded, sent_layers
from quality.stats import OutboundRtp, QualityLimitationReason, TrackKind, TrackSnapshot, TrackSource
from quality.video_model import VideoCodec
from quality.window import Window, delta
from tests.quality.sent_video import PUBLISHED, Machine, Run
from tests.quality.traces import EPOCH

WIDE, NARROW = Machine(), Machine(900_000)


def test_what_goes_well_is_left_alone() -> None:
    assert Run().go(WIDE, 600).told == []


def test_a_highest_layer_that_starves_becomes_smaller_until_it_fits_and_grows_again_with_the_way() -> None:
    run = Run().go(WIDE, 30).go(Machine(1_050_000), 60)
    assert run.state.settings == Settings(lines=540)
    (at, decision), *others = run.told
    assert not others
    assert at <= 30 + 8
    assert (decision.limit, decision.course, decision.move) == (Limit.BANDWIDTH, Course.DOWN, Move.LINES)
    assert "720 lines gets 440 kb/s where it needs 600" in decision.reason
    run.go(Machine(700_000), 60)
    assert run.state.settings == Settings(lines=360)
    run.go(WIDE, 60)
    assert run.state.settings == Settings()
    assert [item.course for _, item in run.told[2:]] == [Course.UP, Course.UP]


def test_a_size_that_only_just_fits_is_passed_over_where_one_below_fits_with_room() -> None:
    run = Run().go(WIDE, 30).go(Machine(1_000_000), 60)
    assert run.moves() == [("down", "lines")]
    assert run.state.settings == Settings(lines=360)


def test_what_libwebrtc_does_well_by_itself_is_left_to_it() -> None:
    run = Run().go(WIDE, 30).go(Machine(500_000), 120)
    assert run.told == [], "it leaves out the highest layer; the two lower ones fit"
    single = Run(replace(PUBLISHED, layered=False)).go(WIDE, 30).go(Machine(300_000), 120)
    assert single.told == [], "it makes a single layer smaller"


def test_where_not_even_the_smaller_picture_fits_the_lower_layers_are_had_as_published() -> None:
    run = Run().go(WIDE, 20).go(Machine(700_000), 40).go(Machine(460_000), 60)
    assert run.moves() == [("down", "lines"), ("undone", "lines")]
    assert run.state.settings == Settings()


def test_a_lowest_layer_that_is_alone_gives_way_to_one_layer_and_the_layers_come_back_in_the_size_that_fits() -> None:
    run = Run().go(WIDE, 30).go(Machine(300_000), 60)
    (at, decision), *others = run.told
    assert not others
    assert at <= 30 + 8
    assert (decision.limit, decision.course, decision.settings) == (
        Limit.BANDWIDTH,
        Course.DOWN,
        Settings(lines=360, simulcast=False),
    )
    assert decision.reason == "only the lowest layer goes out, 180 lines at 160 kb/s"
    run.go(Machine(660_000), 60)
    assert run.state.settings == Settings(lines=360, simulcast=False), "360 lines take 450 and, with room, 225 kb/s"
    run.go(Machine(690_000), 60)
    assert run.state.settings == Settings(lines=360)
    run.go(WIDE, 60)
    assert run.state.settings == Settings()


def test_one_layer_that_shows_no_more_than_the_lowest_of_several_is_undone() -> None:
    def smaller() -> Window:
        window = Machine(300_000).second(PUBLISHED, run.state.settings)
        (*lower, highest) = window.layers
        return window if lower else replace(window, layers=(replace(highest, width=240, height=136, fps=10.0),))

    run = Run().go(WIDE, 20)
    run.see(smaller, 60)
    assert run.moves() == [("down", "simulcast"), ("undone", "simulcast")]
    assert run.told[1][1].reason == "it did not help: less is seen than before"
    assert run.told[1][0] - run.told[0][0] >= publishing.REPUBLISH_EVERY_S


def test_a_lowest_layer_that_is_alone_because_nobody_wants_more_stays() -> None:
    def lowest_wanted() -> Window:
        window = Machine(300_000).second(PUBLISHED, Settings())
        lowest, *others = window.layers
        return replace(window, layers=(lowest, *(replace(each, active=False) for each in others)))

    assert Run().go(WIDE, 20).see(lowest_wanted, 60).told == []


def test_a_wanted_layer_that_the_smaller_picture_does_not_have_brings_the_larger_one_back() -> None:
    run = Run().go(WIDE, 20).go(Machine(700_000), 40)
    assert run.state.settings == Settings(lines=360)

    def lowest_only() -> Window:
        window = Machine(700_000).second(PUBLISHED, run.state.settings)
        lowest = replace(window.layers[0], rid="q", fps=0.0, bitrate_bps=0.0, target_bitrate_bps=0.0, qp=None)
        unwanted = tuple(replace(layer, active=False, fps=0.0, bitrate_bps=0.0) for layer in window.layers)
        return replace(window, layers=(lowest, *unwanted))

    run.see(lowest_only, 2)
    assert run.moves()[-1] == ("undone", "lines")
    assert run.state.settings == Settings()


def test_a_highest_layer_that_comes_and_goes_is_made_smaller() -> None:
    run = Run().go(WIDE, 20)
    for _ in range(8):
        run.go(Machine(655_000), 2).go(Machine(620_000), 3)
    assert ("down", "lines") in run.moves()


def test_a_way_out_that_swings_is_followed_less_and_less_often() -> None:
    run = Run().go(WIDE, 20)
    for _ in range(20):
        run.go(WIDE, 40).go(Machine(800_000), 20)
    ups = [at for at, item in run.told if item.course is Course.UP]
    assert len(ups) <= 12
    waits = [later - earlier for earlier, later in pairwise(ups)]
    assert max(waits) > 2 * min(waits)


def test_an_encoder_that_is_too_slow_gets_fewer_frames_first_then_a_smaller_picture() -> None:
    run = Run().go(WIDE, 20).go(Machine(cores=1.2), 60)
    assert run.moves() == [("down", "fps")]
    assert run.state.settings == Settings(max_fps=20.0)
    run.go(Machine(cores=3.5), 120)
    assert run.state.settings == Settings(max_fps=15.0, lines=540) or run.state.settings.lines == 360
    run.go(WIDE, 400)
    assert run.state.settings == Settings()


def test_a_dear_codec_is_exchanged_for_a_cheap_one_and_comes_back_only_where_there_is_room() -> None:
    run = Run(replace(PUBLISHED, codec=VideoCodec.AV1)).go(WIDE, 20).go(Machine(cores=2.5), 200)
    assert ("down", "codec") in run.moves()
    assert run.state.settings.codec is VideoCodec.VP8
    run.go(Machine(cores=0.1), 900)
    assert run.state.settings == Settings()


def test_a_step_that_does_not_help_is_undone_and_not_tried_again_for_a_while() -> None:
    def hopeless() -> Window:
        window = Machine(cores=0.95).second(PUBLISHED, Settings())
        stuck = tuple(
            replace(layer, fps=10.0, encode_load=0.95, quality_limitation_reason=QualityLimitationReason.CPU)
            for layer in window.layers
        )
        return replace(window, layers=stuck)

    run = Run().go(WIDE, 20).see(hopeless, 60)
    assert run.moves()[:2] == [("down", "lines"), ("undone", "lines")]
    assert "did not help" in run.told[1][1].reason
    run.see(hopeless, 1200)
    downs = [at for at, item in run.told if item.course is Course.DOWN]
    assert len([at for at in downs if at > 700]) < len([at for at in downs if at <= 700])


def test_what_helped_stays_where_the_step_after_it_is_undone() -> None:
    def half_helped() -> Window:
        fps = run.state.settings.max_fps or 30.0
        window = Machine(cores=0.9).second(PUBLISHED, run.state.settings)
        load = {30.0: 0.95, 20.0: 0.8}.get(fps, 0.78)
        limited = QualityLimitationReason.CPU
        layers = (replace(each, encode_load=load, quality_limitation_reason=limited) for each in window.layers)
        return replace(window, layers=tuple(layers))

    run = Run().go(WIDE, 20)
    run.see(half_helped, 60)
    assert run.moves()[:3] == [("down", "fps"), ("down", "fps"), ("undone", "fps")]
    assert run.told[2][1].settings == Settings(max_fps=20.0)


@pytest.mark.parametrize(
    ("fps", "load", "moves"),
    [
        (9.0, 1.2, [("down", "codec")]),
        (4.0, 1.2, [("down", "codec"), ("undone", "codec")]),  # all of few are not better than most of many
        (4.0, 0.9, [("down", "codec"), ("undone", "codec")]),  # time left over shows nobody more
    ],
)
def test_a_cheaper_codec_is_judged_by_the_wanted_frames_that_come_not_by_those_that_are_captured(
    fps: float, load: float, moves: list[tuple[str, str]]
) -> None:
    run = short_of_cpu(lambda cheap: (720, fps, load) if cheap else (720, 5.0, 1.2))
    assert [move for move in run.moves() if move[1] == "codec"][:2] == moves


def test_a_cheaper_codec_begins_with_the_size_that_libwebrtc_had_come_to() -> None:
    run = short_of_cpu(lambda cheap: (360, 16.0, 0.7) if cheap else (270, 8.0, 1.2))
    codec = next(item for _, item in run.told if item.move is Move.CODEC)
    assert codec.settings == Settings(lines=360, codec=VideoCodec.VP8)
    assert ("down", "lines") not in run.moves(), "it does so by itself"
    run.go(Machine(cores=0.1), 900)
    ups = [item.settings for _, item in run.told if item.course is Course.UP]
    assert ups == [Settings(lines=360), Settings(lines=540), Settings()]
    assert run.state.settings == Settings()


def test_a_return_to_the_dearer_codec_that_is_refused_is_left_until_there_is_room_for_it() -> None:
    run = short_of_cpu(lambda cheap: (360, 6.0, 0.95) if cheap else (480, 9.0, 0.95), refuses=Course.UNDONE)
    assert run.moves()[:2] == [("down", "codec"), ("undone", "codec")]
    assert run.moves().count(("undone", "codec")) == 1
    assert run.state.settings.codec is VideoCodec.VP8
    run.go(Machine(cores=0.1), 300)
    assert run.state.settings == Settings()


def test_a_return_that_is_refused_where_there_is_room_is_tried_later_each_time() -> None:
    published = replace(PUBLISHED, codec=VideoCodec.AV1)
    run = Run(published, refuses=Course.UP).go(WIDE, 20).go(Machine(cores=2.5), 200)
    assert run.state.settings.codec is VideoCodec.VP8
    run.told.clear()
    run.go(Machine(cores=0.1), 900)
    tries = [at for at, item in run.told if (item.course, item.move) == (Course.UP, Move.CODEC)]
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert [wait // 60 for wait in waits] == [1, 2, 4, 5]


@pytest.mark.parametrize(("lines", "undone"), [(360, True), (540, False)])
def test_fewer_frames_of_a_larger_picture_may_be_more(lines: int, undone: bool) -> None:
    run = short_of_cpu(lambda cheap: (lines, 7.0, 0.95) if cheap else (360, 8.0, 1.2))
    assert (("undone", "codec") in run.moves()[:6]) is undone


def test_a_codec_that_is_encoded_in_time_but_shows_less_is_undone() -> None:
    run = short_of_cpu(lambda cheap: (180, 8.0, 0.5) if cheap else (360, 8.0, 1.2))
    undone = next(item for _, item in run.told if (item.course, item.move) == (Course.UNDONE, Move.CODEC))
    assert undone.reason == "it did not help: less is seen than before"


@pytest.mark.parametrize("calm", range(3))
def test_a_single_second_without_trouble_does_not_save_what_did_not_help(calm: int) -> None:
    seconds = count()
    run = short_of_cpu(lambda cheap: (720, 4.0 if cheap else 5.0, 0.5 if cheap and next(seconds) % 3 == calm else 1.2))
    assert ("undone", "codec") in run.moves()
    assert all("of the time" in item.reason for _, item in run.told), "what was wrong, also in a calm second"


@pytest.mark.parametrize(("wanted", "down"), [(True, Move.CODEC), (False, Move.LINES)])
def test_a_small_picture_that_is_wanted_as_small_is_not_taken_for_one_that_was_made_smaller(
    wanted: bool, down: Move
) -> None:
    """Where viewers want the lower layers only, a smaller picture takes work off the encoder."""
    published = replace(PUBLISHED, codec=VideoCodec.VP9)
    run = Run(published).go(WIDE, 20)

    def starved() -> Window:
        window = Machine().second(published, run.state.settings)
        layers = [
            replace(each, fps=5.0, encode_load=1.2, quality_limitation_reason=QualityLimitationReason.CPU)
            for each in window.layers
        ]
        highest = replace(layers[-1], active=wanted, width=480, height=270)
        return replace(window, layers=(*layers[:-1], highest))

    run.see(starved, 10)
    assert [item.move for _, item in run.told] == [down]


def test_a_layer_of_an_unknown_name_is_judged_as_well() -> None:
    published = replace(PUBLISHED, codec=VideoCodec.VP9)
    window = Machine(cores=2.0).second(published, Settings())
    signs = read_signs(published, Settings(), replace(window, layers=(replace(window.layers[-1], rid="x"),)))
    assert signs is not None
    assert signs.trouble.keys() == {Limit.CPU}


def test_an_encoder_that_is_swamped_gets_at_once_the_picture_that_it_has_the_time_for() -> None:
    """A cap on frames above what it manages takes nothing off it."""
    run = Run(replace(PUBLISHED, width=1920, height=1080)).go(Machine(cores=0.1), 20).go(Machine(cores=2.0), 60)
    assert [(item.move, item.settings) for _, item in run.told] == [(Move.LINES, Settings(lines=360))]


def short_of_cpu(second: Callable[[bool], tuple[int, float, float]], *, refuses: Course | None = None) -> Run:
    """VP9 that is encoded with those lines, frames a second and load; called with whether VP8 is there in its place."""
    published = replace(PUBLISHED, codec=VideoCodec.VP9)
    run = Run(published, refuses).go(WIDE, 20)

    def starved() -> Window:
        cheap = run.state.settings.codec is VideoCodec.VP8
        lines, fps, load = second(cheap)
        window = Machine().second(published, run.state.settings, captured_fps=15.0 if cheap else fps)
        width, height = scaled_size(1280, 720, lines)
        limited = QualityLimitationReason.CPU
        like = replace(window.layers[-1], width=width, height=height, fps=fps, encode_load=load)
        return replace(window, layers=(replace(like, quality_limitation_reason=limited),))

    return run.see(starved, 400)


def test_a_second_in_which_an_encoder_did_well_is_no_help() -> None:
    def hopeless() -> Window:
        seconds[0] += 1
        window = Machine().second(PUBLISHED, Settings())
        well = seconds[0] % 5 == 0
        return replace(
            window,
            layers=tuple(
                replace(
                    layer,
                    fps=25.0 if well else 8.0,
                    encode_load=0.95,
                    quality_limitation_reason=QualityLimitationReason.CPU,
                )
                for layer in window.layers
            ),
        )

    for begin in range(5):
        seconds = [begin]
        run = Run().go(WIDE, 20).see(hopeless, 45)
        assert run.moves()[:2] == [("down", "lines"), ("undone", "lines")]


def test_a_screen_keeps_its_size() -> None:
    screen = replace(PUBLISHED, layered=False, screen=True, fps=15.0)

    def dropped() -> Window:
        window = Machine(200_000).second(screen, Settings())
        (layer,) = window.layers
        return replace(window, captured_fps=15.0, layers=(replace(layer, fps=4.0, target_bitrate_bps=150_000.0),))

    run = Run(screen).go(WIDE, 20).see(dropped, 10)
    assert run.moves() == [("down", "fps")]
    assert run.state.settings == Settings(max_fps=10.0)


def test_a_screen_of_which_the_lowest_layer_alone_goes_out_has_one_layer_of_its_size_and_keeps_its_frames() -> None:
    screen = replace(PUBLISHED, screen=True, fps=15.0)

    def dropped() -> Window:
        window = Machine(200_000).second(replace(screen, layered=False), Settings())
        (layer,) = window.layers
        return replace(window, captured_fps=15.0, layers=(replace(layer, fps=8.0, target_bitrate_bps=150_000.0),))

    run = Run(screen).go(WIDE, 20).see(dropped, 10)
    assert run.state.settings == Settings(max_fps=10.0)
    run.see(lambda: Machine(300_000).second(screen, run.state.settings), 40)
    assert run.state.settings == Settings(max_fps=10.0, simulcast=False)


def test_a_screen_whose_highest_layer_hardly_comes_has_one_layer_and_fewer_frames_where_that_is_refused() -> None:
    screen = Published(1920, 1080, 15.0, screen=True)

    def starved() -> Window:
        window = Machine().second(screen, Settings())
        lowest, middle, highest = window.layers
        starving = replace(highest, fps=3.0, target_bitrate_bps=80_000.0, bitrate_bps=80_000.0)
        return replace(window, layers=(lowest, middle, starving), available_bandwidth_bps=500_000.0)

    run = Run(screen).see(starved, 30)
    assert run.told[0][1].settings == Settings(simulcast=False)
    refusing = Run(screen)
    while not refusing.told:
        before = refusing.state
        refusing.see(starved, 1)
    refusing.state = publishing.refused(before, refusing.told[0][1], EPOCH + refusing.at)
    assert refusing.see(starved, 30).moves()[1] == ("down", "fps")


@pytest.mark.parametrize(
    "changes",
    [
        {"muted": True},
        {"was_muted": True},
        {"measured": False},
        {"captured_fps": 0.0},
        {"captured_fps": None},
        {"duration_s": 5.0},
    ],
)
def test_nothing_is_decided_where_nothing_can_be_said(changes: dict[str, object]) -> None:
    assert Run().go(WIDE, 20).go(Machine(900_000), 100, **changes).told == []


def test_the_time_that_a_reconnect_took_is_no_trouble_and_the_way_may_settle_after_it() -> None:
    run = Run().go(WIDE, 40)
    run.at += 11
    run.go(NARROW, 1, duration_s=12.0).go(NARROW, int(publishing.SETTLE_S) - 1).go(WIDE, 60)
    assert run.told == []


def test_a_look_without_an_answer_counts_for_the_seconds_that_it_took() -> None:
    run = Run().go(WIDE, 40)
    run.at += 2
    assert run.go(NARROW, 1, duration_s=3.0).go(NARROW, 3).moves() == [("down", "lines")]


def test_layers_that_nobody_wants_are_no_trouble() -> None:
    def unwanted() -> Window:
        window = Machine(900_000).second(PUBLISHED, Settings())
        return replace(window, layers=tuple(replace(layer, active=False, fps=0.0) for layer in window.layers))

    assert Run().go(WIDE, 20).see(unwanted, 100).told == []


def test_a_new_publication_is_given_time_to_come_up() -> None:
    assert Run().go(Machine(900_000), int(publishing.START_S)).told == []


machines = st.builds(
    Machine, uplink_bps=st.floats(min_value=30_000, max_value=20e6), cores=st.floats(min_value=0.02, max_value=5.0)
)
publications = st.builds(
    Published,
    width=st.sampled_from((640, 960, 1280, 1920)),
    height=st.sampled_from((360, 540, 720, 1080)),
    fps=st.sampled_from((10.0, 15.0, 25.0, 30.0, 60.0)),
    codec=st.sampled_from((VideoCodec.VP8, VideoCodec.H264, VideoCodec.VP9, VideoCodec.AV1)),
    layered=st.booleans(),
    screen=st.booleans(),
)


@given(publications, st.lists(st.tuples(machines, st.integers(min_value=1, max_value=60)), max_size=5))
@example(
    Published(640, 360, 15.0, VideoCodec.VP9, layered=False, screen=True),
    [(Machine(30_000.0, 3.0), 17), (Machine(30_000.0, 1.0), 50)],
)
@example(
    Published(640, 360, 60.0, VideoCodec.VP9, layered=False),
    [(Machine(30_000.0, 1.0), 24), (Machine(30_000.0, 3.0), 60)],
)
@settings(max_examples=15, deadline=None)
def test_decisions_are_few_apart_within_bounds_and_follow_each_other(
    published: Published, phases: list[tuple[Machine, int]]
) -> None:
    run = Run(published)
    for machine, seconds in phases:
        run.go(machine, seconds)
    now = Settings()
    for _, item in run.told:
        assert item.from_settings == now
        assert item.settings != now
        now = item.settings
        assert item.reason
        assert item.expects
        assert now.max_fps is None or 5.0 <= now.max_fps < max(published.fps, 5.1)
        assert now.lines is None or 360 <= now.lines < published.lines
        assert not (published.screen and now.lines)
    ats = [at for at, _ in run.told]
    assert all(later - earlier >= publishing.SETTLE_S for earlier, later in pairwise(ats))
    republished = [at for at, item in run.told if item.settings.track != item.from_settings.track]
    gaps = [later - earlier for earlier, later in pairwise(republished)]
    assert all(gap >= publishing.REPUBLISH_EVERY_S for gap in gaps)


@given(machines)
@settings(max_examples=15, deadline=None)
def test_on_a_machine_that_stays_as_it_is_decisions_end(machine: Machine) -> None:
    run = Run().go(machine, 600)
    late = [item for at, item in run.told if at > 400]
    assert len(late) <= 2


@given(publications, st.floats(min_value=0, max_value=20e6))
def test_what_fits_needs_no_more_than_there_is(published: Published, available: float) -> None:
    lines = fitting_lines(published, available)
    if lines is not None:
        assert needed_bps(published, lines) <= available
        width, height = scaled_size(published.width, published.height, lines)
        assert width % 2 == height % 2 == 0 or lines == published.lines
        assert min(width, height) <= published.lines
    else:
        assert available < needed_bps(published, published.lines)


@given(st.integers(min_value=1, max_value=2160), st.integers(min_value=1, max_value=2160))
def test_more_lines_never_need_less(one: int, other: int) -> None:
    assert least_bps(min(one, other)) <= least_bps(max(one, other))


def test_a_layer_is_worked_out_from_two_snapshots() -> None:
    before = OutboundRtp(rid="f", frames_encoded=10, bytes_sent=1000, qp_sum=100, total_encode_time=1.0, active=True)
    after = OutboundRtp(
        rid="f",
        frames_encoded=60,
        bytes_sent=51_000,
        qp_sum=2100,
        total_encode_time=1.5,
        active=True,
        frame_width=1280,
        frame_height=720,
        target_bitrate=500_000.0,
        key_frames_encoded=1,
    )
    small = replace(after, rid="q", frame_width=320, frame_height=180)
    assert [layer.rid for layer in sent_layers([(before, after), (before, small)], 2.0)] == ["q", "f"]
    (layer,) = sent_layers([(before, after)], 2.0)
    none = QualityLimitationReason.NONE
    assert layer == SentLayer("f", True, 1280, 720, 25.0, 200_000.0, 500_000.0, 40.0, 0.25, 1, none)
    (still,) = sent_layers([(after, after)], 2.0)
    assert (still.qp, still.fps, still.encode_load) == (None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("mime_type", "counted", "told_fps", "pictures"),
    [
        ("video/VP9", 90, 30.0, 30),  # three spatial layers
        ("video/VP9", 27, 9.0, 9),
        ("video/VP9", 60, 30.0, 30),  # small: two
        ("video/VP9", 30, 30.0, 30),  # or one
        ("video/VP9", 30, 0.0, 30),  # nothing in the last second: not known how many
        ("video/VP9", 90, 5.0, 30),  # it has just fallen: three at most
        ("video/VP8", 30, 10.0, 30),
        ("video/AV1", 30, 30.0, 30),
        ("", 90, 30.0, 90),
    ],
)
def test_each_spatial_layer_of_a_vp9_picture_is_counted_as_a_frame_and_is_none(
    mime_type: str, counted: int, told_fps: float, pictures: int
) -> None:
    before = OutboundRtp(packets_sent=1, frames_encoded=100, mime_type=mime_type)
    after = replace(before, packets_sent=9, frames_encoded=100 + counted, frames_per_second=told_fps)
    assert pictures_encoded(before, after, 1.0) == pictures
    snapshots = [
        TrackSnapshot("TR", TrackKind.VIDEO, TrackSource.CAMERA, at, (stream,))
        for at, stream in ((5.0, before), (6.0, after))
    ]
    window = delta(*snapshots)
    assert window.fps == window.layers[0].fps == pictures


def test_of_vp9_whose_encoder_counts_as_many_frames_as_were_captured_a_third_is_delivered() -> None:
    before = OutboundRtp(packets_sent=1, frames_captured=0, mime_type="video/VP9", frame_width=1280, frame_height=720)
    after = replace(
        before,
        packets_sent=9,
        bytes_sent=9_000,
        frames_captured=30,
        frames_encoded=30,
        frames_per_second=10.0,
        total_encode_time=0.9,
    )
    video = TrackSnapshot("TR", TrackKind.VIDEO, TrackSource.CAMERA, 5.0, (before,))
    window = delta(video, replace(video, timestamp=6.0, stats=(after,)))
    signs = read_signs(Published(1280, 720, 30.0, VideoCodec.VP9, layered=False), Settings(), window)
    assert signs is not None
    assert signs.delivered == pytest.approx(1 / 3)
    assert signs.trouble == {Limit.CPU: "33% of the frames are encoded, which takes 90% of the time"}

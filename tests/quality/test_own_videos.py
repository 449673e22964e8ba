"""A camera and a screen over one way out: the camera gives way to the screen, and comes back when both fit."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from quality import publishing
from quality.own_videos import OwnVideo, shares
from quality.publish_ladder import Limit, Move, Settings
from quality.publish_share import Share
from quality.publish_side import BARRED_S
from quality.publishing import Course
from tests.quality.sent_video import PUBLISHED, Machine
from tests.quality.shared_way import CAMERA, NEEDED_BPS, SCREEN, SHARED, Way
from tests.quality.traces import EPOCH

GIVEN_WAY = Settings(lines=180, simulcast=False, max_bitrate_bps=160_000)


def test_where_both_fit_nothing_is_decided() -> None:
    assert Way().go(4e6, 300).told == []


def test_a_camera_leaves_the_way_to_a_screen_that_starves_and_comes_back_step_by_step() -> None:
    way = Way().go(4e6, 30).go(800_000, 90)
    assert way.moves() == [(CAMERA, "down", "bitrate")]
    at, _, decision = way.told[0]
    assert at <= 30 + 8
    assert decision.settings == GIVEN_WAY
    assert decision.reason == "screen comes first: 67% of the screen's frames go out at 400 kb/s"
    assert decision.expects == "more of the screen's frames within 15 s, as this video takes 160 kb/s at most"
    way.go(1_400_000, 60)
    assert way.states[CAMERA].settings == replace(GIVEN_WAY, lines=360, max_bitrate_bps=450_000)
    way.go(4e6, 60)
    assert way.states[CAMERA].settings == Settings()
    assert way.moves()[1:] == [(CAMERA, "up", "bitrate")] * 2


def test_a_camera_that_sends_much_gives_up_no_more_than_helps() -> None:
    way = Way().go(6e6, 30).go(1_300_000, 90, needed_bps=1_000_000.0)
    assert way.states[CAMERA].settings == replace(GIVEN_WAY, lines=360, max_bitrate_bps=450_000)
    assert way.states[SCREEN].settings == Settings()


def test_a_screen_that_the_camera_cannot_help_gets_fewer_frames_and_the_camera_its_bitrate_back() -> None:
    way = Way().go(4e6, 30)
    while not way.told:
        way.go(800_000, 1)
    assert way.moves() == [(CAMERA, "down", "bitrate")]
    way.go(430_000, 60)
    at = {move: at for move, (at, _, _) in zip(way.moves(), way.told, strict=True)}
    gave_way, undone = at[CAMERA, "down", "bitrate"], at[CAMERA, "undone", "bitrate"]
    assert undone - gave_way == publishing.REPUBLISH_EVERY_S
    assert at[SCREEN, "down", "fps"] - gave_way >= publishing.WATCH_S, "it waits for what the camera can do"


def test_a_camera_comes_back_when_the_screen_has_gone() -> None:
    way = Way().go(4e6, 30).go(800_000, 60)
    assert way.states[CAMERA].settings == GIVEN_WAY
    del way.states[SCREEN]
    way.go(800_000, 75)
    assert way.states[CAMERA].settings.max_bitrate_bps is None


def test_a_screen_that_goes_while_the_camera_is_watched_leaves_nothing_to_judge() -> None:
    way = Way().go(4e6, 30)
    while not way.told:
        way.go(800_000, 1)
    del way.states[SCREEN]
    assert Course.UNDONE not in {item.course for _, _, item in way.go(4e6, 60).told}
    assert way.states[CAMERA].settings == Settings()


def test_a_screen_that_goes_while_the_camera_does_not_help_it_leaves_no_trouble_behind() -> None:
    way = Way().go(8e6, 30)
    while not way.told:
        way.go(1_400_000, 1, needed_bps=2e6)
    assert way.states[CAMERA].settings.max_bitrate_bps == 450_000, "it could give up more"
    way.go(900_000, int(publishing.REPUBLISH_EVERY_S) - 1, needed_bps=2e6)
    del way.states[SCREEN]
    way.go(8e6, 60)
    assert [item.course for _, name, item in way.told if name == CAMERA] == [Course.DOWN, Course.UP]
    assert way.states[CAMERA].settings == Settings()


def test_where_another_track_is_refused_the_screen_gets_fewer_frames_and_it_is_asked_for_again_later() -> None:
    way = Way(refuses=True).go(4e6, 30).go(800_000, 60)
    assert way.states[CAMERA].settings == Settings()
    assert way.moves()[:2] == [(CAMERA, "down", "bitrate"), (SCREEN, "down", "fps")]
    asked = [at for at, _, item in way.go(500_000, 120).told if item.move is Move.BITRATE]
    assert all(later - earlier >= BARRED_S for earlier, later in pairwise(asked))
    assert len(asked) >= 2


def test_what_others_send_is_not_there_for_a_video() -> None:
    way = Way()
    own = way.second(2e6, NEEDED_BPS)
    beside = OwnVideo(own[CAMERA].window, None)
    shared = shares({**own, "clip": beside}, EPOCH)
    sent = own[CAMERA].window.bitrate_bps
    assert shared[CAMERA].taken_bps == own[SCREEN].window.bitrate_bps + sent
    assert shared[SCREEN].taken_bps == 2 * sent
    assert shared[CAMERA].of(own[CAMERA].window).available_bandwidth_bps == 2e6 - shared[CAMERA].taken_bps
    (camera, *_) = shared.values()
    assert camera.screen is not None
    assert camera.screen.name == SCREEN
    assert shared["clip"].screen == camera.screen, "it is not adapted, and so asked nothing"


def test_a_way_whose_width_is_not_known_stays_unknown_and_one_that_is_full_has_nothing_left() -> None:
    window = Machine(1e6).second(PUBLISHED, Settings())
    assert Share(5e5).of(replace(window, available_bandwidth_bps=None)).available_bandwidth_bps is None
    assert Share(2e6).of(window).available_bandwidth_bps == 0.0


def test_a_muted_camera_is_waited_for_by_no_screen() -> None:
    way = Way()
    own = way.second(800_000, NEEDED_BPS)
    muted = replace(own[CAMERA], window=replace(own[CAMERA].window, muted=True))
    assert shares(own, EPOCH)[SCREEN].waits
    assert not shares({**own, CAMERA: muted}, EPOCH)[SCREEN].waits


ways = st.lists(
    st.tuples(
        st.floats(min_value=100_000, max_value=8e6),
        st.integers(min_value=1, max_value=90),
        st.floats(min_value=50_000, max_value=3e6),
        st.booleans(),
    ),
    max_size=6,
)


@given(ways)
@settings(max_examples=30, deadline=None)
def test_tracks_are_published_anew_few_apart_and_a_screen_keeps_its_size(
    phases: list[tuple[float, int, float, bool]],
) -> None:
    way = Way()
    for total_bps, seconds, needed_bps, shared in phases:
        if shared:
            way.states.setdefault(SCREEN, publishing.start(SHARED, EPOCH + way.at))
        else:
            way.states.pop(SCREEN, None)
        way.go(total_bps, seconds, needed_bps)
    screen = [item.settings for _, name, item in way.told if name == SCREEN]
    assert {(each.lines, each.max_bitrate_bps) for each in screen} <= {(None, None)}
    told = [(at, item) for at, name, item in way.told if name == CAMERA]
    now = Settings()
    for _, item in told:
        assert item.from_settings == now
        assert item.settings != now
        now = item.settings
        assert item.limit is Limit.BANDWIDTH
        assert item.reason
        assert item.expects
    anew = [at for at, item in told if item.settings.track != item.from_settings.track]
    assert all(later - earlier >= publishing.REPUBLISH_EVERY_S for earlier, later in pairwise(anew)), told


@given(st.floats(min_value=100_000, max_value=8e6), st.floats(min_value=50_000, max_value=3e6))
@settings(max_examples=20, deadline=None)
def test_on_a_way_that_stays_as_it_is_decisions_end(total_bps: float, needed_bps: float) -> None:
    way = Way().go(total_bps, 900, needed_bps)
    late = [(at, name, item.move, item.course) for at, name, item in way.told if at > 600]
    assert len(late) <= 4, late

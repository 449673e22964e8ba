"""The simulated world keeps its books, and the controller in it is deterministic and bounded."""

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.room.layer_subscriptions import layer_subscription
from agent.room.state import TrackState
from quality.allocation import priority
from quality.stats import VideoLayer, VideoQuality
from quality.trains import total, train
from tests.simulation.baselines import AlwaysHigh, NaiveThresholds, Ours, as_rooms_tell
from tests.simulation.links import DEVELOPMENT, TICK_S, Trace, constant, lte, rfc8867, step
from tests.simulation.optimum import instant, planned, settled
from tests.simulation.receivers import MOST_NACKS, Arrival, SdkReceiver, TapReceiver
from tests.simulation.rooms import LAYERS, ONE, SPARSE, THREE
from tests.simulation.run import run
from tests.simulation.world import AUDIO_BPS, QUEUE_S, World

BEST = 2_600_000.0 + AUDIO_BPS


def test_rfc_8867_has_its_four_capacities() -> None:
    trace = rfc8867()
    seconds = [trace.capacity_bps[round(at / TICK_S)] for at in (0, 39.9, 40, 59.9, 60, 79.9, 80, 99.9)]
    assert seconds == [1e6, 1e6, 2.5e6, 2.5e6, 0.6e6, 0.6e6, 1e6, 1e6]


def test_lte_depends_on_its_seed_alone() -> None:
    assert lte(5) == lte(5)
    assert lte(5) != lte(6)


@settings(max_examples=15, deadline=None)
@given(st.floats(300_000.0, 6e6), st.integers(0, 1000))
def test_no_more_arrives_than_the_link_carries(bps: float, seed: int) -> None:
    world = World(constant(bps, 10), THREE, seed)
    for _ in range(10):
        windows, seen = world.second()
        assert sum(window.bitrate_bps for window in windows) <= bps * 1.01
        assert seen.queue_s <= QUEUE_S + 1e-9
        assert all(0.0 <= window.loss_ratio <= 1.0 for window in windows)


def test_a_wide_link_shows_everything_and_loses_nothing() -> None:
    world = World(constant(8e6, 20), THREE, weights=tuple(priority(item) for item in THREE))
    for second in range(20):
        windows, seen = world.second()
        assert [window.packets_lost for window in windows] == [0, 0, 0]
        assert seen.freezes == 0
        if second > 0:
            assert seen.utility == pytest.approx(instant(constant(8e6, 1), THREE)[0])


@pytest.mark.parametrize("bps", [1e6, 2e6, 6e6])
def test_packets_of_a_frame_come_as_far_apart_as_the_link_sends_them_also_as_its_queue_drains(bps: float) -> None:
    world = World(constant(bps, 90), THREE, 100)
    for _ in range(30):
        world.second()
    world.ask({item.track_sid: VideoQuality.LOW if bps < 2e6 else VideoQuality.MEDIUM for item in THREE})
    for _ in range(5):
        world.second()
    seen = total(train(window) for _ in range(50) for window in world.second()[0])
    assert seen.bits / seen.seconds == pytest.approx(bps, rel=0.1)


def test_what_is_asked_for_is_forwarded_about_a_second_later() -> None:
    world = World(constant(8e6, 10), ONE)
    world.second()
    world.ask({"TR_speaker": VideoQuality.LOW})
    windows = [world.second()[0][0] for _ in range(3)]
    assert windows[-1].frame_width == LAYERS[0].width
    assert windows[-1].bitrate_bps == pytest.approx(160_000.0, rel=0.3)
    assert windows[-1].layer_distance == 0


def test_the_server_gives_less_on_a_narrow_link_than_is_asked_for() -> None:
    world = World(constant(0.8e6, 20), ONE)
    distances = [world.second()[0][0].layer_distance for _ in range(20)]
    assert max(distances[:5]) > 0


def broken_s(asks: bool, seed: int) -> float:
    """Seconds without pictures, of all tracks, as a link gets narrow; asked for less a second later, or never."""
    world = World(step(low=1.2e6, down=5.0, up=30.0, seconds=30), THREE, seed)
    for second in range(15):
        _, seen = world.second()
        if asks and second == 5:
            world.ask({"TR_speaker": VideoQuality.MEDIUM, "TR_b": VideoQuality.LOW, "TR_c": VideoQuality.LOW})
    return seen.frozen_s


def test_pictures_are_back_sooner_where_the_server_lowers_than_where_less_is_asked_for() -> None:
    """It leaves a layer at once then, and sends nothing of it again; seen on a real link."""
    asked, left = (fmean(broken_s(asks, seed) for seed in range(8)) for asks in (True, False))
    assert asked > 1.2 * left


def test_what_a_full_queue_drops_comes_again_three_times_and_pictures_wait_for_it() -> None:
    world = World(step(high=4e6, low=0.3e6, down=2.0, up=9.0, seconds=10), ONE, 1)
    for _ in range(2):
        world.second()
    (speaker,) = world.tracks
    assert speaker.again_bits == (0.0, 0.0, 0.0)
    world.second()
    first, second, third = speaker.again_bits
    assert first > second > third > 0.0
    _, seen = world.second()
    assert seen.utility < 0.1


@pytest.mark.parametrize(("lost", "told"), [(0.0, 0), (0.2, 1), (5.0, 5), (100.0, MOST_NACKS)])
def test_each_nack_tells_the_estimate_too(lost: float, told: int) -> None:
    receiver = SdkReceiver()
    assert len(receiver.receive(Arrival(0.0, 1e6, 0.0, 0.0, 100.0, 0.0))) == 1
    assert len(receiver.receive(Arrival(TICK_S, 1e6, 0.0, 0.0, 100.0, lost))) == told


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(300_000.0, 4e6), min_size=20, max_size=40))
def test_the_plan_with_few_switches_lies_between_the_best_constant_plan_and_the_instant_one(
    seconds: list[float],
) -> None:
    ticks = round(1 / TICK_S)
    trace = Trace("any", tuple(bps for bps in seconds for _ in range(ticks)), (0.0,) * (ticks * len(seconds)))
    bound, few, free = instant(trace, ONE), planned(trace, ONE)[1], planned(trace, ONE, dwell_s=1)[1]
    assert sum(few) <= sum(free) + 1e-9
    assert sum(free) <= sum(bound) + 1e-6, "worth is counted in billionths there"
    narrowest = planned(constant(min(seconds), 1), ONE)[1][0]
    assert sum(few) >= narrowest * len(seconds) - 1e-9


def test_the_plan_of_a_step_is_known() -> None:
    trace = step(high=BEST + 1.0, low=AUDIO_BPS + 770_000.0, down=20.0, up=40.0, seconds=60)
    plan = planned(trace, THREE)[1]
    assert plan == pytest.approx(planned(trace, THREE, dwell_s=1)[1])
    assert len(set(plan)) == 2
    assert plan[0] == pytest.approx(instant(trace, THREE)[0])
    narrow = constant(AUDIO_BPS + 700_000.0, 1)
    assert planned(narrow, THREE)[1][0] < instant(narrow, THREE)[0], "fewer frames fill what whole layers leave over"


@pytest.mark.parametrize("bps", [0.4e6, 0.8e6, 1.1e6, 1.5e6, 2.2e6])
@pytest.mark.parametrize("receiver", [SdkReceiver, TapReceiver])
def test_nobody_has_more_than_the_bound(bps: float, receiver: type[SdkReceiver] | type[TapReceiver]) -> None:
    trace = constant(bps, 60)
    for make in (Ours, AlwaysHigh, NaiveThresholds):
        assert run(trace, THREE, make, 100, receiver).share(instant(trace, THREE), after=5) <= 1.0


def test_what_the_optimum_settles_at_is_of_the_time_after_it_could_follow_up_to_the_links_next_change() -> None:
    trace = rfc8867()
    utilities = tuple(float(second) for second in range(100))
    result = replace(run(trace, THREE, AlwaysHigh), utilities=utilities)
    assert settled(result, 40.0) == fmean(range(50, 60))
    assert settled(result, 80.0) == fmean(range(90, 100))


def test_the_controller_is_told_of_publishers_what_rooms_tell() -> None:
    for told, item in zip(as_rooms_tell(SPARSE), SPARSE, strict=True):
        track = TrackState(item.track_sid, "", "video", "camera", "", "video/VP8", False, True, 1280, 720)
        layers = tuple(VideoLayer(layer.quality, layer.width, layer.height) for layer in item.layers)
        assert told.layers == layer_subscription(track, layers, max_quality=VideoQuality.HIGH).layers
        assert told.layers[0].fps != item.layers[0].fps


@pytest.mark.parametrize("make", [Ours, AlwaysHigh, NaiveThresholds])
def test_same_seed_same_run(make: type[Ours]) -> None:
    trace = lte(7, 60)
    assert run(trace, THREE, make, 3) == run(trace, THREE, make, 3)
    assert run(trace, THREE, make, 3) != run(trace, THREE, make, 4)


@pytest.mark.parametrize("trace", DEVELOPMENT, ids=lambda trace: trace.name)
def test_what_the_controller_asks_for_switches_a_track_at_most_six_times_a_minute(trace: Trace) -> None:
    made: list[Ours] = []

    def make(subscriptions: tuple[object, ...]) -> Ours:
        made.append(Ours(THREE))
        return made[0]

    run(trace, THREE, make)
    for item in THREE:
        times = [at for at, action in made[0].actions if action.track_sid == item.track_sid]
        assert max((sum(at <= later < at + 60 for later in times) for at in times), default=0) <= 6


@pytest.mark.parametrize("bps", [3e6, 6e6])
def test_a_constant_link_that_carries_all_is_left_alone(bps: float) -> None:
    result = run(constant(bps), THREE, Ours)
    assert result.busiest_minute() == 0
    assert result.share(instant(result.trace, THREE), after=2) > 0.99


def test_the_server_alone_takes_frames_before_it_takes_pixels() -> None:
    world = World(constant(1.5e6, 30), THREE, 100)
    windows = [world.second()[0] for _ in range(30)][-1]
    assert windows[0].frame_height == 720
    assert windows[0].fps < 10.0


def test_the_server_alone_takes_long_to_find_that_a_link_became_wider() -> None:
    trace = step()
    recovered = run(trace, THREE, AlwaysHigh, 100).recovery_s(instant(trace, THREE)[-1], 80.0)
    assert recovered is not None
    assert recovered > 10.0

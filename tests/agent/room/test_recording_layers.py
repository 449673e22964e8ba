"""Which layers are recorded: allocation within a budget, and how seldom it changes its mind."""

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.room.recorded_layers import RecordedLayers
from agent.room.recording_activity import is_heard
from agent.room.recording_layers import RAISE_AFTER_S, LayerAllocator, RecordedVideo, allocate
from agent.room.recording_plan import LayerPolicy
from agent.room.recording_rates import ReceiveRates
from media.tap.events import LayerQuality
from media.tap.tap import Tap
from quality.stats import VideoQuality

LOW, MEDIUM, HIGH = VideoQuality
DECLARED = {LOW: 150_000, MEDIUM: 500_000, HIGH: 1_700_000}


def camera(sid: str, **values: object) -> RecordedVideo:
    """A simulcast camera with LiveKit's layers, all declared."""
    given_or_usual: dict[str, object] = {
        "participant_identity": sid,
        "source": "camera",
        "simulcasted": True,
        "cap": HIGH,
        "taken": HIGH,
        "declared_bps": DECLARED,
    }
    return RecordedVideo(sid, **{**given_or_usual, **values})  # type: ignore[arg-type]  # as the caller says


def cost(videos: Sequence[RecordedVideo], chosen: dict[str, VideoQuality]) -> float:
    return sum(video.cost_bps(chosen[video.sid]) for video in videos)


def test_by_name_each_video_is_taken_in_the_best_layer_that_policy_and_rule_allow() -> None:
    allocator = LayerAllocator()
    videos = [camera("a"), camera("b", cap=LOW)]
    assert allocator.step(LayerPolicy(), videos, 0) == {"a": HIGH, "b": LOW}
    assert allocator.step(LayerPolicy(MEDIUM), videos, 0.1) == {"a": MEDIUM, "b": LOW}


def test_a_budget_raises_screen_shares_first_then_who_is_in_focus_then_all_evenly() -> None:
    videos = [camera("a"), camera("b"), camera("host"), camera("screen", source="screen_share")]
    policy = LayerPolicy(focus=("ho*",))
    assert allocate(policy, videos, 2_200_000) == {"a": LOW, "b": LOW, "host": LOW, "screen": HIGH}
    assert allocate(policy, videos, 2_600_000) == {"a": LOW, "b": LOW, "host": MEDIUM, "screen": HIGH}
    assert allocate(policy, videos, 3_800_000) == {"a": LOW, "b": LOW, "host": HIGH, "screen": HIGH}
    assert allocate(policy, videos, 4_500_000) == {"a": MEDIUM, "b": MEDIUM, "host": HIGH, "screen": HIGH}
    assert allocate(policy, videos, 100) == dict.fromkeys(("a", "b", "host", "screen"), LOW), "recorded all the same"


def test_what_a_person_asked_for_comes_out_of_the_budget_first() -> None:
    others = [camera("b"), camera("c")]
    assert allocate(LayerPolicy(), [camera("a", pinned=HIGH), *others], 2_000_000) == {"a": HIGH, "b": LOW, "c": LOW}
    assert allocate(LayerPolicy(), [camera("a", pinned=LOW), *others], 2_000_000) == {
        "a": LOW,
        "b": MEDIUM,
        "c": MEDIUM,
    }
    videos = [camera("a", pinned=HIGH), *others]
    allocator = LayerAllocator()
    evenly = {"a": MEDIUM, "b": MEDIUM, "c": MEDIUM}
    assert allocator.step(LayerPolicy(budget_bps=2_000_000), [camera("a"), *others], 0) == evenly
    assert allocator.step(LayerPolicy(budget_bps=2_000_000), videos, 1) == {"a": HIGH, "b": LOW, "c": LOW}, "at once"


def test_a_video_with_one_layer_costs_what_it_costs() -> None:
    videos = [camera("a"), camera("plain", simulcasted=False, declared_bps={}, measured_bps=1_000_000.0)]
    assert allocate(LayerPolicy(), videos, 1_600_000)["a"] is MEDIUM
    assert allocate(LayerPolicy(), videos, 1_400_000)["a"] is LOW


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        (camera("a"), (150_000, 500_000, 1_700_000)),
        (camera("a", measured_bps=2_000_000.0), (150_000, 500_000, 2_000_000)),
        (camera("a", declared_bps={}, taken=LOW, measured_bps=100_000.0), (100_000, 300_000, 1_000_000)),
        (camera("a", declared_bps={}), (170_000, 510_000, 1_700_000)),
    ],
)
def test_costs_are_measured_or_declared_or_in_proportion(
    video: RecordedVideo, expected: tuple[float, float, float]
) -> None:
    assert tuple(video.cost_bps(quality) for quality in (LOW, MEDIUM, HIGH)) == pytest.approx(expected)


def test_too_much_goes_down_at_once_and_up_again_only_with_room_to_spare_and_settled() -> None:
    policy, allocator = LayerPolicy(budget_bps=2_000_000), LayerAllocator()
    assert allocator.step(policy, [camera("a")], 0) == {"a": HIGH}
    assert allocator.step(policy, [camera("a", measured_bps=2_500_000.0)], 1) == {"a": MEDIUM}
    within = camera("a", taken=MEDIUM)
    assert allocator.step(policy, [within], RAISE_AFTER_S) == {"a": MEDIUM}, "not before the last change has settled"
    assert allocator.step(policy, [within], RAISE_AFTER_S + 1) == {"a": HIGH}
    tight = LayerPolicy(budget_bps=1_800_000)
    other = LayerAllocator()
    other.step(tight, [camera("a", measured_bps=2_500_000.0)], 0)
    assert other.step(tight, [camera("a", taken=MEDIUM)], 60) == {"a": MEDIUM}, "it fits, but with nothing to spare"


def test_a_noisy_rate_around_the_budget_changes_layers_seldom() -> None:
    policy, allocator = LayerPolicy(budget_bps=1_700_000), LayerAllocator()
    taken, switches = HIGH, 0
    for second in range(300):
        noise = 1.0 + 0.05 * ((second * 7919) % 11 - 5) / 5
        measured = DECLARED[taken] * noise
        chosen = allocator.step(policy, [camera("a", taken=taken, measured_bps=measured)], float(second))["a"]
        switches += chosen is not taken
        taken = chosen
    assert switches <= 1


VIDEOS = st.lists(
    st.builds(
        camera,
        st.sampled_from([f"v{index}" for index in range(8)]),
        source=st.sampled_from(["camera", "screen_share"]),
        cap=st.sampled_from(VideoQuality),
        taken=st.sampled_from(VideoQuality),
        measured_bps=st.just(0.0) | st.floats(1_000, 5_000_000),
        simulcasted=st.booleans(),
        declared_bps=st.sampled_from([{}, DECLARED]),
    ),
    max_size=8,
    unique_by=lambda video: video.sid,
)


@given(VIDEOS, st.integers(1, 20_000_000))
def test_the_budget_holds_wherever_the_lowest_layers_fit(videos: list[RecordedVideo], budget_bps: int) -> None:
    chosen = allocate(LayerPolicy(), videos, budget_bps)
    assert set(chosen) == {video.sid for video in videos}
    lowest = cost(videos, dict.fromkeys(chosen, LOW))
    # A layer that measures less than the one below it may make the sum smaller, never larger.
    assert cost(videos, chosen) <= max(budget_bps, lowest) + 1e-3
    assert all(chosen[video.sid] <= max(LOW, video.cap) for video in videos)


@given(st.lists(VIDEOS, max_size=6), st.integers(100_000, 10_000_000))
def test_over_time_the_budget_holds_too(seconds: list[list[RecordedVideo]], budget_bps: int) -> None:
    allocator, policy = LayerAllocator(), LayerPolicy(budget_bps=budget_bps)
    for second, videos in enumerate(seconds):
        chosen = allocator.step(policy, videos, second * RAISE_AFTER_S)
        assert set(chosen) == {video.sid for video in videos}
        full = allocate(policy, videos, budget_bps)
        assert all(chosen[sid] <= full[sid] for sid in chosen), "never above what fits"


def test_rates_are_of_the_last_second_and_averaged_and_forgotten_with_the_track() -> None:
    rates = ReceiveRates()
    rates.take({"a": 1000}, 10.0)
    assert rates.latest_bps("a") == 0
    rates.take({"a": 2000, "b": 5}, 12.0)
    assert rates.latest_bps("a") == 4000
    rates.take({"a": 4000}, 13.0)
    assert rates.latest_bps("a") == 16_000
    assert 4000 < rates.smooth_bps("a") < 16_000
    rates.take({}, 14.0)
    rates.take({"a": 10**9}, 15.0)
    assert rates.latest_bps("a") == 0, "a new subscription counts from nothing"


def test_who_is_heard_is_the_servers_to_say_or_the_bit_rate() -> None:
    loud, quiet = ReceiveRates(), ReceiveRates()
    for rates, received in ((loud, 4_000), (quiet, 100)):
        rates.take({"TR_a": 0}, 0.0)
        rates.take({"TR_a": received}, 1.0)
    publishers = {"TR_a": "PA_a"}
    assert is_heard(publishers, {}, loud)
    assert not is_heard(publishers, {}, quiet)
    assert is_heard(publishers, {"PA_a": True}, quiet)
    assert not is_heard(publishers, {"PA_a": False}, loud)
    assert not is_heard({}, {"PA_a": True}, loud), "of what is recorded, nobody"


def test_what_a_restart_lowered_stays_lowered_whatever_is_applied_again_until_the_track_is_gone() -> None:
    layers = RecordedLayers(cast("Tap", None), LayerPolicy(), lambda _event: None)
    assert layers.allow("TR_1", HIGH) is LayerQuality.HIGH
    layers.lower("TR_1", MEDIUM)
    assert layers.allow("TR_1", HIGH) is LayerQuality.MEDIUM
    assert layers.allow("TR_1", LOW) is LayerQuality.LOW
    layers.forget("TR_1")
    assert layers.allow("TR_1", HIGH) is LayerQuality.HIGH

"""The allocation against brute force, its properties, and what priority and constraints do, by table."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.allocation import (
    Layer,
    Limit,
    Limits,
    Subscription,
    allocate,
    constrain,
    decode_cores,
    priority,
    utility,
)
from quality.stats import TrackSource, VideoQuality
from quality.video_model import VideoCodec

LOW, MEDIUM, HIGH = VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH
PRESETS = (
    Layer(LOW, 320, 180, 20.0, 160_000.0),
    Layer(MEDIUM, 640, 360, 20.0, 450_000.0),
    Layer(HIGH, 1280, 720, 30.0, 1_700_000.0),
)
CAMERA = Subscription("TR_a", PRESETS)


@st.composite
def rooms(draw: st.DrawFn, most: int = 5) -> tuple[Subscription, ...]:
    found = []
    for at in range(draw(st.integers(0, most))):
        layers = [
            replace(layer, bitrate_bps=layer.bitrate_bps * draw(st.floats(0.2, 2.0)), fps=draw(st.floats(1.0, 60.0)))
            for layer in PRESETS[: draw(st.integers(0, 3))]
        ]
        found.append(
            Subscription(
                f"TR_{at}",
                tuple(draw(st.permutations(layers))),
                draw(st.sampled_from([TrackSource.CAMERA, TrackSource.SCREEN_SHARE])),
                draw(st.sampled_from(list(VideoCodec))),
                draw(st.booleans()),
                draw(st.booleans()),
                draw(st.sampled_from([0, 90, 180, 300, 720, 1080])),
                draw(st.sampled_from(list(VideoQuality))),
            )
        )
    return tuple(found)


bandwidths = st.one_of(st.just(math.inf), st.floats(0.0, 10e6))
cpus = st.one_of(st.just(math.inf), st.floats(0.0, 1.0))


def best_by_brute_force(room: tuple[Subscription, ...], limits: Limits) -> float:
    """Try every combination of the layers that `constrain` allows."""
    best = 0.0
    for picks in product(*[(None, *constrain(item, limits)[0]) for item in room]):
        bits = sum(math.ceil(layer.bitrate_bps) for layer in picks if layer)
        cores = sum(math.ceil(decode_cores(layer, limits) * 1e6) for layer in picks if layer)
        if bits <= limits.bandwidth_bps and cores <= limits.cpu_cores * 1e6:
            values = [priority(item) * utility(layer, item) for item, layer in zip(room, picks, strict=True) if layer]
            best = max(best, sum(values))
    return best


@given(rooms(), bandwidths, cpus)
def test_no_other_choice_is_worth_more(room: tuple[Subscription, ...], bandwidth: float, cpu: float) -> None:
    limits = Limits(bandwidth, cpu)
    assert allocate(room, limits).utility == pytest.approx(best_by_brute_force(room, limits))


@given(rooms(12), bandwidths, cpus, st.booleans())
def test_it_never_exceeds_a_budget(
    room: tuple[Subscription, ...], bandwidth: float, cpu: float, keep_all: bool
) -> None:
    limits = Limits(bandwidth, cpu)
    found = allocate(room, limits, keep_all=keep_all)
    asked = [choice.layer for choice in found.choices if choice.layer]
    assert sum(layer.bitrate_bps for layer in asked) <= bandwidth
    assert sum(decode_cores(layer, limits) for layer in asked) <= cpu + 1e-9
    assert [choice.track_sid for choice in found.choices] == [item.track_sid for item in room]
    assert found.utility == pytest.approx(sum(choice.utility for choice in found.choices))


@given(rooms(12), st.floats(0.0, 10e6), st.floats(0.0, 10e6), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_budget_is_never_worth_less(
    room: tuple[Subscription, ...], bandwidth: float, more_bps: float, cpu: float, more_cores: float
) -> None:
    before = allocate(room, Limits(bandwidth, cpu)).utility
    assert allocate(room, Limits(bandwidth + more_bps, cpu + more_cores)).utility >= before - 1e-9


@given(rooms(12), st.floats(0.0, 10e6), st.floats(0.0, 10e6), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_nor_is_it_where_all_are_kept_that_can_be_had_at_all(
    room: tuple[Subscription, ...], bandwidth: float, more_bps: float, cpu: float, more_cores: float
) -> None:
    before = allocate(room, Limits(bandwidth, cpu), keep_all=True)
    after = allocate(room, Limits(bandwidth + more_bps, cpu + more_cores), keep_all=True)
    possible = [bool(constrain(item, Limits())[0]) for item in room]
    if [choice.layer is not None for choice in before.choices] == possible:
        assert [choice.layer is not None for choice in after.choices] == possible
        assert after.utility >= before.utility - 1e-9


@given(rooms(8), bandwidths)
def test_equal_input_gives_equal_output_in_any_order_of_layers(
    room: tuple[Subscription, ...], bandwidth: float
) -> None:
    turned = tuple(replace(item, layers=item.layers[::-1]) for item in room)
    assert allocate(room, Limits(bandwidth)) == allocate(turned, Limits(bandwidth))


@pytest.mark.parametrize(("bandwidth", "cpu"), [(10e6, math.inf), (10e6, 0.5), (20e6, 1.2), (math.inf, 1.0)])
def test_a_large_room_of_unequal_tracks_is_allocated_too(bandwidth: float, cpu: float) -> None:
    scales = [0.5 + (37 * at % 40) / 40 for at in range(40)]
    room = tuple(
        Subscription(f"TR_{at}", tuple(replace(layer, bitrate_bps=layer.bitrate_bps * scale) for layer in PRESETS))
        for at, scale in enumerate(scales)
    )
    found = allocate(room, Limits(bandwidth, cpu))
    assert found.bitrate_bps <= bandwidth
    assert found.cpu_cores <= cpu
    assert max(found.bitrate_bps / bandwidth, found.cpu_cores / cpu) > 0.95


@pytest.mark.parametrize(
    ("changed", "weight"),
    [({}, 1.0), ({"active_speaker": True}, 2.0), ({"source": TrackSource.SCREEN_SHARE}, 3.0), ({"pinned": True}, 4.0)],
)
def test_what_has_focus_gets_the_larger_layer(changed: dict[str, object], weight: float) -> None:
    focused = replace(CAMERA, track_sid="TR_b", **changed)  # type: ignore[arg-type]
    assert priority(focused) == weight
    found = allocate((CAMERA, focused), Limits(1_900_000))
    qualities = [choice.layer.quality if choice.layer else None for choice in found.choices]
    assert qualities == ([HIGH, LOW] if weight == 1.0 else [LOW, HIGH])


@pytest.mark.parametrize(
    ("subscription", "limits", "quality", "limited_by"),
    [
        (CAMERA, Limits(), HIGH, Limit.NONE),
        (replace(CAMERA, requested_height=360), Limits(), MEDIUM, Limit.SIZE),
        (replace(CAMERA, requested_height=400), Limits(), MEDIUM, Limit.SIZE),
        (replace(CAMERA, requested_height=401), Limits(), HIGH, Limit.NONE),
        (replace(CAMERA, requested_height=2160), Limits(), HIGH, Limit.NONE),
        (replace(CAMERA, max_quality=LOW), Limits(), LOW, Limit.POLICY),
        (CAMERA, Limits(max_quality=MEDIUM), MEDIUM, Limit.POLICY),
        (CAMERA, Limits(max_height=480), MEDIUM, Limit.CAPABILITY),
        (replace(CAMERA, codec=VideoCodec.AV1), Limits(codecs=frozenset({VideoCodec.VP8})), None, Limit.CAPABILITY),
        (CAMERA, Limits(bandwidth_bps=1_699_999), MEDIUM, Limit.BUDGET),
        (CAMERA, Limits(bandwidth_bps=159_999), None, Limit.BUDGET),
        (CAMERA, Limits(cpu_cores=0.1), MEDIUM, Limit.BUDGET),
        (CAMERA, Limits(cpu_cores=0.1, cores_per_pixel=0.0), HIGH, Limit.NONE),
    ],
)
def test_constraints(
    subscription: Subscription, limits: Limits, quality: VideoQuality | None, limited_by: Limit
) -> None:
    choice = allocate((subscription,), limits).choices[0]
    assert (choice.layer.quality if choice.layer else None, choice.limited_by) == (quality, limited_by)


@given(st.floats(10_000, 5e6), st.floats(1.0, 60.0), st.floats(1.0, 3.0))
def test_more_bits_frames_or_pixels_at_one_rate_are_worth_no_less(bps: float, fps: float, factor: float) -> None:
    layer = Layer(MEDIUM, 640, 360, fps, bps)
    assert utility(replace(layer, bitrate_bps=bps * factor), CAMERA) >= utility(layer, CAMERA)
    # More frames share the bits: judge them where there are enough.
    rich = replace(layer, bitrate_bps=50e6)
    assert utility(replace(rich, fps=fps * factor), CAMERA) >= utility(rich, CAMERA)
    assert 0.0 <= utility(layer, CAMERA) <= 1.0


def test_half_the_width_and_height_are_worth_about_what_the_server_takes_off() -> None:
    full = Layer(HIGH, 1280, 720, 30.0, 1_800_000.0)
    half = Layer(MEDIUM, 640, 360, 30.0, 1_000_000.0)
    assert utility(half, replace(CAMERA, layers=(half, full))) == pytest.approx(0.65, abs=0.01)


def test_a_picture_that_is_worth_nothing_is_kept_on_where_all_are_kept() -> None:
    """A camera that shows a still one takes next to no bits, in all its layers."""
    still = replace(CAMERA, layers=tuple(replace(layer, bitrate_bps=layer.bitrate_bps / 1000) for layer in PRESETS))
    assert utility(still.layers[-1], still) == 0.0
    scarce = Limits(cpu_cores=decode_cores(PRESETS[-1], Limits()) / 2)
    assert allocate((still,), scarce, keep_all=True).qualities == {"TR_a": LOW}
    assert allocate((still,), scarce).qualities == {"TR_a": None}

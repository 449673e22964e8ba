"""The video rating at LiveKit's presets, by impairment, and its directions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality.stats import TrackKind, TrackSource
from quality.video_model import Picture, VideoCodec, fps_points, freeze_points, judge, picture, reference_bits_per_pixel
from tests.quality.traces import camera_window

HD = Picture(VideoCodec.VP8, 1280, 720, 30.0, 1_700_000.0)
WINDOW = replace(camera_window(fps=30.0, packets=200), frame_width=1280, frame_height=720)

pictures = st.builds(
    Picture,
    codec=st.sampled_from(VideoCodec),
    width=st.integers(0, 4096),
    height=st.integers(0, 2304),
    fps=st.floats(0.0, 120.0),
    bitrate_bps=st.floats(0.0, 50e6),
    layer_distance=st.integers(0, 2),
    freeze_count=st.integers(0, 5),
    freeze_ratio=st.floats(0.0, 1.0),
    steady=st.booleans(),
)


@pytest.mark.parametrize(
    ("width", "height", "fps", "bitrate_bps"),
    [(320, 180, 20.0, 160e3), (640, 360, 20.0, 450e3), (1280, 720, 30.0, 1.7e6), (1920, 1080, 30.0, 3e6)],
)
def test_each_preset_of_livekit_is_about_as_good_as_can_be(
    width: int, height: int, fps: float, bitrate_bps: float
) -> None:
    assert judge(Picture(VideoCodec.H264, width, height, fps, bitrate_bps)).value > 97.0


@pytest.mark.parametrize(
    ("change", "value", "reason"),
    [
        ({"layer_distance": 1}, 65.0, "1 layer(s) below the requested one: 35 points"),
        (
            {"bitrate_bps": 425_000.0},
            78.0,
            "0.015 bits per pixel in VP8 where 0.061 are usual at 1280x720: 22 points",
        ),
        ({"fps": 12.0, "bitrate_bps": 680_000.0}, 88.1, "12 frames per second: 12 points"),
        ({"freeze_count": 1, "freeze_ratio": 0.5}, 19.3, "1 freeze(s), 50% of the time: 81 points"),
    ],
)
def test_each_impairment_alone(change: dict[str, float], value: float, reason: str) -> None:
    score = judge(replace(HD, **change))  # type: ignore[arg-type]
    assert score.value == pytest.approx(value, abs=0.1)
    assert score.reasons == (reason,)


def test_impairments_add_up_and_each_is_told() -> None:
    score = judge(replace(HD, layer_distance=1, fps=12.0, bitrate_bps=400e3, freeze_count=1, freeze_ratio=0.05))
    assert len(score.reasons) == 4
    lost = score.layer_points + score.coding_points + score.fps_points + score.freeze_points
    assert score.value == pytest.approx(100.0 - lost)


@pytest.mark.parametrize(
    ("codec", "share"),
    [
        (VideoCodec.VP8, 1.0),
        (VideoCodec.H264, 1.0),
        (VideoCodec.VP9, 0.85),
        (VideoCodec.H265, 0.7),
        (VideoCodec.AV1, 0.7),
    ],
)
def test_better_codecs_need_fewer_bits(codec: VideoCodec, share: float) -> None:
    """As livekit-client's presets are scaled."""
    seen = replace(HD, codec=codec, bitrate_bps=800_000.0)
    assert reference_bits_per_pixel(seen) == pytest.approx(share * reference_bits_per_pixel(HD))
    as_vp8 = replace(HD, bitrate_bps=800_000.0 / share)
    assert judge(seen).value == pytest.approx(judge(as_vp8).value)


def test_what_few_bits_show_grows_from_codec_to_codec() -> None:
    values = {codec: judge(replace(HD, codec=codec, bitrate_bps=800_000.0)).value for codec in VideoCodec}
    assert values[VideoCodec.VP8] == values[VideoCodec.H264] < values[VideoCodec.VP9] < values[VideoCodec.H265]
    assert values[VideoCodec.H265] == values[VideoCodec.AV1]


def test_a_screen_that_stands_still_is_perfect() -> None:
    still = replace(HD, fps=0.2, bitrate_bps=2_000.0, steady=False)
    assert judge(still).value == 100.0
    assert judge(replace(still, layer_distance=1)).value == 65.0


def test_no_frames_are_no_picture() -> None:
    score = judge(replace(HD, fps=0.0))
    assert (score.value, score.mos) == (0.0, 1.0)
    assert score.reasons == ("0 frames per second: 100 points",)


def test_a_window_becomes_a_picture() -> None:
    seen = picture(replace(WINDOW, freeze_count=1, freeze_s=2.5, layer_distance=1), VideoCodec.AV1)
    assert seen is not None
    assert (seen.codec, seen.width, seen.height, seen.fps) == (VideoCodec.AV1, 1280, 720, 30.0)
    assert (seen.layer_distance, seen.freeze_count, seen.freeze_ratio) == (1, 1, 1.0)
    assert seen.bits_per_pixel == pytest.approx(200 * 1100 * 8 / (1280 * 720 * 30))
    screen = picture(replace(WINDOW, source=TrackSource.SCREEN_SHARE), VideoCodec.VP8)
    assert screen is not None
    assert not screen.steady


@pytest.mark.parametrize(
    "nothing",
    [
        replace(WINDOW, measured=False, duration_s=0.0),
        replace(WINDOW, muted=True),
        replace(WINDOW, was_muted=True),
        replace(WINDOW, stream_paused=True),
        replace(WINDOW, kind=TrackKind.AUDIO),
    ],
)
def test_where_there_is_no_picture_none_is_judged(nothing: object) -> None:
    assert picture(nothing, VideoCodec.VP8) is None  # type: ignore[arg-type]


@given(pictures, pictures)
def test_no_worse_picture_is_rated_better(seen: Picture, other: Picture) -> None:
    best = judge(seen).value
    for worse in (
        replace(seen, layer_distance=max(seen.layer_distance, other.layer_distance)),
        replace(seen, freeze_count=max(seen.freeze_count, other.freeze_count)),
        replace(seen, freeze_ratio=max(seen.freeze_ratio, other.freeze_ratio)),
        replace(seen, bitrate_bps=min(seen.bitrate_bps, other.bitrate_bps)),
        slower_at_the_same_bits_per_pixel(seen, other.fps),
    ):
        assert judge(worse).value <= best + 1e-6


def slower_at_the_same_bits_per_pixel(seen: Picture, fps: float) -> Picture:
    if seen.fps <= fps:
        return seen
    return replace(seen, fps=fps, bitrate_bps=seen.bitrate_bps * fps / seen.fps)


@given(pictures)
def test_any_picture_stays_on_the_scale(seen: Picture) -> None:
    score = judge(seen)
    assert 0.0 <= score.value <= 100.0
    assert 1.0 <= score.mos <= 4.5
    assert reference_bits_per_pixel(seen) > 0.0
    assert score.reasons or score.value >= 96.0


def test_curves_begin_and_end_where_they_should() -> None:
    assert [fps_points(fps) for fps in (0.0, 24.0, 60.0)] == pytest.approx([100.0, 0.0, 0.0])
    assert freeze_points(0, 0.0) == 0.0
    assert freeze_points(0, 1.0) == pytest.approx(95.0, abs=0.1)

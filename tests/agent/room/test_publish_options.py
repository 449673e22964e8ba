"""From publish options to tracks, and to the SDK's options."""

from typing import Any, cast

import pytest
from livekit import rtc

from agent.errors import InvalidSettings
from agent.room.convert import sdk_publish_options
from agent.room.publish_options import (
    AS_THE_SDK_CHOOSES,
    PlanChange,
    PublishOptions,
    VideoCodec,
    default_bitrate_bps,
    plan_audio,
    plan_pre_encoded,
    plan_video,
)
from media.sources.source import VideoFormat
from quality.stats import TrackKind, TrackSource


def test_names_and_sources_follow_what_is_published() -> None:
    assert (plan_video(PublishOptions(), 1280, 720, 25).name, plan_audio(PublishOptions(), with_video=True).name) == (
        "camera",
        "microphone",
    )
    screen = PublishOptions(source=TrackSource.SCREEN_SHARE)
    assert plan_video(screen, 1280, 720, 25).source is TrackSource.SCREEN_SHARE
    assert plan_audio(screen, with_video=True).source is TrackSource.SCREEN_SHARE_AUDIO
    named = PublishOptions(name="stage")
    assert plan_video(named, 1280, 720, 25).name == "stage"
    assert plan_audio(named, with_video=True).name == "stage-audio"
    alone = plan_audio(PublishOptions(name="voice", source=TrackSource.MICROPHONE), with_video=False)
    assert (alone.name, alone.source, alone.kind) == ("voice", TrackSource.MICROPHONE, TrackKind.AUDIO)


def test_names_and_metadata_that_cannot_be_sent_are_refused_at_once() -> None:
    nested: dict[str, Any] = {"seat": {"row": 1}}
    for refused in (
        {"name": "\ud800"},
        {"metadata": nested},
        {"metadata": {"v": 1}},
        {"metadata": {"r": float("nan")}},
    ):
        with pytest.raises(InvalidSettings):
            PublishOptions(**cast("Any", refused))


def test_small_pictures_are_not_simulcast() -> None:
    assert plan_video(PublishOptions(), 960, 540, 25).simulcast
    assert plan_video(PublishOptions(), 540, 960, 25).simulcast
    assert not plan_video(PublishOptions(), 640, 360, 25).simulcast
    assert not plan_video(PublishOptions(simulcast=False), 1280, 720, 25).simulcast


def test_the_sdk_gets_bitrate_and_fps_together_or_not_at_all() -> None:
    free = sdk_publish_options(plan_video(PublishOptions(), 1280, 720, 25))
    assert not free.HasField("video_encoding")
    assert free.source == rtc.TrackSource.SOURCE_CAMERA
    slow = sdk_publish_options(plan_video(PublishOptions(max_fps=10), 1280, 720, 25))
    assert (slow.video_encoding.max_bitrate, slow.video_encoding.max_framerate) == (1_700_000, 10)
    lean = sdk_publish_options(
        plan_video(PublishOptions(max_bitrate_bps=500_000, video_codec=VideoCodec.H264), 1280, 720, 25)
    )
    assert (lean.video_encoding.max_bitrate, lean.video_encoding.max_framerate) == (500_000, 25)
    assert lean.video_codec == rtc.VideoCodec.H264
    sound = sdk_publish_options(plan_audio(PublishOptions(audio_bitrate_bps=64_000), with_video=True))
    assert sound.audio_encoding.max_bitrate == 64_000
    assert sound.source == rtc.TrackSource.SOURCE_MICROPHONE


def test_default_bitrates_rise_with_the_picture() -> None:
    sizes = [(320, 180), (640, 360), (1280, 720), (1920, 1080), (3840, 2160)]
    bitrates = [default_bitrate_bps(*size) for size in sizes]
    assert bitrates == sorted(set(bitrates))


@pytest.mark.parametrize(
    "options",
    [
        {"max_bitrate_bps": 1000},
        {"max_fps": 0.1},
        {"audio_bitrate_bps": 1_000_000},
        {"name": "x" * 251},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidSettings):
        PublishOptions(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_a_video_that_is_encoded_already_keeps_its_codec_in_one_layer_and_is_not_adapted() -> None:
    plan = plan_pre_encoded(PublishOptions(), VideoFormat(1280, 720, 50.0), "h264", 3_000_000.0)
    assert (plan.video_codec, plan.simulcast, plan.adaptive, plan.pre_encoded) == (VideoCodec.H264, False, False, True)
    assert (plan.bitrate_bps, plan.fps) == (6_000_000, 50.0)
    limited = plan_pre_encoded(PublishOptions(max_bitrate_bps=1_000_000), VideoFormat(640, 360, 25.0), "vp8", 0.0)
    assert limited.bitrate_bps == 1_000_000


def test_a_change_leaves_what_it_does_not_say() -> None:
    plan = plan_video(PublishOptions(), 1280, 720, 25)
    assert PlanChange().applied_to(plan) == plan
    changed = PlanChange(video_codec=VideoCodec.H264, simulcast=False, max_bitrate_bps=500_000).applied_to(plan)
    assert (changed.video_codec, changed.simulcast) == (VideoCodec.H264, False)
    assert (changed.bitrate_bps, changed.fps, changed.name) == (500_000, 25.0, plan.name)
    assert PlanChange(max_bitrate_bps=AS_THE_SDK_CHOOSES).applied_to(changed).bitrate_bps is None
    back = PlanChange(VideoCodec.VP8, simulcast=True, max_bitrate_bps=AS_THE_SDK_CHOOSES).applied_to(changed)
    assert back == plan


def test_the_usual_rate_is_what_the_sdk_lets_through() -> None:
    assert plan_video(PublishOptions(), 1280, 720, 60).usual_fps == 30.0
    assert plan_video(PublishOptions(source=TrackSource.SCREEN_SHARE), 1280, 720, 60).usual_fps == 15.0
    assert plan_video(PublishOptions(max_fps=10), 1280, 720, 60).usual_fps == 10.0


def test_a_codec_and_a_source_may_be_named() -> None:
    named: dict[str, Any] = {"video_codec": "vp9", "source": "screen_share"}
    assert PublishOptions(**named) == PublishOptions(source=TrackSource.SCREEN_SHARE, video_codec=VideoCodec.VP9)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("video_codec", "vp10", "video_codec is 'vp10'; give one of vp8, h264, vp9, av1"),
        ("source", "window", "source is 'window'; give one of"),
    ],
)
def test_an_unknown_codec_or_source_says_which_there_are(name: str, value: str, told: str) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(InvalidSettings, match=told):
        PublishOptions(**wrong)

"""How to publish: what a caller says, and what follows from it for the encoder. Pure."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from agent.errors import InvalidSettings
from agent.room.metadata import check_name, encode_track_metadata
from media.sources.source import VideoFormat
from quality.presets import preset_fps
from quality.stats import TrackKind, TrackSource, VideoLayer, VideoQuality

T = TypeVar("T", bound=StrEnum)

# Below this the SDK's layers are odd: 640x360 gave one of 640x360 at 450 kb/s beside the full one (seen on 1.2.1).
SIMULCAST_MINIMUM_SIDE = 960
# LiveKit's own presets for cameras: pixels of the picture, bits and frames a second.
_BITRATE_PRESETS = (
    (320 * 180, 160_000),
    (640 * 360, 450_000),
    (960 * 540, 800_000),
    (1280 * 720, 1_700_000),
    (1920 * 1080, 3_000_000),
    (2560 * 1440, 5_000_000),
)
_LARGEST_BITRATE_BPS = 8_000_000
AS_THE_SDK_CHOOSES = 0  # the bits and frames a second of an encoder
_PRESET_FPS = 30.0
_SCREEN_FPS = 15.0
# What libwebrtc is told to be the most: its target never goes above, and it drops frames of what is over its target.
_PRE_ENCODED_MARGIN, _PRE_ENCODED_LEAST_BPS = 2.0, 2_000_000
_AUDIO_OF = {TrackSource.CAMERA: TrackSource.MICROPHONE, TrackSource.SCREEN_SHARE: TrackSource.SCREEN_SHARE_AUDIO}
_DEFAULT_NAMES = {
    TrackSource.CAMERA: "camera",
    TrackSource.MICROPHONE: "microphone",
    TrackSource.SCREEN_SHARE: "screen-share",
    TrackSource.SCREEN_SHARE_AUDIO: "screen-share-audio",
}


class VideoCodec(StrEnum):
    """What the SDK encodes on Linux: VP8, VP9 and AV1 with libvpx and libaom, H.264 with OpenH264."""

    VP8 = "vp8"
    H264 = "h264"
    VP9 = "vp9"
    AV1 = "av1"


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What to publish of a source, and how.

    `name` is the video track's; the audio track is then `<name>-audio`. Without one they are named
    after `source`, which is the video's (camera or screen_share; the audio's follows), or the audio's
    where the source has no picture. `max_bitrate_bps` and `max_fps` are of the highest layer.
    `video=False` or `audio=False` leaves that half out. `adaptive`: frames, size and codec of the video follow what
    the machine and the way out carry, below what is said here. `pre_encoded`: the file's H.264 or VP8 video is sent as
    it is, in its own codec and one layer; what the way out does not carry of it is left out. The names of a codec
    ("vp9") and a source ("screen_share") will do. InvalidSettings where something is unknown or out of range.
    """

    name: str = ""
    source: TrackSource = TrackSource.CAMERA
    simulcast: bool = True
    video_codec: VideoCodec = VideoCodec.VP8
    max_bitrate_bps: int | None = None
    max_fps: float | None = None
    audio_bitrate_bps: int | None = None
    video: bool = True
    audio: bool = True
    adaptive: bool = True
    pre_encoded: bool = False
    metadata: dict[str, str | int | float | bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "video_codec", _named(VideoCodec, "video_codec", self.video_codec))
        object.__setattr__(self, "source", _named(TrackSource, "source", self.source))
        check_name("track name", f"{self.name}-audio")
        if self.metadata:
            encode_track_metadata(self.metadata)
        if self.max_bitrate_bps is not None and not 30_000 <= self.max_bitrate_bps <= 50_000_000:
            raise InvalidSettings(f"max_bitrate_bps is {self.max_bitrate_bps}; give 30000 to 50000000")
        if self.max_fps is not None and not 1 <= self.max_fps <= 120:
            raise InvalidSettings(f"max_fps is {self.max_fps}; give 1 to 120")
        if self.audio_bitrate_bps is not None and not 6_000 <= self.audio_bitrate_bps <= 510_000:
            raise InvalidSettings(f"audio_bitrate_bps is {self.audio_bitrate_bps}; Opus takes 6000 to 510000")


def _named(kind: type[T], field_name: str, value: str) -> T:
    try:
        return kind(value)
    except ValueError as error:
        raise InvalidSettings(f"{field_name} is {value!r}; give one of {', '.join(kind)}") from error


@dataclass(frozen=True, slots=True)
class TrackPlan:
    """One track to publish. Bitrate and fps are None where the SDK is to choose (audio: no fps).

    `max_fps` is the caller's limit. `width`, `height` and `usual_fps` are the picture's as it is to be sent (audio: 0).
    """

    kind: TrackKind
    name: str
    source: TrackSource
    simulcast: bool = False
    video_codec: VideoCodec = VideoCodec.VP8
    bitrate_bps: int | None = None
    fps: float | None = None
    max_fps: float | None = None
    width: int = 0
    height: int = 0
    usual_fps: float = 0.0
    adaptive: bool = False
    pre_encoded: bool = False


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What to publish a video anew with; None is as before. Units as in PublishOptions.

    `max_bitrate_bps` may be AS_THE_SDK_CHOOSES.
    """

    video_codec: VideoCodec | None = None
    simulcast: bool | None = None
    max_bitrate_bps: int | None = None

    def applied_to(self, plan: TrackPlan) -> TrackPlan:
        """`plan` with this change."""
        bitrate_bps, fps = plan.bitrate_bps, plan.fps
        if self.max_bitrate_bps == AS_THE_SDK_CHOOSES:
            bitrate_bps = fps = None
        elif self.max_bitrate_bps is not None:
            bitrate_bps, fps = self.max_bitrate_bps, plan.usual_fps if fps is None else fps
        return replace(
            plan,
            video_codec=self.video_codec or plan.video_codec,
            simulcast=plan.simulcast if self.simulcast is None else self.simulcast,
            bitrate_bps=bitrate_bps,
            fps=fps,
        )


def plan_video(options: PublishOptions, width: int, height: int, fps: float) -> TrackPlan:
    """The video track for a picture of that size."""
    source = options.source if options.source in _AUDIO_OF else TrackSource.CAMERA
    limited = options.max_bitrate_bps is not None or options.max_fps is not None
    return TrackPlan(
        kind=TrackKind.VIDEO,
        name=options.name or _DEFAULT_NAMES[source],
        source=source,
        simulcast=options.simulcast and max(width, height) >= SIMULCAST_MINIMUM_SIDE,
        video_codec=options.video_codec,
        # The SDK wants both or none.
        bitrate_bps=(options.max_bitrate_bps or default_bitrate_bps(width, height)) if limited else None,
        fps=min(options.max_fps or _PRESET_FPS, max(fps, 1.0)) if limited else None,
        max_fps=options.max_fps,
        width=width,
        height=height,
        usual_fps=min(fps, options.max_fps or (_PRESET_FPS if limited else _sdk_fps(source, width, height))),
        adaptive=options.adaptive,
    )


def plan_pre_encoded(options: PublishOptions, video: VideoFormat, codec: str, bitrate_bps: float) -> TrackPlan:
    """The video track for a source that is encoded already; `bitrate_bps` 0 where that is not known."""
    plan = plan_video(options, video.width, video.height, video.fps)
    most = options.max_bitrate_bps or max(_PRE_ENCODED_LEAST_BPS, round(_PRE_ENCODED_MARGIN * bitrate_bps))
    return replace(
        plan,
        simulcast=False,
        video_codec=VideoCodec(codec),
        bitrate_bps=min(most, _LARGEST_BITRATE_BPS * 4),
        fps=max(1.0, video.fps),
        max_fps=None,
        adaptive=False,
        pre_encoded=True,
    )


def _sdk_fps(source: TrackSource, width: int, height: int) -> float:
    """What the SDK lets through of a picture of that size, where nobody says."""
    if source is TrackSource.SCREEN_SHARE:
        return _SCREEN_FPS
    return preset_fps(VideoLayer(VideoQuality.HIGH, width, height))


def plan_audio(options: PublishOptions, *, with_video: bool) -> TrackPlan:
    """The audio track; `with_video` whether it goes with a picture."""
    if with_video or options.source in _AUDIO_OF:
        source = _AUDIO_OF.get(options.source, TrackSource.MICROPHONE)
    else:
        source = options.source
    name = f"{options.name}-audio" if options.name and with_video else options.name
    return TrackPlan(
        kind=TrackKind.AUDIO,
        name=name or _DEFAULT_NAMES.get(source, "audio"),
        source=source,
        bitrate_bps=options.audio_bitrate_bps,
    )


def default_bitrate_bps(width: int, height: int) -> int:
    """LiveKit's preset for the smallest picture that is at least this large."""
    pixels = width * height
    return next((bitrate for size, bitrate in _BITRATE_PRESETS if pixels <= size), _LARGEST_BITRATE_BPS)

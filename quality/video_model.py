"""How good a received picture looks, from what statistics tell of it: no reference, no pixels.

A rating of 0..100 (MOS by the same map as for audio) loses points to a layer below the requested one, to bits that
are too few for size and codec, to a low frame rate and to freezes. Points add up, as impairments do in the E-model.
The constants come from LiveKit where it has them, and are otherwise chosen, not fitted to people's votes: scores
compare moments and tracks with each other; they do not predict a panel.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from quality.score import LAYER_WEIGHT, mean_opinion_score
from quality.stats import TrackKind, TrackSource
from quality.window import Window

# Bits per pixel of LiveKit's presets for VP8 and H.264 (180p 160 kb/s at 20 frames/s, 360p 450 kb/s at 20, 720p
# 1.7 Mb/s at 30, 1080p 3 Mb/s at 30): 0.139, 0.098, 0.061, 0.048. This power of the area meets them within 5%.
REFERENCE_PIXELS = 1280 * 720
REFERENCE_BITS_PER_PIXEL = 0.0615
AREA_EXPONENT = -0.3
POINTS_PER_HALVING = 11.0  # 0.39 MOS: the slope of 0.56 MOS for each factor e that rtcscore fits
SMOOTH_FPS = 24.0  # from here on motion is smooth (P.1203.1 counts from 24 as well)
FPS_CURVE = 4.0  # of the inverse exponential of Ou, Ma, Wang (2011): half the rate costs 12 points, a quarter 36
FREEZE_CURVE = 3.0  # a tenth of the time frozen costs 26 points, a third 63
POINTS_PER_FREEZE = 3.0  # each interruption is felt on top of its length
NOTABLE_POINTS = 1.0
LEAST_BITS_PER_PIXEL = 1e-5  # keeps the logarithm finite; the rating is 0 long before


class VideoCodec(StrEnum):
    """Codecs a LiveKit track may have, by their RTP encoding names in lower case."""

    VP8 = "vp8"
    H264 = "h264"
    VP9 = "vp9"
    H265 = "h265"
    AV1 = "av1"


# The bitrate a codec needs for what VP8 shows at 1, as livekit-client scales its presets (`publishUtils.ts`).
CODEC_BITRATE = {
    VideoCodec.VP8: 1.0,
    VideoCodec.H264: 1.0,
    VideoCodec.VP9: 0.85,
    VideoCodec.H265: 0.7,
    VideoCodec.AV1: 0.7,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A received picture over some seconds. Sizes are in pixels; `freeze_ratio` is the share of the time frozen, 0..1.

    `steady` is False for a screen: it sends frames when something changes, so neither a low rate nor few bits mean
    anything there.
    """

    codec: VideoCodec
    width: int
    height: int
    fps: float
    bitrate_bps: float
    layer_distance: int = 0
    freeze_count: int = 0
    freeze_ratio: float = 0.0
    steady: bool = True

    @property
    def bits_per_pixel(self) -> float | None:
        """Bits for each pixel of each frame; None where there is no frame or its size is not known."""
        pixels = self.width * self.height * self.fps
        return self.bitrate_bps / pixels if pixels > 0 else None


@dataclass(frozen=True, slots=True)
class VideoScore:
    """The rating `value` 0..100, its MOS 1..4.5, the points each impairment takes, and the notable ones in words."""

    value: float
    mos: float
    layer_points: float
    coding_points: float
    fps_points: float
    freeze_points: float
    reasons: tuple[str, ...] = ()


def picture(window: Window, codec: VideoCodec) -> Picture | None:
    """What `window` says of a received picture; None where there is none to judge (muted, paused, not measured)."""
    if not window.measured or window.kind is not TrackKind.VIDEO or window.rests:
        return None
    return Picture(
        codec=codec,
        width=window.frame_width,
        height=window.frame_height,
        fps=window.fps,
        bitrate_bps=window.bitrate_bps,
        layer_distance=window.layer_distance,
        freeze_count=window.freeze_count,
        # A freeze is told when it ends, and may be longer than the window it ended in.
        freeze_ratio=min(1.0, window.freeze_s / window.duration_s),
        steady=window.source is not TrackSource.SCREEN_SHARE,
    )


def judge(seen: Picture) -> VideoScore:
    """Rate `seen`. More layers missed, fewer bits per pixel, fewer frames or more freezes never raise the rating."""
    layer = seen.layer_distance * LAYER_WEIGHT
    coding = coding_points(seen)
    frames = fps_points(seen.fps) if seen.steady else 0.0
    freezes = freeze_points(seen.freeze_count, seen.freeze_ratio)
    value = min(100.0, max(0.0, 100.0 - layer - coding - frames - freezes))
    reasons = []
    if layer >= NOTABLE_POINTS:
        reasons.append(f"{seen.layer_distance} layer(s) below the requested one: {layer:.0f} points")
    if coding >= NOTABLE_POINTS and seen.bits_per_pixel is not None:
        reasons.append(
            f"{seen.bits_per_pixel:.3f} bits per pixel in {seen.codec.upper()} where "
            f"{reference_bits_per_pixel(seen):.3f} are usual at {seen.width}x{seen.height}: {coding:.0f} points"
        )
    if frames >= NOTABLE_POINTS:
        reasons.append(f"{seen.fps:.0f} frames per second: {frames:.0f} points")
    if freezes >= NOTABLE_POINTS:
        reasons.append(f"{seen.freeze_count} freeze(s), {seen.freeze_ratio:.0%} of the time: {freezes:.0f} points")
    return VideoScore(value, mean_opinion_score(value), layer, coding, frames, freezes, tuple(reasons))


def reference_bits_per_pixel(seen: Picture) -> float:
    """What LiveKit's presets spend on a pixel at this size, in this codec."""
    area = max(1, seen.width * seen.height) / REFERENCE_PIXELS
    return REFERENCE_BITS_PER_PIXEL * math.pow(area, AREA_EXPONENT) * CODEC_BITRATE[seen.codec]


def coding_points(seen: Picture) -> float:
    """Points for too few bits per pixel: none at the presets' or above, 11 for each halving below."""
    bits, reference = seen.bits_per_pixel, reference_bits_per_pixel(seen)
    if bits is None or bits >= reference or not seen.steady:
        return 0.0
    return POINTS_PER_HALVING * math.log2(reference / max(bits, LEAST_BITS_PER_PIXEL))


def fps_points(fps: float) -> float:
    """Points for a low frame rate: none from 24 on, all 100 at none."""
    share = min(1.0, max(0.0, fps) / SMOOTH_FPS)
    return 100.0 * (1.0 - (1.0 - math.exp(-FPS_CURVE * share)) / (1.0 - math.exp(-FPS_CURVE)))


def freeze_points(count: int, ratio: float) -> float:
    """Points for `count` freezes that took `ratio` of the time."""
    return count * POINTS_PER_FREEZE + 100.0 * (1.0 - math.exp(-FREEZE_CURVE * min(1.0, max(0.0, ratio))))

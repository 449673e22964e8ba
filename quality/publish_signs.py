"""What a second of a sent video says of its encoder and of the way out. Pure."""

from dataclasses import dataclass

from quality.allocation import frames_worth, size_worth
from quality.publish_ladder import Limit, Move, Published, Settings, least_bps
from quality.sent_layers import SentLayer
from quality.stats import QualityLimitationReason
from quality.video_model import VideoCodec
from quality.window import Window

FEW_FRAMES = 0.75  # of those captured: encoders drop single frames also where all is well
COARSE = 0.75  # of the codec's scale: libwebrtc lets VP8 go to 106 of 127
BUSY = 0.6  # of the time spent encoding: up to that there is room
SWAMPED = 0.75  # libwebrtc makes the picture smaller from 0.85 on, and is content below
LINK_FULL = 1.5  # the highest layer's target times this is over what the way carries
_RIDS = "qhf"  # lowest layer first, as LiveKit's SDKs name them
_QP_SCALE = {VideoCodec.VP8: 127.0, VideoCodec.H264: 51.0, VideoCodec.VP9: 255.0, VideoCodec.AV1: 255.0}


@dataclass(frozen=True, slots=True)
class Signs:
    """`trouble` by limit, as sentences; without one all is well. `delivered` is the share of captured frames that the
    highest sent layer has, `captured` the share of the frames to be published that are captured, `lines` the
    layer's, of `published_lines`, `fps` its frames a second, `coarse` its quantizer as a share of the scale, `load` the
    share of time spent encoding.

    `reduced`: libwebrtc makes the picture smaller than is asked for, for want of CPU.
    `highest_sent` is False where the encoder leaves out the highest layer that is wanted. `lowest_only`: all but the
    lowest are left out for want of bandwidth. `unsent`: none of those that are wanted is sent, and nothing limits it.
    """

    trouble: dict[Limit, str]
    delivered: float
    captured: float
    lines: int
    published_lines: int
    fps: float
    coarse: float
    load: float
    cpu_limited: bool
    reduced: bool
    highest_sent: bool
    lowest_only: bool
    unsent: bool
    sent_bps: float
    available_bps: float | None

    def measure(self, limit: Limit, move: Move) -> float:
        """How well it goes as to what `move` is to help against `limit`: more is better, 0 to about 2."""
        seen = frames_worth(self.fps)
        # libwebrtc makes the picture smaller by itself, each codec's in its own time. Time left over shows nobody more.
        if move.republishes:
            return seen * size_worth(self.lines / self.published_lines)
        if limit is Limit.BANDWIDTH:
            return self.delivered + 1.0 - self.coarse
        return seen + 1.0 - min(1.0, self.load)

    @property
    def frames(self) -> float:
        """The share of the frames to be published that go out.

        Where the processor is short, fewer frames are captured too: all of few is not better than most of many.
        """
        return self.delivered * self.captured


def read_signs(published: Published, settings: Settings, window: Window) -> Signs | None:
    """None where nothing can be said: nobody wants it, nothing is captured, or nothing is measured."""
    wanted = [layer for layer in window.layers if layer.active is not False]
    if not window.measured or not wanted or not window.captured_fps:
        return None
    sent = [layer for layer in wanted if layer.bitrate_bps > 0 and layer.width > 0]
    highest = sent[-1] if sent else None
    captured, wanted_fps = window.captured_fps, min(published.fps, settings.max_fps or published.fps)
    delivered = min(1.0, highest.fps / captured) if highest else 0.0
    sent_lines = min(highest.width, highest.height) if highest else 0
    whole = max((layer.rid for layer in window.layers), key=_RIDS.find) in {layer.rid for layer in wanted}
    codec = settings.codec or published.codec
    coarse = min(1.0, (highest.qp or 0.0) / _QP_SCALE.get(codec, 255.0)) if highest and highest.fps else 1.0
    load = max(layer.encode_load for layer in wanted)
    reasons = {layer.quality_limitation_reason for layer in wanted}
    cpu_limited = QualityLimitationReason.CPU in reasons
    left_out = QualityLimitationReason.BANDWIDTH in reasons and len(sent) < len(wanted)
    signs = Signs(
        trouble={},
        delivered=delivered,
        captured=min(1.0, captured / wanted_fps),
        lines=sent_lines,
        published_lines=published.lines,
        fps=highest.fps if highest else 0.0,
        coarse=coarse,
        load=load,
        cpu_limited=cpu_limited,
        reduced=cpu_limited and whole and 0 < sent_lines < min(published.lines, settings.lines or published.lines),
        highest_sent=not left_out,
        lowest_only=left_out and len(sent) == 1,
        unsent=not sent and QualityLimitationReason.BANDWIDTH not in reasons,
        sent_bps=window.bitrate_bps,
        available_bps=window.available_bandwidth_bps,
    )
    starving = _starving(published, sent, signs)
    if starving:
        signs.trouble[Limit.BANDWIDTH] = starving
    elif overload := _overload(signs, captured, wanted_fps):
        signs.trouble[Limit.CPU] = overload
    return signs


def _starving(published: Published, sent: list[SentLayer], signs: Signs) -> str:
    if not sent:
        return ""
    highest, lines = sent[-1], signs.lines
    suffers = signs.delivered < FEW_FRAMES or signs.coarse > COARSE
    if published.layered and len(sent) > 1 and suffers and highest.target_bitrate_bps < least_bps(lines):
        return (
            f"the layer of {lines} lines gets {highest.target_bitrate_bps / 1000:.0f} kb/s where it needs "
            f"{least_bps(lines) / 1000:.0f}: {signs.delivered:.0%} of its frames, quantizer at {signs.coarse:.0%}"
        )
    if published.layered and signs.lowest_only:
        return f"only the lowest layer goes out, {lines} lines at {highest.bitrate_bps / 1000:.0f} kb/s"
    full = signs.available_bps is not None and signs.available_bps < LINK_FULL * highest.target_bitrate_bps
    if published.screen and full and signs.delivered < FEW_FRAMES and signs.load < BUSY:
        return f"{signs.delivered:.0%} of the screen's frames go out at {highest.target_bitrate_bps / 1000:.0f} kb/s"
    return ""


def _overload(signs: Signs, captured_fps: float, wanted_fps: float) -> str:
    if signs.load <= SWAMPED:
        return ""
    if signs.cpu_limited:
        return f"limited by the CPU: encoding takes {signs.load:.0%} of the time"
    if signs.delivered < FEW_FRAMES:
        return f"{signs.delivered:.0%} of the frames are encoded, which takes {signs.load:.0%} of the time"
    if signs.captured < FEW_FRAMES:
        return f"{captured_fps:.0f} of {wanted_fps:.0f} frames a second captured, encoding takes {signs.load:.0%} of it"
    return ""

"""What each simulcast layer of a sent video did between two snapshots."""

from collections.abc import Sequence
from dataclasses import dataclass

from quality.stats import OutboundRtp, QualityLimitationReason

MOST_SPATIAL_LAYERS = 3  # of L3T3_KEY, which the SDK publishes VP9 in


@dataclass(frozen=True, slots=True)
class SentLayer:
    """One outbound stream over a window; `rid` is empty where there is only one.

    `active` is W3C's: False for a layer that the server wants from nobody (dynacast), True also for one that the
    encoder leaves out for want of bandwidth; None where it is not told. `qp` is the mean quantizer of the frames, on
    the codec's own scale (VP8 0..127, VP9 and AV1 0..255, H.264 0..51), None without frames. `encode_load` is the time
    that encoding took, as a share of the window.
    """

    rid: str
    active: bool | None
    width: int
    height: int
    fps: float
    bitrate_bps: float
    target_bitrate_bps: float
    qp: float | None
    encode_load: float
    key_frames: int
    quality_limitation_reason: QualityLimitationReason


def sent_layers(pairs: Sequence[tuple[OutboundRtp, OutboundRtp]], duration_s: float) -> tuple[SentLayer, ...]:
    """The layers of `pairs` (before, after), the largest picture last; `duration_s` > 0."""
    found = [_layer(before, after, duration_s) for before, after in pairs]
    return tuple(sorted(found, key=lambda layer: layer.width * layer.height))


def pictures_encoded(before: OutboundRtp, after: OutboundRtp, duration_s: float) -> int:
    """Pictures that a stream encoded between two snapshots.

    libwebrtc counts a frame for each spatial layer of a VP9 picture in `framesEncoded`, and one in `framesPerSecond`.
    """
    frames = max(0, after.frames_encoded - before.frames_encoded)
    if after.mime_type.lower() != "video/vp9" or after.frames_per_second <= 0:
        return frames
    spatial_layers = round(frames / duration_s / after.frames_per_second)
    return round(frames / min(MOST_SPATIAL_LAYERS, max(1, spatial_layers)))


def _layer(before: OutboundRtp, after: OutboundRtp, duration_s: float) -> SentLayer:
    frames = max(0, after.frames_encoded - before.frames_encoded)
    return SentLayer(
        rid=after.rid,
        active=after.active,
        width=after.frame_width,
        height=after.frame_height,
        fps=pictures_encoded(before, after, duration_s) / duration_s,
        bitrate_bps=max(0, after.bytes_sent - before.bytes_sent) * 8 / duration_s,
        target_bitrate_bps=after.target_bitrate,
        qp=max(0, after.qp_sum - before.qp_sum) / frames if frames else None,
        encode_load=max(0.0, after.total_encode_time - before.total_encode_time) / duration_s,
        key_frames=max(0, after.key_frames_encoded - before.key_frames_encoded),
        quality_limitation_reason=after.quality_limitation_reason,
    )

"""Subscribed videos and what comes of them, as the layer controller sees them (pure)."""

from agent.room.quality_monitor import QualityTick
from agent.room.state import TrackState
from quality.allocation import Layer, Subscription
from quality.presets import preset_fps
from quality.stats import Direction, TrackKind, TrackSource, VideoLayer, VideoQuality
from quality.video_model import VideoCodec
from quality.window import Window


def video_windows(tick: QualityTick) -> dict[str, Window]:
    """The second's windows of received video, by track SID."""
    return {
        each.label.track_sid: each.judgement.window
        for each in tick.tracks
        if each.judgement.window.kind is TrackKind.VIDEO and each.judgement.window.direction is Direction.INBOUND
    }


def layer_subscription(
    track: TrackState,
    layers: tuple[VideoLayer, ...],
    *,
    max_quality: VideoQuality,
    in_focus: bool = False,
    requested_height: int = 0,
) -> Subscription:
    """A video and its simulcast `layers`, up to `max_quality`; one `in_focus` counts for more."""
    codec = track.mime_type.lower().partition("/")[2]
    return Subscription(
        track.sid,
        tuple(Layer(item.quality, item.width, item.height, preset_fps(item), 0.0) for item in layers),
        source=TrackSource(track.source) if track.source in set(TrackSource) else TrackSource.UNKNOWN,
        codec=VideoCodec(codec) if codec in set(VideoCodec) else VideoCodec.VP8,
        active_speaker=in_focus,
        requested_height=requested_height,
        max_quality=max_quality,
    )

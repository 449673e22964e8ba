"""Which simulcast layers LiveKit's clients make of a picture, where the publisher's own announcement is not known.

Source: livekit-client's `publishUtils.ts` and the SDKs' equal rule, and what livekit 1.2.1 was seen to send: cameras
in 180 and 360 lines and as they are from 960 pixels of the longer side on, in 180 lines and as they are from 480 on,
else as they are. Screens as they are and at half their sides.
"""

from quality.stats import TrackSource, VideoLayer, VideoQuality

THREE_LAYERS_FROM = 960
TWO_LAYERS_FROM = 480
LINES = (180, 360)


def simulcast_layers(width: int, height: int, source: TrackSource = TrackSource.CAMERA) -> tuple[VideoLayer, ...]:
    """The layers of a simulcast video of that size, lowest first; none where the size is not known."""
    longer, shorter = max(width, height), min(width, height)
    if shorter <= 0:
        return ()
    if source is TrackSource.SCREEN_SHARE:
        scales = [2.0, 1.0]
    else:
        count = 2 if longer >= THREE_LAYERS_FROM else 1 if longer >= TWO_LAYERS_FROM else 0
        scales = [max(1.0, shorter / lines) for lines in LINES[:count]] + [1.0]
    return tuple(
        VideoLayer(VideoQuality(index), round(width / scale), round(height / scale))
        for index, scale in enumerate(scales)
    )


def preset_fps(layer: VideoLayer) -> float:
    """Frames per second of LiveKit's preset for that size."""
    shorter = min(layer.width, layer.height)
    return 20.0 if shorter <= 360 else 25.0 if shorter <= 540 else 30.0

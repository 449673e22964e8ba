"""Which simulcast layers LiveKit's clients make of a picture, where the publisher's own announcement is not known.

Source: livekit-client's `publishUtils.ts` and the SDKs' equal rule: the picture, half and a quarter of its sides from
960 pixels of the longer one on, the picture and half of it from 480 on, else the picture alone.
"""

from quality.stats import VideoLayer, VideoQuality

THREE_LAYERS_FROM = 960
TWO_LAYERS_FROM = 480


def simulcast_layers(width: int, height: int) -> tuple[VideoLayer, ...]:
    """The layers of a simulcast video of that size, lowest first; none where the size is not known."""
    longer = max(width, height)
    if min(width, height) <= 0:
        return ()
    count = 3 if longer >= THREE_LAYERS_FROM else 2 if longer >= TWO_LAYERS_FROM else 1
    return tuple(
        VideoLayer(VideoQuality(index), width >> (count - 1 - index), height >> (count - 1 - index))
        for index in range(count)
    )


def preset_fps(layer: VideoLayer) -> float:
    """Frames per second of LiveKit's preset for that size."""
    shorter = min(layer.width, layer.height)
    return 20.0 if shorter <= 360 else 25.0 if shorter <= 540 else 30.0

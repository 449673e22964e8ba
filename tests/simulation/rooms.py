"""Rooms of one subscriber: what is published, and by publishers unlike those whose presets a controller knows."""

from dataclasses import replace

from quality.allocation import Layer, Subscription
from quality.stats import VideoQuality

LAYERS = (
    Layer(VideoQuality.LOW, 320, 180, 20.0, 160_000.0),
    Layer(VideoQuality.MEDIUM, 640, 360, 20.0, 450_000.0),
    Layer(VideoQuality.HIGH, 1280, 720, 30.0, 1_700_000.0),
)
ONE = (Subscription("TR_speaker", LAYERS, active_speaker=True),)
THREE = (
    Subscription("TR_speaker", LAYERS, active_speaker=True),
    *(replace(ONE[0], track_sid=f"TR_{name}", active_speaker=False, layers=LAYERS[:2]) for name in ("b", "c")),
)


def _publishing(bits: float, frames: float) -> tuple[Subscription, ...]:
    """The three, from publishers that send other bitrates and frame rates than the presets that a controller knows."""
    return tuple(
        replace(
            item,
            layers=tuple(
                replace(layer, bitrate_bps=bits * layer.bitrate_bps, fps=frames * layer.fps) for layer in item.layers
            ),
        )
        for item in THREE
    )


# Of THREE, by publishers on narrow ways or weak machines, whose encoders leave the upper layers out.
WEAK = (replace(THREE[0], layers=LAYERS[:2]), replace(THREE[1], layers=LAYERS[:1]), THREE[2])
SPARSE = _publishing(bits=1.0, frames=0.55)  # cameras in bad light, busy machines
RICH = _publishing(bits=1.5, frames=1.0)

"""The layers that LiveKit's clients make of a picture."""

import pytest

from quality.presets import preset_fps, simulcast_layers
from quality.stats import VideoQuality


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), [(480, 270), (960, 540), (1920, 1080)]),
        ((1280, 720), [(320, 180), (640, 360), (1280, 720)]),
        ((720, 1280), [(180, 320), (360, 640), (720, 1280)]),
        ((640, 360), [(320, 180), (640, 360)]),
        ((320, 180), [(320, 180)]),
        ((0, 0), []),
    ],
)
def test_sizes(size: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    layers = simulcast_layers(*size)
    assert [(layer.width, layer.height) for layer in layers] == expected
    assert [layer.quality for layer in layers] == [VideoQuality(index) for index in range(len(expected))]


def test_rates() -> None:
    assert [preset_fps(layer) for layer in simulcast_layers(1280, 720)] == [20.0, 20.0, 30.0]
    assert [preset_fps(layer) for layer in simulcast_layers(1920, 1080)] == [20.0, 25.0, 30.0]

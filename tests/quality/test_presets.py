"""The layers that LiveKit's clients make of a picture."""

import pytest

from quality.presets import preset_fps, simulcast_layers
from quality.stats import TrackSource, VideoQuality


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), [(320, 180), (640, 360), (1920, 1080)]),
        ((960, 540), [(320, 180), (640, 360), (960, 540)]),
        ((1440, 1080), [(240, 180), (480, 360), (1440, 1080)]),
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


def test_screens_have_two_layers() -> None:
    layers = simulcast_layers(1920, 1080, TrackSource.SCREEN_SHARE)
    assert [(layer.width, layer.height) for layer in layers] == [(960, 540), (1920, 1080)]


def test_rates() -> None:
    assert [preset_fps(layer) for layer in simulcast_layers(1280, 720)] == [20.0, 20.0, 30.0]
    assert [preset_fps(layer) for layer in simulcast_layers(960, 540)] == [20.0, 20.0, 25.0]

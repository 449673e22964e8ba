"""An encoder and a way out, as measured on livekit 1.2.1 between veth pairs: what is published in, one second out."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from quality import publishing
from quality.publish_ladder import LOWER_LAYERS_BPS, Move, Published, Settings, least_bps, scaled_size
from quality.publishing import Course, PublishDecision, PublishState
from quality.sent_layers import SentLayer
from quality.stats import Direction, QualityLimitationReason, TrackKind, TrackSource
from quality.video_model import VideoCodec
from quality.window import Window
from tests.quality.traces import EPOCH

PUBLISHED = Published(1280, 720, 30.0)
SINGLE_LINES = ((1e6, None), (550e3, 540), (400e3, 360), (250e3, 264), (0.0, 180))  # of a single layer, by bandwidth
LAYER_FPS = (15.0, 20.0)  # LiveKit's presets for the lower layers
HIGHEST_FROM_BPS = 30_000.0  # what libwebrtc enables the highest layer from
_COST = {VideoCodec.VP8: 1.0, VideoCodec.H264: 1.0, VideoCodec.VP9: 3.0, VideoCodec.AV1: 3.0}


@dataclass(frozen=True, slots=True)
class Machine:
    """`uplink_bps` of bandwidth; `cores` is how much of a core encoding 720p at 30 frames with VP8 takes."""

    uplink_bps: float = 10e6
    cores: float = 0.2

    def second(self, published: Published, settings: Settings, **changes: object) -> Window:
        """A second of it."""
        width, height = scaled_size(published.width, published.height, settings.lines)
        fps = min(published.fps, settings.max_fps or published.fps)
        cost = _COST[settings.codec or published.codec]
        load = self.cores * cost * width * height / (1280 * 720) * fps / 30
        in_time = min(1.0, 1.0 / load)
        limited = QualityLimitationReason.CPU if load > 0.85 else QualityLimitationReason.NONE
        layered = replace(published, layered=published.layered and settings.simulcast is None)
        layers = self._layers(layered, (width, height), fps * in_time, min(1.0, load), limited)
        window = Window(
            "TR_camera",
            TrackKind.VIDEO,
            TrackSource.CAMERA,
            Direction.OUTBOUND,
            measured=True,
            duration_s=1.0,
            packets=100,
            bytes=round(sum(layer.bitrate_bps for layer in layers) / 8),
            layers=layers,
            captured_fps=fps,
            available_bandwidth_bps=self.uplink_bps,
        )
        return replace(window, **changes)  # type: ignore[arg-type]

    def _layers(
        self, published: Published, size: tuple[int, int], fps: float, load: float, limited: QualityLimitationReason
    ) -> tuple[SentLayer, ...]:
        left = self.uplink_bps
        found = []
        small = size[0] * size[1] < 960 * 540
        lower = [*zip("qh", LOWER_LAYERS_BPS, LAYER_FPS, strict=True)][small:] if published.layered else []
        for index, (rid, most, most_fps) in enumerate(lower):
            target = min(most, left) if index == 0 or left >= least_bps(360) else 0.0
            left = left - target if target else 0.0  # where one is left out, all above it are
            layer_fps = min(fps, most_fps) if target else 0.0
            width, height = (side // 2 ** (len(lower) - index) for side in size)
            found.append(
                SentLayer(rid, True, width, height, layer_fps, target, target, 40.0, load, 0, limited),
            )
        if not published.layered:
            lines = next(lines for bps, lines in SINGLE_LINES if left >= bps)
            size = scaled_size(*size, lines)
        sent = not published.layered or left >= HIGHEST_FROM_BPS
        least = least_bps(min(size))
        share = min(1.0, left / least)
        if not sent:
            limited = QualityLimitationReason.BANDWIDTH
        rate = min(left, 3e6) if sent else 0.0
        qp = 30.0 if share == 1.0 else 106.0
        found.append(SentLayer("f", True, *size, fps * share if sent else 0.0, rate, rate, qp, load, 0, limited))
        return tuple(found)


Told = list[tuple[int, PublishDecision]]


class Run:
    """`machine` of each second, and what was decided. Another codec is refused on the course `refuses`."""

    def __init__(self, published: Published = PUBLISHED, refuses: Course | None = None) -> None:
        self.state: PublishState = publishing.start(published, EPOCH)
        self.refuses = refuses
        self.told: Told = []
        self.at = 0

    def go(self, machine: Machine, seconds: int, **changes: object) -> "Run":
        return self.see(lambda: machine.second(self.state.published, self.state.settings, **changes), seconds)

    def see(self, window: Callable[[], Window], seconds: int) -> "Run":
        for _ in range(seconds):
            self.at += 1
            before, now = self.state, EPOCH + self.at
            self.state, decision = publishing.step(before, window(), now)
            if decision is not None:
                self.told.append((self.at, decision))
                if decision.move is Move.CODEC and decision.course is self.refuses:
                    self.state = publishing.refused(before, decision, now)
        return self

    def moves(self) -> list[tuple[str, str]]:
        return [(item.course.value, item.move.value) for _, item in self.told]

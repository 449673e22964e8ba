"""A room made by hand for the layer controller: windows of a link, and of a server without sense."""

import math
from dataclasses import replace

from quality.allocation import Layer, Limits, Subscription
from quality.controller import adopt, step
from quality.controller_state import ControllerState
from quality.layer_trials import Action, Kind
from quality.stats import Direction, TrackKind, TrackSource, VideoQuality
from quality.window import Window

LOW, MEDIUM, HIGH = VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH
EPOCH = 1_800_000_000.0
IDLE_S, FULL_S = 0.05, 0.35
LAYERS = (
    Layer(LOW, 320, 180, 20.0, 160_000.0),
    Layer(MEDIUM, 640, 360, 20.0, 450_000.0),
    Layer(HIGH, 1280, 720, 30.0, 1_700_000.0),
)
ROOM = (Subscription("TR_a", LAYERS, active_speaker=True), Subscription("TR_b", LAYERS))
CAMERA = Subscription("TR_a", LAYERS[:2])
BROAD_BPS = 10e6
Asked = dict[str, VideoQuality | None]


def window(
    sid: str,
    quality: VideoQuality,
    *,
    distance: int = 0,
    fps: float | None = None,
    loss: float = 0.0,
    round_trip_s: float = IDLE_S,
    available_bps: float | None = None,
    width_bps: float | None = None,
) -> Window:
    """A second of the layer that is `distance` below `quality`; with fewer frames, fewer bits.

    The packets of each frame are spaced as a way of `width_bps` does; nothing tells how where that is None.
    """
    layer = LAYERS[max(0, quality - distance)]
    share = 1.0 if fps is None else fps / layer.fps
    packets = max(1, round(layer.bitrate_bps * share * (1.0 - loss) / 8800))
    behind_bits = max(0, packets - round(layer.fps * share)) * (round(layer.bitrate_bps * share / 8) / packets + 60) * 8
    return Window(
        sid,
        TrackKind.VIDEO,
        TrackSource.CAMERA,
        Direction.INBOUND,
        measured=True,
        duration_s=1.0,
        packets=packets,
        packets_lost=round(packets * loss / (1.0 - loss)),
        bytes=round(layer.bitrate_bps * share * (1.0 - loss) / 8),
        frames=round(layer.fps * share),
        fps=layer.fps * share,
        frame_width=layer.width,
        frame_height=layer.height,
        layer_distance=min(distance, quality),
        round_trip_time_s=round_trip_s,
        available_bandwidth_bps=available_bps,
        frames_assembled=round(layer.fps * share) if width_bps else 0,
        assembly_s=behind_bits / width_bps if width_bps else 0.0,
    )


def rate(quality: VideoQuality | None) -> float:
    return 0.0 if quality is None else LAYERS[quality].bitrate_bps


class Room:
    """Feeds the controller a window a second of a link that carries `link_bps` of video, and of a server without sense.

    What does not fit is lost, and then nothing can be decoded. `given` are the best layers that the server gives.
    """

    def __init__(
        self,
        link_bps: float = math.inf,
        radio_loss: float = 0.0,
        given: dict[str, VideoQuality] | None = None,
        *,
        probes: bool = True,
    ):
        self.probes = probes
        self.available_bps: float | None = None
        self.width_bps: float | None = None
        self.queue_stands = False
        self.state = ControllerState()
        self.now = EPOCH
        self.link_bps = link_bps
        self.radio_loss = radio_loss
        self.given = given or {}
        self.asked: Asked = {"TR_a": HIGH, "TR_b": HIGH}
        self.actions: list[tuple[float, Action]] = []

    def pass_seconds(self, seconds: int, limits: Limits | None = None) -> list[Action]:
        began = len(self.actions)
        for _ in range(seconds):
            self.now += 1.0
            wanted = {sid: quality for sid, quality in self.asked.items() if quality is not None}
            got = {sid: min(quality, self.given.get(sid, HIGH)) for sid, quality in wanted.items()}
            total = sum(map(rate, got.values()))
            full = total > self.link_bps
            loss = max(self.radio_loss, 1.0 - self.link_bps / total if full else 0.0)
            windows = tuple(
                window(
                    sid,
                    quality,
                    distance=quality - got[sid],
                    fps=0.0 if full else None,
                    loss=min(0.9, loss),
                    round_trip_s=FULL_S if full or self.queue_stands else IDLE_S,
                    available_bps=self.available_bps,
                    width_bps=self.width_bps,
                )
                for sid, quality in wanted.items()
            )
            if full:
                windows = tuple(replace(item, bytes=round(self.link_bps / 16)) for item in windows)
            self.state, actions = step(self.state, ROOM, windows, self.now, limits, probes=self.probes)
            for action in actions:
                assert action.from_quality == self.asked[action.track_sid] != action.to_quality
                self.asked[action.track_sid] = action.to_quality
            self.actions.extend((self.now - EPOCH, action) for action in actions)
        return [action for _, action in self.actions[began:]]

    def lower(self, quality: VideoQuality) -> None:
        """Somebody else asks for no more of either."""
        self.state = adopt(self.state, {"TR_a": quality, "TR_b": quality})
        self.asked = dict(self.state.asked)

    def times(self, kind: Kind) -> list[float]:
        return sorted({at for at, action in self.actions if action.kind is kind})


class OneCamera:
    """A camera of two layers that somebody lowered to the lower one; a window a second."""

    def __init__(self, available_bps: float | None = BROAD_BPS, *, probes: bool = True) -> None:
        self.available_bps = available_bps
        self.probes = probes
        self.second = 0
        self.state, _ = step(ControllerState(), (CAMERA,), (), EPOCH)
        self.state = adopt(self.state, {"TR_a": LOW})

    def seen(self, *, trouble: bool = False) -> Window:
        quality = self.state.asked["TR_a"]
        assert quality is not None
        if trouble:
            return window("TR_a", quality, fps=0.0, loss=0.5, round_trip_s=FULL_S, available_bps=self.available_bps)
        return window("TR_a", quality, available_bps=self.available_bps)

    def next_action(self, *, trouble: bool = False, within: int = 120) -> Action | None:
        for _ in range(within):
            self.second += 1
            seen = self.seen(trouble=trouble)
            self.state, actions = step(self.state, (CAMERA,), (seen,), EPOCH + self.second, probes=self.probes)
            if actions:
                return actions[0]
        return None

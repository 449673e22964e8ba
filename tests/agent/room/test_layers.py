"""The layer adapter's shell: want of CPU lowers layers, those of who speaks last, and they come back."""

from dataclasses import dataclass, field
from typing import cast

from agent.room.events import ActiveSpeakers, LayerChanged
from agent.room.layers import LayerAdapter
from agent.room.quality_monitor import QualityMonitor, QualityTick, TrackLabel
from agent.room.session import RoomSession
from agent.room.state import TrackState
from agent.room.subscriber import Subscriber
from agent.room.track_settings import LayerIntent
from quality.cpu_budget import CpuUse
from quality.layer_steps import height
from quality.participants import ServerOpinion
from quality.stats import TrackKind, VideoQuality
from tests.quality.traces import received

NAMES = ("ada", "bob", "cyd", "dan")
SHORT, CALM = CpuUse(1.0, 0.95), CpuUse(1.0, 0.4)


def camera(name: str) -> TrackState:
    return TrackState(f"TR_{name}", "camera", "video", "camera", name, "video/VP8", False, True, 1280, 720)


@dataclass
class Room:
    """Session and subscriber in one, as far as an adapter sees them; every ask is granted."""

    told: list[object] = field(default_factory=list)
    asked: dict[str, VideoQuality] = field(default_factory=dict)
    pinned: frozenset[str] = frozenset()
    own_identity: str = "hand"

    def add_listener(self, _listener: object) -> None:
        pass

    def emit(self, event: object) -> None:
        self.told.append(event)

    def subscribed(self) -> tuple[TrackState, ...]:
        return tuple(map(camera, NAMES))

    def intent_of(self, track: TrackState) -> LayerIntent:
        return LayerIntent(self.asked.get(track.sid, VideoQuality.HIGH), pinned=track.sid in self.pinned)

    def sent(self, track: TrackState) -> LayerIntent:
        return self.intent_of(track)

    def ceiling_of(self, _track: TrackState) -> VideoQuality:
        return VideoQuality.HIGH

    def choose_quality(self, sid: str, quality: VideoQuality | None, *, held: bool) -> None:
        assert quality is not None
        self.asked[sid] = quality

    def labels(self) -> dict[str, TrackLabel]:
        return {
            f"TR_{name}": TrackLabel(f"TR_{name}", "camera", "video", "camera", name, "video/VP8") for name in NAMES
        }

    def opinions(self) -> dict[str, ServerOpinion]:
        return {}


def run(room: Room, cpu: list[CpuUse], speaker: str = "") -> None:
    times = iter(cpu)
    adapter = LayerAdapter(cast("RoomSession", room), cast("Subscriber", room), cpu_times=lambda: next(times))
    if speaker:
        adapter._on_event(ActiveSpeakers((speaker,)))
    monitor = QualityMonitor("participant", room, lambda _event: None)
    ticks: list[QualityTick] = []
    monitor.add_listener(ticks.append)
    videos = [received(f"TR_{name}", TrackKind.VIDEO, [0.0] * (len(cpu) + 1)) for name in NAMES]
    for snapshots in zip(*videos, strict=True):
        monitor.take(snapshots, snapshots[0].timestamp)
    for tick in ticks[1 : len(cpu) + 1]:
        adapter.on_tick(tick)


def test_enough_cpu_changes_nothing() -> None:
    room = Room()
    run(room, [CALM] * 30)
    assert room.told == []


def test_want_of_cpu_lowers_layers_and_spares_who_speaks() -> None:
    room = Room()
    run(room, [SHORT] * 8, speaker="bob")
    changes = [event for event in room.told if isinstance(event, LayerChanged)]
    assert changes
    assert all(height(event.to_quality) < height(event.from_quality) for event in changes)
    assert "TR_bob" not in room.asked
    assert set(room.asked) <= {"TR_ada", "TR_cyd", "TR_dan"}


def test_beside_a_video_that_somebody_pinned_the_others_go_down_and_none_goes_off() -> None:
    room = Room(pinned=frozenset({"TR_ada"}))
    run(room, [SHORT] * 120)
    changes = [event for event in room.told if isinstance(event, LayerChanged)]
    assert room.asked == dict.fromkeys(("TR_bob", "TR_cyd", "TR_dan"), VideoQuality.LOW)
    assert len(changes) <= 6, "two steps down each"
    everybody = Room(pinned=frozenset(f"TR_{name}" for name in NAMES))
    run(everybody, [SHORT] * 120)
    assert everybody.told == []


def test_layers_come_back_when_there_is_cpu_again() -> None:
    room = Room()
    run(room, [SHORT] * 8 + [CALM] * 170)
    assert min(room.asked.values()) is VideoQuality.HIGH
    ups = [
        event
        for event in room.told
        if isinstance(event, LayerChanged) and height(event.to_quality) > height(event.from_quality)
    ]
    assert ups

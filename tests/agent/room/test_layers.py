"""The layer adapter's shell: want of CPU lowers layers, those of who speaks last, and they come back."""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from structlog.testing import capture_logs

from agent.room import subscriber as subscriber_module
from agent.room.events import ActiveSpeakers, LayerChanged, TrackSubscribed
from agent.room.layers import LayerAdapter
from agent.room.quality_monitor import QualityMonitor, QualityTick, TrackLabel
from agent.room.session import RoomSession
from agent.room.state import TrackState
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscriptionPolicy, SubscriptionRule
from agent.room.track_settings import LayerIntent
from quality.cpu_budget import CpuUse
from quality.layer_steps import height, named
from quality.participants import ServerOpinion
from quality.stats import InboundRtp, TrackKind, VideoQuality
from tests.agent.room.one_publisher import ADA, Cameras
from tests.quality.traces import received

NAMES = ("ada", "bob", "cyd", "dan")
SHORT, CALM = CpuUse(1.0, 0.95), CpuUse(1.0, 0.4)


def camera(name: str) -> TrackState:
    return TrackState(f"TR_{name}", "camera", "video", "camera", name, "video/VP8", False, True, 1280, 720)


@dataclass
class Room:
    """Session and subscriber in one, as far as an adapter sees them; every ask is granted."""

    names: tuple[str, ...] = NAMES
    told: list[object] = field(default_factory=list)
    asked: dict[str, VideoQuality] = field(default_factory=dict)
    held: dict[str, bool] = field(default_factory=dict)
    pinned: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()
    in_one_layer: frozenset[str] = frozenset()
    muted: frozenset[str] = frozenset()
    dimensions: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    own_identity: str = "hand"
    listeners: list[Callable[[object], None]] = field(default_factory=list)

    def add_listener(self, listener: Callable[[object], None]) -> None:
        self.listeners.append(listener)

    def speaks(self, names: tuple[str, ...]) -> None:
        for listener in self.listeners:
            listener(ActiveSpeakers(names))

    def emit(self, event: object) -> None:
        self.told.append(event)

    def subscribed(self) -> tuple[TrackState, ...]:
        return tuple(
            replace(track, simulcasted=track.sid not in self.in_one_layer, muted=track.sid in self.muted)
            for track in map(camera, self.names)
        )

    def intent_of(self, track: TrackState) -> LayerIntent:
        return LayerIntent(
            self.asked.get(track.sid, VideoQuality.HIGH),
            self.dimensions.get(track.sid),
            enabled=track.sid not in self.disabled,
            pinned=track.sid in self.pinned,
            held=self.held.get(track.sid, False),
        )

    def sent(self, track: TrackState) -> LayerIntent:
        return self.intent_of(track)

    def ceiling_of(self, _track: TrackState) -> VideoQuality:
        return VideoQuality.HIGH

    def choose_quality(self, sid: str, quality: VideoQuality | None, *, held: bool) -> None:
        assert quality is not None
        self.asked[sid] = quality
        self.held[sid] = held

    def changes(self) -> list[LayerChanged]:
        return [event for event in self.told if isinstance(event, LayerChanged)]

    def labels(self) -> dict[str, TrackLabel]:
        return {
            f"TR_{name}": TrackLabel(f"TR_{name}", "camera", "video", "camera", name, "video/VP8")
            for name in self.names
        }

    def opinions(self) -> dict[str, ServerOpinion]:
        return {}


def run(room: Room, cpu: list[CpuUse], spoken: Mapping[int, tuple[str, ...]] | None = None) -> None:
    """A second for each of `cpu`; before those of `spoken` the session tells who speaks from then on."""
    times = iter(cpu)
    adapter = LayerAdapter(cast("RoomSession", room), cast("Subscriber", room), cpu_times=lambda: next(times))
    monitor = QualityMonitor("participant", room, lambda _event: None)
    ticks: list[QualityTick] = []
    monitor.add_listener(ticks.append)
    videos = [received(f"TR_{name}", TrackKind.VIDEO, [0.0] * (len(cpu) + 1)) for name in room.names]
    for seen in zip(*videos, strict=True):
        nothing = (replace(each, muted=True, stats=InboundRtp(ssrc=7)) for each in seen)
        snapshots = tuple(
            silent if silent.track_sid in room.muted else each for silent, each in zip(nothing, seen, strict=True)
        )
        monitor.take(snapshots, snapshots[0].timestamp)
    for second, tick in enumerate(ticks[1 : len(cpu) + 1]):
        if spoken and second in spoken:
            room.speaks(spoken[second])
        adapter.on_tick(tick)


def test_enough_cpu_changes_nothing() -> None:
    room = Room()
    run(room, [CALM] * 30)
    assert room.told == []


def test_want_of_cpu_lowers_layers_and_spares_who_speaks() -> None:
    room = Room()
    run(room, [SHORT] * 8, {0: ("dan",)})
    changes = room.changes()
    assert changes
    assert all(height(event.to_quality) < height(event.from_quality) for event in changes)
    assert "TR_dan" not in room.asked
    assert set(room.asked) <= {"TR_ada", "TR_bob", "TR_cyd"}


def test_what_is_muted_hinders_nobody_from_going_down_and_goes_down_itself_no_more() -> None:
    muted = tuple(f"muted{at}" for at in range(30))
    room = Room(names=("ada", *muted), muted=frozenset(f"TR_{name}" for name in muted))
    run(room, [CpuUse(0.3, 0.98)] * 8)
    assert room.asked == {"TR_ada": VideoQuality.MEDIUM}


def test_beside_a_video_that_somebody_pinned_the_others_go_down_and_none_goes_off() -> None:
    room = Room(pinned=frozenset({"TR_ada"}))
    run(room, [SHORT] * 120)
    changes = room.changes()
    assert room.asked == dict.fromkeys(("TR_bob", "TR_cyd", "TR_dan"), VideoQuality.LOW)
    assert len(changes) <= 6, "two steps down each"
    everybody = Room(pinned=frozenset(f"TR_{name}" for name in NAMES))
    run(everybody, [SHORT] * 120)
    assert everybody.told == []


def test_layers_come_back_when_there_is_cpu_again() -> None:
    room = Room()
    run(room, [SHORT] * 8 + [CALM] * 170)
    assert min(room.asked.values()) is VideoQuality.HIGH
    assert any(height(event.to_quality) > height(event.from_quality) for event in room.changes())


@pytest.mark.parametrize(("ago_s", "spared"), [(0, True), (9, True), (10, False), (30, False)])
def test_who_spoke_in_the_last_ten_seconds_is_spared_and_later_is_not(ago_s: int, spared: bool) -> None:
    room = Room()
    # CPU is short in the last six of 41 seconds, and layers go in the last one.
    run(room, [CALM] * 35 + [SHORT] * 6, {3: ("dan",), 41 - ago_s: ()})
    assert room.changes()
    assert ("TR_dan" not in room.asked) is spared


def test_nobody_who_is_silent_has_focus() -> None:
    room = Room()
    run(room, [SHORT] * 6)
    assert "TR_dan" in room.asked


def test_of_a_video_shown_small_no_larger_layer_is_asked_for() -> None:
    room = Room(dimensions={"TR_ada": (640, 360)})
    run(room, [CALM] * 5)
    assert (room.asked, room.held) == ({"TR_ada": VideoQuality.MEDIUM}, {"TR_ada": False})


def test_what_is_asked_for_below_the_size_it_is_shown_in_is_held_down_and_comes_back_as_wanted() -> None:
    room = Room(dimensions={"TR_ada": (640, 360)})
    run(room, [SHORT] * 120)
    assert room.asked == {f"TR_{name}": VideoQuality.LOW for name in NAMES}
    assert set(room.held.values()) == {True}
    room = Room()
    run(room, [SHORT] * 8)
    lowered = set(room.asked)
    assert {room.held[sid] for sid in lowered} == {True}
    room = Room()
    run(room, [SHORT] * 8 + [CALM] * 170)
    assert room.held == dict.fromkeys(lowered, False)


def test_what_somebody_pinned_or_disabled_or_what_has_one_layer_is_left_alone() -> None:
    room = Room(pinned=frozenset({"TR_ada"}), disabled=frozenset({"TR_bob"}), in_one_layer=frozenset({"TR_cyd"}))
    run(room, [SHORT] * 120)
    assert room.asked == {"TR_dan": VideoQuality.LOW}


class LargeCameras(Cameras):
    """Videos of three layers that come."""

    def track(self, sid: str) -> TrackState:
        return replace(super().track(sid), width=1280, height=720)

    async def publish(self, sid: str) -> None:
        await super().publish(sid)
        self.publications[sid].track = object()


async def lowered(monkeypatch: pytest.MonkeyPatch) -> tuple[LargeCameras, Subscriber, Callable[[], None]]:
    """A video that the controller holds at its lowest layer, and what passes a second."""
    monkeypatch.setattr(subscriber_module, "send_intent", lambda _publication, _intent: None)
    room, at = LargeCameras(), itertools.count(1.0)
    subscriber = Subscriber(cast("RoomSession", room))
    adapter = LayerAdapter(cast("RoomSession", room), subscriber)

    def second() -> None:
        adapter.on_tick(QualityTick("participant", next(at), (), ()))

    await room.publish("TR_1")
    second()
    subscriber.choose_quality("TR_1", VideoQuality.LOW)
    second()
    return room, subscriber, second


@pytest.mark.parametrize("size", [(1280, 720), (640, 360), (160, 90)])
async def test_a_size_that_somebody_gives_does_not_pass_what_the_controller_holds_down(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    room, subscriber, second = await lowered(monkeypatch)
    subscriber.set_dimensions("TR_1", *size)
    second()
    sent = subscriber.sent(room.track("TR_1"))
    assert sent == LayerIntent(VideoQuality.LOW, dimensions=size, held=size != (160, 90))


async def test_a_size_above_the_rules_ceiling_is_held_down_and_asked_for_when_the_rules_allow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, subscriber, second = await lowered(monkeypatch)
    rule = SubscriptionRule(quality=VideoQuality.LOW)
    subscriber.set_policy(SubscriptionPolicy(rules=(rule,)))
    subscriber.set_dimensions("TR_1", 1280, 720)
    second()
    assert subscriber.sent(room.track("TR_1")) == LayerIntent(VideoQuality.LOW, (1280, 720), held=True)
    subscriber.set_policy(SubscriptionPolicy())
    second()
    assert subscriber.sent(room.track("TR_1")) == LayerIntent(VideoQuality.HIGH, (1280, 720))


async def test_what_somebody_pinned_and_gave_back_at_once_is_as_the_controller_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, subscriber, second = await lowered(monkeypatch)
    subscriber.set_quality("TR_1", VideoQuality.HIGH)
    subscriber.set_quality("TR_1", None)
    second()
    assert subscriber.sent(room.track("TR_1")) == LayerIntent(VideoQuality.LOW, held=True)
    with capture_logs() as lines:
        second()
    assert lines == [], "once"


@pytest.mark.parametrize("leave", ["unsubscribed", "switched off"])
async def test_what_the_controller_withheld_comes_when_it_is_there_again(
    monkeypatch: pytest.MonkeyPatch, leave: str
) -> None:
    room, subscriber, second = await lowered(monkeypatch)
    subscriber.choose_quality("TR_1", None)
    if leave == "unsubscribed":
        room.publications["TR_1"].subscribed = False
        second()
        room.publications["TR_1"].subscribed = True
        await room.tell(TrackSubscribed(ADA, room.track("TR_1")))
        second()
    else:
        assert not subscriber.set_enabled("TR_1", enabled=False).sent
        second()
        subscriber.set_enabled("TR_1", enabled=True)
    assert subscriber.sent(room.track("TR_1")).sent


def test_each_decision_and_each_budget_is_a_line_in_the_log() -> None:
    room = Room()
    with capture_logs() as lines:
        run(room, [SHORT] * 8 + [CALM] * 170)
    decisions = [line for line in lines if line["event"] == "layer_decision"]
    assert [
        (line["sid"], line["participant_identity"], line["to_quality"], line["kind"], line["reason"], line["expects"])
        for line in decisions
    ] == [
        (
            change.track.sid,
            change.track.participant_identity,
            named(change.to_quality),
            change.kind,
            change.reason,
            change.expects,
        )
        for change in room.changes()
    ]
    assert {line["reason"] for line in decisions} == {"who is seen, or a limit, changed"}
    budgets = [line for line in lines if line["event"] == "cpu_budget"]
    cores = [line["cores"] for line in budgets]
    assert cores[0] < budgets[0]["decoding_cores"] < cores[1]
    assert cores == sorted(set(cores)), "one line each time that it changes"
    assert cores[-1] == math.inf

"""What a subscriber keeps of a track, and what it forgets when the track is published again."""

import asyncio
import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from agent.room import subscriber as module
from agent.room.convert_stats import Path
from agent.room.events import ConnectionStateChanged, TrackPublished
from agent.room.layers import LayerAdapter
from agent.room.publisher import Publisher
from agent.room.quality_monitor import QualityTick, TrackLabel
from agent.room.restart_hands import ParticipantHands
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, TrackState
from agent.room.stats import StatsPoller
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
from agent.room.track_settings import LayerIntent
from quality import controller
from quality.controller_state import ControllerState
from quality.layer_trials import Action, Kind
from quality.stats import InboundRtp, VideoQuality
from tests.agent.room.one_publisher import ADA, Cameras, Publication, Room

VIDEO = TrackLabel("TR_1", "camera", "video", "camera", "ada", "video/VP9")


class Track:
    """A received track of the SDK, as far as statistics want it."""

    stream_state = rtc.StreamState.STATE_ACTIVE


def subscriber_in(room: Room) -> Subscriber:
    return Subscriber(cast("RoomSession", room))


def hands(room: Room, subscriber: Subscriber) -> ParticipantHands:
    return ParticipantHands(cast("RoomSession", room), subscriber, cast("Publisher", SimpleNamespace(missing=tuple)))


async def test_a_video_that_was_given_up_is_subscribed_to_when_it_is_published_again() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    await room.publish("TR_1")
    assert room.subscribed() == ["TR_1"]
    await hands(room, subscriber).audio_only(VIDEO)
    assert room.subscribed() == []
    await room.unpublish("TR_1")
    await room.publish("TR_2")
    assert room.subscribed() == ["TR_2"]


async def test_what_is_kept_is_subscribed_to_whatever_is_said_until_nobody_keeps_it() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    await room.publish("TR_1")
    subscriber.override("TR_1", SubscribeAction.IGNORE)
    assert room.subscribed() == []
    ends = [subscriber.keep("TR_1") for _ in range(2)]
    await asyncio.sleep(0)
    assert room.subscribed() == ["TR_1"]
    ends[0]()
    await asyncio.sleep(0)
    assert room.subscribed() == ["TR_1"]
    ends[1]()
    await asyncio.sleep(0)
    assert room.subscribed() == []
    await subscriber.aclose()


async def test_a_person_brings_a_video_back_that_was_given_up_and_what_they_chose_before_still_holds() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    await room.publish("TR_1")
    subscriber.override("TR_1", SubscribeAction.SUBSCRIBE)
    subscriber.give_up("TR_1")
    assert room.subscribed() == []
    subscriber.override("TR_1", SubscribeAction.SUBSCRIBE)
    assert room.subscribed() == ["TR_1"]


async def test_nothing_is_expected_of_a_video_that_is_not_to_be_sent() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    await room.publish("TR_1")
    room.publications["TR_1"].track = track = Track()
    poller = StatsPoller(cast("RoomSession", room), subscriber)
    poller._identifiers[cast("Any", track)] = "video"

    def muted() -> bool:
        (snapshot,) = poller._inbound_snapshots({"video": InboundRtp()}, Path(), 1.0)
        return snapshot.muted

    restarts = hands(room, subscriber)
    assert (muted(), restarts.wants(VIDEO)) == (False, True)
    room.publications["TR_1"].track = None  # no SDK to speak to
    subscriber.set_enabled("TR_1", enabled=False)
    room.publications["TR_1"].track = track
    assert (muted(), restarts.wants(VIDEO)) == (True, False)


async def test_what_the_controller_withheld_is_asked_for_when_it_is_published_again() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    await room.publish("TR_1")
    subscriber.choose_quality("TR_1", None)
    assert not subscriber.intent("TR_1").sent
    await room.unpublish("TR_1")
    await room.publish("TR_2")
    assert subscriber.intent("TR_2").sent


async def test_no_answer_of_the_sdk_is_told_to_nobody_and_says_nothing_of_any_track() -> None:
    room = Room()
    asked, enough = itertools.count(1), asyncio.Event()

    async def refused() -> None:
        if next(asked) == 3:
            enough.set()
        raise RuntimeError("reconnecting")

    room.sdk_room.get_rtc_stats = refused
    poller = StatsPoller(cast("RoomSession", room), subscriber_in(room))
    told: list[object] = []
    poller.add_listener(lambda snapshots, now: told.append(snapshots))
    assert await poller.poll() is None
    poller.start()
    async with asyncio.timeout(30):
        await enough.wait()
    await poller.aclose()
    assert told == []


async def test_a_video_that_was_given_up_takes_no_place_of_those_that_the_policy_allows() -> None:
    room = Room()
    subscriber = Subscriber(cast("RoomSession", room), SubscriptionPolicy(max_tracks=2))
    for sid in ("TR_1", "TR_2", "TR_3"):
        await room.publish(sid)
    assert room.subscribed() == ["TR_1", "TR_2"]
    subscriber.give_up("TR_1")
    assert room.subscribed() == ["TR_2", "TR_3"]
    subscriber.override("TR_1", None)
    assert room.subscribed() == ["TR_2", "TR_3"], "who is there stays"


async def test_each_track_of_a_room_is_looked_at_once_where_policies_change(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room()
    subscriber = subscriber_in(room)
    for number in range(50):
        await room.publish(f"TR_{number}")
    looks = 0
    track = room.track

    def look(sid: str) -> TrackState:
        nonlocal looks
        looks += 1
        return track(sid)

    monkeypatch.setattr(room, "track", look)
    subscriber.set_policy(SubscriptionPolicy(max_tracks=10))
    assert len(room.subscribed()) == 10
    assert looks <= 2 * 50


async def test_of_who_left_only_what_a_person_chose_is_kept() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    await room.publish("TR_1")
    subscriber.choose_quality("TR_1", VideoQuality.LOW)
    await room.leave()
    await room.publish("TR_2")
    assert subscriber.intent("TR_2").quality is VideoQuality.HIGH
    subscriber.set_quality("TR_2", VideoQuality.MEDIUM)
    await room.leave()
    assert not subscriber._order
    await room.publish("TR_3")
    assert subscriber.intent("TR_3").quality is VideoQuality.MEDIUM


async def test_who_left_while_the_room_was_joined_again_is_forgotten_once_it_is_and_who_is_back_is_not() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    await room.publish("TR_1")
    track = room.track("TR_1")
    subscriber.choose_quality("TR_1", VideoQuality.LOW)
    room.connection = ConnectionState.RECONNECTING
    await room.leave()
    assert subscriber.intent_of(track).quality is VideoQuality.LOW
    room.participants = (ADA,)
    room.connection = ConnectionState.CONNECTED
    await room.tell(ConnectionStateChanged(ConnectionState.CONNECTED))
    assert subscriber.intent_of(track).quality is VideoQuality.LOW
    room.connection = ConnectionState.RECONNECTING
    await room.leave()
    room.connection = ConnectionState.CONNECTED
    await room.tell(ConnectionStateChanged(ConnectionState.CONNECTED))
    assert not subscriber._order
    assert subscriber.intent_of(track).quality is VideoQuality.HIGH


class Counted(Room):
    """Counts how often a track's state is made from what the SDK knows, which is most of the work of a look."""

    made = 0

    def track(self, sid: str) -> TrackState:
        self.made += 1
        return replace(super().track(sid), name=sid, simulcasted=True)


async def looks_of_joining(count: int) -> float:
    """How often each of `count` tracks that were there before us is looked at until all are subscribed to."""
    room = Counted()
    subscriber_in(room)
    room.publications.update({f"TR_{number}": Publication() for number in range(count)})
    existing = [TrackPublished(ADA, track) for track in room.tracks]
    room.made = 0
    await room.tell(ConnectionStateChanged(ConnectionState.CONNECTED), *existing)
    assert len(room.subscribed()) == count
    return room.made / count


async def test_joining_a_full_room_looks_at_each_track_no_more_often_than_joining_a_small_one() -> None:
    assert await looks_of_joining(200) == await looks_of_joining(4) <= 4


async def test_tracks_that_come_in_one_turn_are_subscribed_to_in_the_next_by_one_look() -> None:
    room = Counted()
    subscriber_in(room)
    told = []
    for number in range(50):
        room.publications[f"TR_{number}"] = Publication()
        told.append(TrackPublished(ADA, room.track(f"TR_{number}")))
    room.made = 0
    await room.tell(*told)
    assert len(room.subscribed()) == 50
    assert room.made == 50


async def test_a_second_of_the_layer_controller_looks_at_each_video_once() -> None:
    room = Counted()
    subscriber = subscriber_in(room)
    for number in range(20):
        await room.publish(f"TR_{number}")
    for publication in room.publications.values():
        publication.track = Track()
    adapter = LayerAdapter(cast("RoomSession", room), subscriber)
    room.made = 0
    adapter.on_tick(QualityTick("participant", 1.0, (), ()))
    assert room.made == 20


async def test_what_the_room_told_last_is_not_followed_once_it_is_being_left() -> None:
    room = Room()
    subscriber = subscriber_in(room)
    room.publications["TR_1"] = Publication()
    telling = room.tell(TrackPublished(ADA, room.track("TR_1")))
    await asyncio.gather(telling, subscriber.aclose())
    assert room.subscribed() == []


async def test_of_two_videos_of_one_source_and_name_each_is_asked_for_its_own_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, VideoQuality]] = []
    monkeypatch.setattr(module, "send_intent", lambda publication, intent: asked.append((publication, intent.quality)))
    room = Cameras()
    subscriber = subscriber_in(room)
    for sid in ("TR_1", "TR_2"):
        await room.publish(sid)
        room.publications[sid].track = Track()
    adapter = LayerAdapter(cast("RoomSession", room), subscriber)
    for sid in ("TR_1", "TR_2", "TR_2"):
        lower = Action(sid, VideoQuality.HIGH, VideoQuality.LOW, Kind.RELIEVE, "", "")
        adapter._apply(room.track(sid), lower, held=True)
    assert asked == [(room.publications[sid], VideoQuality.LOW) for sid in ("TR_1", "TR_2")], "once each"
    await room.unpublish("TR_2")
    assert subscriber.sent(room.track("TR_2")) == LayerIntent()
    assert subscriber.sent(room.track("TR_1")).quality is VideoQuality.LOW


async def test_of_two_videos_of_one_source_and_name_the_other_is_not_taken_for_lowered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "send_intent", lambda publication, intent: None)
    taken_over: list[object] = []
    adopt = controller.adopt

    def watched(state: ControllerState, asked: dict[str, VideoQuality | None]) -> ControllerState:
        taken_over.append(asked)
        return adopt(state, asked)

    monkeypatch.setattr(controller, "adopt", watched)
    room = Cameras()
    subscriber = subscriber_in(room)
    for sid in ("TR_1", "TR_2"):
        await room.publish(sid)
        room.publications[sid].track = Track()
    subscriber.choose_quality("TR_1", VideoQuality.LOW)
    LayerAdapter(cast("RoomSession", room), subscriber).on_tick(QualityTick("participant", 1.0, (), ()))
    assert taken_over == [{"TR_1": VideoQuality.LOW, "TR_2": VideoQuality.HIGH}]


async def test_of_two_videos_of_one_source_and_name_each_keeps_its_own_layer_and_only_a_person_chooses_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, LayerIntent]] = []
    monkeypatch.setattr(module, "send_intent", lambda publication, intent: asked.append((publication, intent)))
    room = Cameras()
    subscriber = subscriber_in(room)
    poller = StatsPoller(cast("RoomSession", room), subscriber)
    for sid in ("TR_1", "TR_2"):
        await room.publish(sid)
        room.publications[sid].track = track = Track()
        poller._identifiers[cast("Any", track)] = sid
    subscriber.choose_quality("TR_1", VideoQuality.LOW)
    subscriber.choose_quality("TR_2", VideoQuality.MEDIUM, held=False)
    stats = dict.fromkeys(("TR_1", "TR_2"), InboundRtp())
    requested = [each.requested_quality for each in poller._inbound_snapshots(stats, Path(), 1.0)]
    assert requested == [VideoQuality.LOW, VideoQuality.MEDIUM]
    chosen = dict(asked)
    asked.clear()
    await room.tell(ConnectionStateChanged(ConnectionState.CONNECTED))
    assert dict(asked) == chosen, "each its own, when all are asked for again"
    subscriber.set_quality("TR_2", VideoQuality.LOW)
    assert not subscriber.intent("TR_1").pinned
    await room.publish("TR_3")
    assert subscriber.intent("TR_3") == LayerIntent(VideoQuality.LOW, pinned=True)


async def test_of_two_videos_of_one_source_and_name_each_is_bound_by_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[object, VideoQuality] = {}
    monkeypatch.setattr(module, "send_intent", lambda publication, intent: asked.update({publication: intent.quality}))
    room = Cameras()
    subscriber = subscriber_in(room)
    for sid in ("TR_1", "TR_2"):
        await room.publish(sid)
        room.publications[sid].track = Track()
    subscriber.set_policy(SubscriptionPolicy(rules=(SubscriptionRule(quality=VideoQuality.LOW),)))
    assert asked == dict.fromkeys(room.publications.values(), VideoQuality.LOW)

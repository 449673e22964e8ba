"""Which subscriptions a decoded recording has, and that it leaves none behind."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.room import consumers as module
from agent.room.consumer import FrameCallback
from agent.room.decoded_tracks import DecodedTracks
from agent.room.events import TrackSubscribed
from agent.room.session import RoomSession
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscribeAction, SubscriptionPolicy
from media.clock import SteadyClock
from tests.agent.room.one_publisher import ADA, Room


def started(room: Room) -> DecodedTracks:
    subscriber = Subscriber(cast("RoomSession", room), SubscriptionPolicy(default=SubscribeAction.IGNORE))
    return DecodedTracks(subscriber, SteadyClock(), decrypts=False)


async def test_a_track_that_went_leaves_no_subscription_for_the_next_of_its_name() -> None:
    room = Room()
    tracks = started(room)
    await room.publish("TR_1")
    assert tracks.start_track("TR_1", "video", lambda sid, frames: None)
    assert room.subscribed() == ["TR_1"]
    await room.unpublish("TR_1")
    tracks.end_track("TR_1")
    await room.publish("TR_2")
    assert room.subscribed() == [], "nobody asked for it"
    assert tracks.start_track("TR_2", "video", lambda sid, frames: None)
    assert room.subscribed() == ["TR_2"]
    await tracks.aclose()
    assert room.subscribed() == []


async def test_an_end_that_comes_late_leaves_the_next_of_its_name_alone() -> None:
    room = Room()
    tracks = started(room)
    await room.publish("TR_1")
    assert tracks.start_track("TR_1", "video", lambda sid, frames: None)
    await room.unpublish("TR_1")
    await room.publish("TR_2")
    assert tracks.start_track("TR_2", "video", lambda sid, frames: None)
    tracks.end_track("TR_1")
    assert room.subscribed() == ["TR_2"]
    await tracks.aclose()


async def test_two_cameras_of_one_participant_and_name_are_fed_each_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def give(sdk_track: object, callback: Callable[[object], None]) -> None:
        callback(sdk_track)

    monkeypatch.setattr(module, "consume", give)
    monkeypatch.setattr(module, "ContentProbe", lambda: SimpleNamespace(take=lambda _media: None))
    room = Room()
    subscriber = Subscriber(cast("RoomSession", room), SubscriptionPolicy(default=SubscribeAction.IGNORE))
    taken: dict[str, list[object]] = {"TR_1": [], "TR_2": []}
    ends = []
    for sid, media in taken.items():
        await room.publish(sid)
        room.publications[sid].track = SimpleNamespace(sid=sid)
        ends.append(subscriber.feed(sid, cast("FrameCallback", media.append)))
    for sid in taken:
        subscriber._on_event(TrackSubscribed(ADA, room.track(sid)))
    await asyncio.sleep(0.01)
    assert {sid: {cast("Any", each).sid for each in media} for sid, media in taken.items()} == {
        "TR_1": {"TR_1"},
        "TR_2": {"TR_2"},
    }
    ends[1]()
    assert room.subscribed() == ["TR_1"]
    ends[0]()
    assert room.subscribed() == []
    await subscriber.aclose()


async def test_a_track_that_the_participant_does_not_know_yet_is_not_started() -> None:
    tracks = started(Room())
    assert not tracks.start_track("TR_1", "video", lambda sid, frames: None)
    assert tracks.sids == frozenset()
    await tracks.aclose()

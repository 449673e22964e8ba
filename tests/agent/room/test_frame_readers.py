"""Reading a track: what is subscribed to for it, what is read when it comes again, and when it is over."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from agent.errors import InvalidSettings, PermissionDenied
from agent.room import frame_readers as module
from agent.room.consumer import FrameCallback, ReceivedAudio, ReceivedVideoFrame
from agent.room.events import ConnectionStateChanged, Disconnected, TrackSubscribed, TrackUnsubscribed
from agent.room.frame_readers import FrameReaders
from agent.room.permissions import Permissions
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, TrackState
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscribeAction, SubscriptionPolicy
from media.clock import SteadyClock
from tests.agent.room.one_publisher import ADA, Room

NOTHING = SubscriptionPolicy(default=SubscribeAction.IGNORE)


class Microphones(Room):
    """All that is published is sound."""

    def track(self, sid: str) -> TrackState:
        return replace(super().track(sid), kind="audio")


class Reading:
    """A room, who reads there, and the media that come."""

    def __init__(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = room
        self.callbacks: list[FrameCallback] = []
        self.subscriber = Subscriber(cast("RoomSession", room), NOTHING)
        self.readers = FrameReaders(cast("RoomSession", room), self.subscriber, SteadyClock())
        monkeypatch.setattr(module, "consume", self._consume)

    async def _consume(self, _track: object, callback: FrameCallback, **_format: int) -> None:
        self.callbacks.append(callback)
        try:
            await asyncio.Event().wait()
        finally:
            self.callbacks.remove(callback)

    async def arrives(self, sid: str) -> None:
        """The media of a track that is asked for."""
        await asyncio.sleep(0)
        assert self.room.subscribed() == [sid]
        self.room.publications[sid].track = object()
        await self.room.tell(TrackSubscribed(ADA, self.room.track(sid)))
        await asyncio.sleep(0)

    def shows(self, sid: str, level: int) -> None:
        (callback,) = self.callbacks
        callback(ReceivedVideoFrame(sid, 4, 4, bytes([level]) * 24, 0))

    def sounds(self, sid: str, seconds: int) -> None:
        (callback,) = self.callbacks
        for _ in range(seconds):
            callback(ReceivedAudio(sid, 8_000, 1, 8_000, bytes(16_000)))


def step(frames: AsyncGenerator[Any, None]) -> Awaitable[Any]:
    return asyncio.ensure_future(anext(frames, None))


async def test_it_is_subscribed_to_as_long_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Reading(Room(), monkeypatch)
    await world.room.publish("TR_1")
    frames = world.readers.video("TR_1")
    await asyncio.sleep(0)
    assert world.room.subscribed() == [], "nobody reads yet"
    async with aclosing(frames):
        first = step(frames)
        await asyncio.sleep(0)
        await world.arrives("TR_1")
        world.shows("TR_1", 1)
        assert (await first).i420[0, 0] == 1
        for level in (2, 3):
            world.shows("TR_1", level)
        frame = await step(frames)
        assert (frame.i420[0, 0], frame.skipped) == (3, 1)
    await asyncio.sleep(0)
    assert world.room.subscribed() == []
    assert world.callbacks == []


async def test_a_new_subscription_and_another_publication_are_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Reading(Room(), monkeypatch)
    await world.room.publish("TR_1")
    async with aclosing(world.readers.video("TR_1")) as frames:
        following = step(frames)
        await asyncio.sleep(0)
        await world.arrives("TR_1")
        await world.room.tell(TrackUnsubscribed(ADA, world.room.track("TR_1")))
        await asyncio.sleep(0)
        assert world.callbacks == []
        await world.arrives("TR_1")
        await world.room.publish("TR_2")
        assert world.room.subscribed() == ["TR_1", "TR_2"], "it is there before the old one goes"
        await world.room.unpublish("TR_1")
        await world.arrives("TR_2")
        world.shows("TR_2", 5)
        assert (await following).track_sid == "TR_2"
        await world.room.unpublish("TR_2")
        following = step(frames)
        await asyncio.sleep(0)
        await world.room.publish("TR_3")
        await world.arrives("TR_3")
        world.shows("TR_3", 6)
        assert (await following).track_sid == "TR_3"


async def test_it_is_over_a_while_after_the_track_is_gone_but_not_while_we_reconnect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GONE_S", 0.01)
    world = Reading(Room(), monkeypatch)
    await world.room.publish("TR_1")
    async with aclosing(world.readers.video("TR_1")) as frames:
        following = asyncio.ensure_future(step(frames))
        await asyncio.sleep(0)
        await world.room.unpublish("TR_1")
        world.room.connection = ConnectionState.RECONNECTING
        await asyncio.sleep(0.1)
        assert not following.done()
        await world.room.publish("TR_1")
        world.room.connection = ConnectionState.CONNECTED
        await world.room.tell(ConnectionStateChanged(ConnectionState.CONNECTED))
        await world.arrives("TR_1")
        world.shows("TR_1", 1)
        assert (await following) is not None
        await world.room.unpublish("TR_1")
        async with asyncio.timeout(5):
            assert await step(frames) is None


@pytest.mark.parametrize("leaving", [True, False])
async def test_it_is_over_with_the_agent_and_with_the_room(monkeypatch: pytest.MonkeyPatch, leaving: bool) -> None:
    world = Reading(Room(), monkeypatch)
    await world.room.publish("TR_1")
    frames, late = world.readers.video("TR_1"), world.readers.video("TR_1")
    following = step(frames)
    await asyncio.sleep(0)
    await world.arrives("TR_1")
    world.shows("TR_1", 1)
    if leaving:
        await world.readers.aclose()
        await world.readers.aclose()
    else:
        world.room.connection = ConnectionState.DISCONNECTED
        await world.room.tell(Disconnected("room_deleted"))
    assert (await following) is not None, "what came by then is given"
    assert await step(frames) is None
    assert await step(late) is None


async def test_who_is_too_slow_for_sound_is_told_in_log_and_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Reading(Microphones(), monkeypatch)
    await world.room.publish("TR_1")
    async with aclosing(world.readers.audio("TR_1", 8_000, 1)) as frames:
        first = step(frames)
        await asyncio.sleep(0)
        await world.arrives("TR_1")
        with capture_logs() as lines:
            world.sounds("TR_1", 13)
        assert [line["event"] for line in lines] == ["sound_not_taken"]
        frame = await first
        assert (len(frame.samples), frame.missed) == (80_000, 24_000)
        assert frame.samples.shape == (80_000, 1)
        world.sounds("TR_1", 1)
        assert (await step(frames)).missed == 0


async def test_what_cannot_be_read_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Reading(Room(), monkeypatch)
    await world.room.publish("TR_1")
    with pytest.raises(InvalidSettings, match="video_frames"):
        world.readers.audio("TR_1", 48_000, 1)
    with pytest.raises(InvalidSettings, match="channels 6"):
        world.readers.audio("TR_1", 48_000, 6)
    monkeypatch.setattr(world.room, "permissions", Permissions(can_subscribe=False))
    with pytest.raises(PermissionDenied):
        world.readers.video("TR_1")

"""What a subscriber asks the server for: again after a failure, anew, nothing without permission, and which layers."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from structlog.testing import capture_logs

from agent.errors import InvalidSettings, PermissionDenied
from agent.room import subscriber as module
from agent.room.events import (
    ConnectionStateChanged,
    PermissionsChanged,
    TrackSubscribed,
    TrackSubscriptionFailed,
    TrackUnsubscribed,
)
from agent.room.permissions import Permissions
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, TrackState
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
from agent.room.track_settings import LayerIntent
from quality.stats import VideoQuality
from tests.agent.room.one_publisher import ADA, Room

LOW, MEDIUM, HIGH = VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH
LONG_S = 3600.0
FAILED = TrackSubscriptionFailed("ada", "TR_1", "overloaded")


async def joined(*sids: str) -> tuple[Room, Subscriber]:
    """A room in which the videos of one person have been asked for."""
    room = Room()
    subscriber = Subscriber(cast("RoomSession", room))
    for sid in sids or ("TR_1",):
        await room.publish(sid)
    return room, subscriber


def asked(room: Room, sid: str = "TR_1") -> list[bool]:
    return room.publications[sid].asked


async def turns() -> None:
    """Until all that waits for nothing but its turn is done."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_track_that_the_server_could_not_give_is_asked_for_again_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    room, _ = await joined("TR_1", "TR_2")
    with capture_logs() as logs:
        await room.tell(FAILED)
        await turns()
    assert asked(room) == [True, True]
    assert asked(room, "TR_2") == [True]
    assert [(line["event"], line["sid"]) for line in logs] == [("subscription_failed", "TR_1"), ("subscribing", "TR_1")]
    await room.tell(FAILED)
    await turns()
    assert asked(room) == [True, True, True], "each time"


async def test_it_is_not_asked_for_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", LONG_S)
    room, subscriber = await joined()
    await room.tell(FAILED)
    await turns()
    assert asked(room) == [True]
    await subscriber.aclose()


async def test_what_failed_and_is_gone_or_not_wanted_any_more_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    room, subscriber = await joined("TR_1", "TR_2")
    gone = room.publications["TR_1"]

    async def change() -> None:
        subscriber.give_up("TR_2")
        await room.unpublish("TR_1")

    with capture_logs() as logs:
        # In one turn, so that both are told before anything is asked for again.
        await asyncio.gather(room.tell(FAILED, TrackSubscriptionFailed("ada", "TR_2", "overloaded")), change())
        await turns()
    assert gone.asked == [True]
    assert asked(room, "TR_2") == [True, False]
    assert not [line for line in logs if line["event"] == "task_failed"]


async def test_what_failed_before_a_reconnect_is_asked_for_once_the_room_is_joined_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    room, _ = await joined()
    room.connection = ConnectionState.RECONNECTING
    await room.tell(FAILED)
    await turns()
    assert asked(room) == [True]
    room.connection = ConnectionState.CONNECTED
    await room.tell(ConnectionStateChanged(ConnectionState.CONNECTED))
    assert asked(room) == [True, True]


async def test_a_subscription_that_begins_anew_ends_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESUBSCRIBE_S", LONG_S)
    room, subscriber = await joined("TR_1", "TR_2")
    anew = asyncio.create_task(subscriber.resubscribe("TR_1"))
    await turns()
    await room.tell(TrackUnsubscribed(ADA, room.track("TR_2")))
    await turns()
    assert asked(room) == [True, False]
    await room.tell(TrackUnsubscribed(ADA, room.track("TR_1")))
    await anew
    assert asked(room) == [True, False, True]
    assert asked(room, "TR_2") == [True]
    assert subscriber.wants("TR_1")


async def test_it_begins_anew_also_where_nobody_tells_that_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESUBSCRIBE_S", 0.0)
    room, subscriber = await joined()
    await subscriber.resubscribe("TR_1")
    assert asked(room) == [True, False, True]


async def test_what_nobody_wants_does_not_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESUBSCRIBE_S", LONG_S)
    room, subscriber = await joined("TR_1", "TR_2", "TR_3")
    subscriber.give_up("TR_1")
    await subscriber.resubscribe("TR_1")
    assert asked(room) == [True, False]
    anew = [asyncio.create_task(subscriber.resubscribe(sid)) for sid in ("TR_2", "TR_3")]
    await turns()
    subscriber.give_up("TR_2")
    gone, track = room.publications["TR_3"], room.track("TR_3")
    await room.unpublish("TR_3")
    await room.tell(TrackUnsubscribed(ADA, room.track("TR_2")), TrackUnsubscribed(ADA, track))
    await asyncio.gather(*anew)
    assert asked(room, "TR_2") == [True, False, False]
    assert gone.asked == [True, False]


async def test_without_permission_nothing_is_subscribed_to_until_there_is_one() -> None:
    room = Room()
    denied, granted = Permissions(can_subscribe=False), Permissions()
    room.permissions = denied
    subscriber = Subscriber(cast("RoomSession", room))
    with capture_logs() as logs:
        await room.publish("TR_1")
        subscriber.set_policy(SubscriptionPolicy(max_tracks=1))
    assert asked(room) == []
    assert not subscriber.wants("TR_1")
    told = [line for line in logs if line["event"] == "subscription_denied"]
    assert len(told) == 2
    with pytest.raises(PermissionDenied) as error:
        denied.require_subscribe()
    assert {line["error"] for line in told} == {str(error.value)}
    room.permissions = granted
    await room.tell(PermissionsChanged(granted))
    assert asked(room) == [True]


async def test_without_permission_and_anything_to_subscribe_to_there_is_nothing_to_tell() -> None:
    room = Room()
    room.permissions = Permissions(can_subscribe=False)
    Subscriber(cast("RoomSession", room), SubscriptionPolicy(default=SubscribeAction.IGNORE))
    with capture_logs() as logs:
        await room.publish("TR_1")
    assert logs == []


async def test_what_a_person_chose_is_not_the_controllers_to_change() -> None:
    _, subscriber = await joined()
    subscriber.set_quality("TR_1", LOW)
    for choice in (HIGH, None):
        subscriber.choose_quality("TR_1", choice)
        assert subscriber.intent("TR_1") == LayerIntent(LOW, pinned=True)
    subscriber.set_quality("TR_1", None)
    subscriber.choose_quality("TR_1", MEDIUM)
    assert subscriber.intent("TR_1") == LayerIntent(MEDIUM, held=True)


def at_best(quality: VideoQuality) -> SubscriptionPolicy:
    return SubscriptionPolicy(rules=(SubscriptionRule(quality=quality),))


def chosen(subscriber: Subscriber) -> None:
    subscriber.choose_quality("TR_1", LOW)


def pinned(subscriber: Subscriber) -> None:
    subscriber.set_quality("TR_1", HIGH)


def left_to_the_rules(_subscriber: Subscriber) -> None:
    """Nobody asks for anything."""


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        (chosen, [LOW, LOW, LOW]),
        (pinned, [HIGH, HIGH, HIGH]),
        (left_to_the_rules, [MEDIUM, LOW, HIGH]),
    ],
)
async def test_a_rule_that_allows_more_lifts_only_what_nobody_chose(
    monkeypatch: pytest.MonkeyPatch, choose: Callable[[Subscriber], None], expected: list[VideoQuality]
) -> None:
    sent: list[VideoQuality] = []
    monkeypatch.setattr(module, "send_intent", lambda _publication, intent: sent.append(intent.quality))
    room, subscriber = await joined()
    room.publications["TR_1"].track = object()
    choose(subscriber)
    found = []
    for ceiling in (MEDIUM, LOW, HIGH):
        subscriber.set_policy(at_best(ceiling))
        found.append(subscriber.intent("TR_1").quality)
    assert found == expected
    assert sent[-1] is expected[-1]


async def test_what_the_controller_chose_above_a_new_rule_is_lowered_and_told_to_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[VideoQuality] = []
    monkeypatch.setattr(module, "send_intent", lambda _publication, intent: sent.append(intent.quality))
    room, subscriber = await joined()
    room.publications["TR_1"].track = object()
    subscriber.choose_quality("TR_1", MEDIUM)
    for ceiling in (LOW, HIGH):
        subscriber.set_policy(at_best(ceiling))
        assert subscriber.intent("TR_1").quality is LOW
    assert sent == [MEDIUM, LOW, LOW]


async def test_what_was_chosen_before_is_told_to_the_server_with_each_subscription_and_after_each_reconnect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[VideoQuality] = []
    monkeypatch.setattr(module, "send_intent", lambda _publication, intent: sent.append(intent.quality))
    room, subscriber = await joined()
    subscriber.choose_quality("TR_1", LOW)
    assert sent == [], "nothing comes yet"
    room.publications["TR_1"].track = object()
    await room.tell(TrackSubscribed(ADA, room.track("TR_1")))
    assert sent == [LOW]
    await room.tell(ConnectionStateChanged(ConnectionState.CONNECTED))
    assert sent == [LOW, LOW]


@pytest.mark.parametrize("size", [(0, 9), (9, 0), (16_385, 9), (9, 16_385)])
async def test_what_is_no_picture_size_is_refused(size: tuple[int, int]) -> None:
    _, subscriber = await joined()
    with pytest.raises(InvalidSettings, match="no picture size"):
        subscriber.set_dimensions("TR_1", *size)
    assert subscriber.intent("TR_1") == LayerIntent()
    assert subscriber.set_dimensions("TR_1", 1, 16_384).dimensions == (1, 16_384)


async def test_of_who_left_the_size_and_the_switch_that_a_person_chose_are_kept_too() -> None:
    room, subscriber = await joined()
    subscriber.set_dimensions("TR_1", 640, 360)
    await room.leave()
    await room.publish("TR_2")
    assert subscriber.intent("TR_2").dimensions == (640, 360)
    subscriber.set_quality("TR_2", None)
    subscriber.set_enabled("TR_2", enabled=False)
    await room.leave()
    await room.publish("TR_3")
    assert subscriber.intent("TR_3") == LayerIntent(enabled=False)


class Large(Room):
    """Videos of three layers."""

    def track(self, sid: str) -> TrackState:
        return replace(super().track(sid), width=1280, height=720)


@pytest.mark.parametrize(
    ("size", "ceiling", "expected"),
    [
        ((1280, 720), LOW, LayerIntent(LOW, (1280, 720), held=True)),
        ((1280, 720), MEDIUM, LayerIntent(MEDIUM, (1280, 720), held=True)),
        ((640, 360), MEDIUM, LayerIntent(MEDIUM, (640, 360))),
        ((1280, 720), HIGH, LayerIntent(HIGH, (1280, 720))),
    ],
)
async def test_no_size_that_a_person_gives_passes_the_rules(
    size: tuple[int, int], ceiling: VideoQuality, expected: LayerIntent
) -> None:
    room = Large()
    subscriber = Subscriber(cast("RoomSession", room), at_best(ceiling))
    await room.publish("TR_1")
    assert subscriber.set_dimensions("TR_1", *size) == expected, "the rule first"
    room = Large()
    subscriber = Subscriber(cast("RoomSession", room))
    await room.publish("TR_1")
    subscriber.set_dimensions("TR_1", *size)
    subscriber.set_policy(at_best(ceiling))
    assert subscriber.intent("TR_1") == expected, "the size first"
    await room.unpublish("TR_1")
    await room.publish("TR_2")
    assert subscriber.intent("TR_2") == expected, "published again"


async def test_what_a_person_pinned_above_the_rules_is_within_them_once_it_is_given_back() -> None:
    room = Room()
    subscriber = Subscriber(cast("RoomSession", room), at_best(LOW))
    await room.publish("TR_1")
    assert subscriber.set_quality("TR_1", HIGH).quality is HIGH
    assert subscriber.set_quality("TR_1", None) == LayerIntent(LOW)

"""Which subscriptions a decoded recording has, and that it leaves none behind."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from agent.room.decoded_tracks import DecodedTracks
from agent.room.events import TrackPublished, TrackUnpublished
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, ParticipantState, TrackState
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscribeAction, SubscriptionPolicy
from media.clock import SteadyClock

ADA = ParticipantState("ada", "PA_1", "", "", {})


class Publication:
    """What the SDK knows of a track; nothing comes of it."""

    subscribed = False
    track = None

    def set_subscribed(self, subscribed: bool) -> None:
        self.subscribed = subscribed


class Room:
    """A joined room as a `RoomSession` shows it, in which one participant publishes and withdraws tracks."""

    connection = ConnectionState.CONNECTED
    participants = (ADA,)
    permissions = SimpleNamespace(require_subscribe=lambda: None)

    def __init__(self) -> None:
        self.publications: dict[str, Publication] = {}
        self.sdk_room = SimpleNamespace(
            remote_participants={"ada": SimpleNamespace(track_publications=self.publications)}
        )
        self._listeners: list[Callable[[object], None]] = []

    @property
    def tracks(self) -> tuple[TrackState, ...]:
        return tuple(self.track(sid) for sid in self.publications)

    def track(self, sid: str) -> TrackState:
        return TrackState(sid, "camera", "video", "camera", "ada", "video/VP9", False, False, 640, 360)

    def add_listener(self, listener: Callable[[object], None]) -> None:
        self._listeners.append(listener)

    def before_leaving(self, name: str, step: object) -> None:
        """It is not left."""

    def publish(self, sid: str) -> None:
        self.publications[sid] = Publication()
        for listener in self._listeners:
            listener(TrackPublished(ADA, self.track(sid)))

    def unpublish(self, sid: str) -> None:
        del self.publications[sid]
        for listener in self._listeners:
            listener(TrackUnpublished(ADA, self.track(sid)))

    def subscribed(self) -> list[str]:
        return [sid for sid, publication in self.publications.items() if publication.subscribed]


def started(room: Room) -> DecodedTracks:
    subscriber = Subscriber(cast("RoomSession", room), SubscriptionPolicy(default=SubscribeAction.IGNORE))
    return DecodedTracks(subscriber, SteadyClock(), decrypts=False)


async def test_a_track_that_went_leaves_no_subscription_for_the_next_of_its_name() -> None:
    room = Room()
    tracks = started(room)
    room.publish("TR_1")
    assert tracks.start_track("TR_1", "video", lambda sid, frames: None)
    assert room.subscribed() == ["TR_1"]
    room.unpublish("TR_1")
    tracks.end_track("TR_1")
    room.publish("TR_2")
    assert room.subscribed() == [], "nobody asked for it"
    assert tracks.start_track("TR_2", "video", lambda sid, frames: None)
    assert room.subscribed() == ["TR_2"]
    await tracks.aclose()
    assert room.subscribed() == []


async def test_an_end_that_comes_late_leaves_the_next_of_its_name_alone() -> None:
    room = Room()
    tracks = started(room)
    room.publish("TR_1")
    assert tracks.start_track("TR_1", "video", lambda sid, frames: None)
    room.unpublish("TR_1")
    room.publish("TR_2")
    assert tracks.start_track("TR_2", "video", lambda sid, frames: None)
    tracks.end_track("TR_1")
    assert room.subscribed() == ["TR_2"]
    await tracks.aclose()


async def test_a_track_that_the_participant_does_not_know_yet_is_not_started() -> None:
    tracks = started(Room())
    assert not tracks.start_track("TR_1", "video", lambda sid, frames: None)
    assert tracks.sids == frozenset()
    await tracks.aclose()

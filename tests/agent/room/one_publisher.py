"""A joined room with one participant who publishes and withdraws videos, as subscribers see it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

from agent.room.events import ParticipantDisconnected, TrackPublished, TrackUnpublished
from agent.room.permissions import Permissions
from agent.room.state import ConnectionState, ParticipantState, TrackState

ADA = ParticipantState("ada", "PA_1", "", "", {})


class Publication:
    """What the SDK knows of a track; nothing comes of it. `asked` is all that was asked for, in order."""

    subscribed = False
    track: object = None

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def set_subscribed(self, subscribed: bool) -> None:
        self.subscribed = subscribed
        self.asked.append(subscribed)


class Room:
    """A joined room as a `RoomSession` shows it, in which one participant publishes and withdraws tracks."""

    connection = ConnectionState.CONNECTED
    identity = "hand"
    participants: tuple[ParticipantState, ...] = (ADA,)
    permissions = Permissions()

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

    def emit(self, event: object) -> None:
        """Nobody else listens."""

    def before_leaving(self, name: str, step: object) -> None:
        """It is not left."""

    async def publish(self, sid: str) -> None:
        self.participants = (ADA,)
        self.publications[sid] = Publication()
        await self.tell(TrackPublished(ADA, self.track(sid)))

    async def unpublish(self, sid: str) -> None:
        del self.publications[sid]
        await self.tell(TrackUnpublished(ADA, self.track(sid)))

    async def leave(self) -> None:
        """The participant goes, with all tracks."""
        for sid in tuple(self.publications):
            await self.unpublish(sid)
        self.participants = ()
        await self.tell(ParticipantDisconnected(ADA))

    async def tell(self, *events: object) -> None:
        """Tell `events` in one turn of the event loop; what follows from them has happened when this returns."""
        for event in events:
            for listener in self._listeners:
                listener(event)
        await asyncio.sleep(0)

    def subscribed(self) -> list[str]:
        return [sid for sid, publication in self.publications.items() if publication.subscribed]


class Cameras(Room):
    """All that is published are simulcast videos of one source and name."""

    def track(self, sid: str) -> TrackState:
        return replace(super().track(sid), simulcasted=True)

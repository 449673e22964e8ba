"""A joined room with one participant who publishes and withdraws videos, as subscribers see it."""

from collections.abc import Callable
from types import SimpleNamespace

from agent.room.events import ParticipantDisconnected, TrackPublished, TrackUnpublished
from agent.room.state import ConnectionState, ParticipantState, TrackState

ADA = ParticipantState("ada", "PA_1", "", "", {})


class Publication:
    """What the SDK knows of a track; nothing comes of it."""

    subscribed = False
    track: object = None

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

    def leave(self) -> None:
        """The participant goes, with all tracks."""
        for sid in tuple(self.publications):
            self.unpublish(sid)
        for listener in self._listeners:
            listener(ParticipantDisconnected(ADA))

    def subscribed(self) -> list[str]:
        return [sid for sid, publication in self.publications.items() if publication.subscribed]

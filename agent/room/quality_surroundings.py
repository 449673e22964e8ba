"""What the participant's connection and the tap know of whom they receive from, for their quality monitors."""

from collections.abc import Mapping

from agent.errors import ConnectionLost
from agent.room.events import ConnectionQualityChanged, ParticipantDisconnected
from agent.room.publisher import Publisher
from agent.room.quality_monitor import TrackLabel
from agent.room.session import RoomSession
from agent.room.state import TrackState
from media.tap.events import RemoteParticipant, RemoteTrack
from media.tap.tap import Tap
from quality.participants import ServerOpinion
from quality.score import ConnectionQuality


def server_opinion(quality: str, mos: float | None = None) -> ServerOpinion | None:
    """The server's word, as livekit-protocol names it; None for a word that says nothing ("unknown")."""
    if quality not in set(ConnectionQuality):
        return None
    return ServerOpinion(ConnectionQuality(quality), mos)


def label_of(track: TrackState) -> TrackLabel:
    """A remote track's, as the participant knows it."""
    return TrackLabel(track.sid, track.name, track.kind, track.source, track.participant_identity, track.mime_type)


def tap_label_of(participant: RemoteParticipant, track: RemoteTrack) -> TrackLabel:
    """The same, as the tap knows it."""
    return TrackLabel(
        track.sid, track.name, track.kind.value, track.source, participant.identity, track.mime_type.lower()
    )


class ParticipantSurroundings:
    """The participant's own. The SDK tells the server's words without its MOS."""

    def __init__(self, session: RoomSession, publisher: Publisher) -> None:
        self._session = session
        self._publisher = publisher
        self._opinions: dict[str, ServerOpinion] = {}
        session.add_listener(self._on_event)

    def _on_event(self, event: object) -> None:
        if isinstance(event, ConnectionQualityChanged):
            opinion = server_opinion(event.quality)
            if opinion is not None:
                self._opinions[event.participant_identity] = opinion
        elif isinstance(event, ParticipantDisconnected):
            self._opinions.pop(event.participant.identity, None)

    @property
    def own_identity(self) -> str:
        """Our identity; empty outside the room."""
        try:
            return self._session.identity
        except ConnectionLost:
            return ""

    def labels(self) -> Mapping[str, TrackLabel]:
        """The room's tracks and our publications; none outside the room."""
        try:
            tracks, identity = self._session.tracks, self._session.identity
        except ConnectionLost:
            return {}
        remote = {track.sid: label_of(track) for track in tracks}
        own = {
            item.sid: TrackLabel(item.sid, item.name, item.kind, item.source, identity, "")
            for item in self._publisher.publications
        }
        return {**remote, **own}

    def opinions(self) -> Mapping[str, ServerOpinion]:
        """What the server said last, by identity."""
        return self._opinions


class TapSurroundings:
    """The tap's. Its own identity is that of its token."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap

    @property
    def own_identity(self) -> str:
        """The tap's identity; empty without a connection."""
        return self._tap.participant_identity

    def labels(self) -> Mapping[str, TrackLabel]:
        """The room's tracks."""
        return {
            track.sid: tap_label_of(participant, track)
            for participant in self._tap.participants.values()
            for track in participant.tracks
        }

    def opinions(self) -> Mapping[str, ServerOpinion]:
        """What the server said last, with its MOS, by identity."""
        identities = {sid: participant.identity for sid, participant in self._tap.participants.items()}
        identities[self._tap.participant_sid] = self._tap.participant_identity
        told = (
            (identities.get(sid), server_opinion(item.quality, item.score))
            for sid, item in self._tap.connection_qualities.items()
        )
        return {identity: opinion for identity, opinion in told if identity is not None and opinion is not None}

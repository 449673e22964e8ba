"""From the SDK's callbacks to our events."""

from collections.abc import Callable
from typing import Any

from livekit import rtc

from agent.room import convert, events

Emit = Callable[[events.RoomEvent], None]


def wire(room: rtc.Room, emit: Emit) -> None:
    """Have `emit` called with one of our events for each of the room's that concern us."""
    _wire_participants(room, emit)
    _wire_tracks(room, emit)
    _wire_local_tracks(room, emit)
    _wire_room(room, emit)


def existing(room: rtc.Room) -> list[events.RoomEvent]:
    """What was there before we joined, as the events it would have caused."""
    told: list[events.RoomEvent] = []
    for participant in room.remote_participants.values():
        state = convert.participant_state(participant)
        told.append(events.ParticipantConnected(state))
        told.extend(
            events.TrackPublished(state, convert.track_state(publication, participant))
            for publication in participant.track_publications.values()
        )
    return told


def _wire_participants(room: rtc.Room, emit: Emit) -> None:
    def connected(participant: rtc.RemoteParticipant) -> None:
        emit(events.ParticipantConnected(convert.participant_state(participant)))

    def disconnected(participant: rtc.RemoteParticipant) -> None:
        emit(events.ParticipantDisconnected(convert.participant_state(participant)))

    def changed(participant: rtc.Participant, *_before_and_after: Any) -> None:
        emit(events.MetadataChanged(convert.participant_state(participant)))

    def attributes_changed(_changes: dict[str, str], participant: rtc.Participant) -> None:
        changed(participant)

    def permissions_changed(participant: rtc.Participant, *_permissions: Any) -> None:
        if isinstance(participant, rtc.LocalParticipant):
            emit(events.PermissionsChanged(convert.permissions(participant)))

    def quality_changed(participant: rtc.Participant | None, quality: int) -> None:
        if participant is not None:
            emit(events.ConnectionQualityChanged(participant.identity, convert.connection_quality(quality)))

    def speakers_changed(speakers: list[rtc.Participant]) -> None:
        emit(events.ActiveSpeakers(tuple(speaker.identity for speaker in speakers)))

    room.on("participant_connected", connected)
    room.on("participant_disconnected", disconnected)
    room.on("participant_metadata_changed", changed)
    room.on("participant_name_changed", changed)
    room.on("participant_attributes_changed", attributes_changed)
    room.on("participant_permissions_changed", permissions_changed)
    room.on("connection_quality_changed", quality_changed)
    room.on("active_speakers_changed", speakers_changed)


def _wire_tracks(room: rtc.Room, emit: Emit) -> None:
    def told_of_publication(kind: type[events.TrackPublished] | type[events.TrackUnpublished]) -> Callable[..., None]:
        def callback(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
            emit(kind(convert.participant_state(participant), convert.track_state(publication, participant)))

        return callback

    def told_of_subscription(
        kind: type[events.TrackSubscribed] | type[events.TrackUnsubscribed],
    ) -> Callable[..., None]:
        def callback(
            _track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
        ) -> None:
            emit(kind(convert.participant_state(participant), convert.track_state(publication, participant)))

        return callback

    def told_of_mute(kind: type[events.TrackMuted] | type[events.TrackUnmuted]) -> Callable[..., None]:
        def callback(participant: rtc.Participant, publication: rtc.TrackPublication) -> None:
            if isinstance(participant, rtc.RemoteParticipant):
                emit(kind(convert.participant_state(participant), convert.track_state(publication, participant)))

        return callback

    def subscription_failed(participant: rtc.RemoteParticipant, track_sid: str, error: str) -> None:
        emit(events.TrackSubscriptionFailed(participant.identity, track_sid, str(error)))

    room.on("track_published", told_of_publication(events.TrackPublished))
    room.on("track_unpublished", told_of_publication(events.TrackUnpublished))
    room.on("track_subscribed", told_of_subscription(events.TrackSubscribed))
    room.on("track_unsubscribed", told_of_subscription(events.TrackUnsubscribed))
    room.on("track_muted", told_of_mute(events.TrackMuted))
    room.on("track_unmuted", told_of_mute(events.TrackUnmuted))
    room.on("track_subscription_failed", subscription_failed)


def _wire_local_tracks(room: rtc.Room, emit: Emit) -> None:
    def republished(publication: rtc.LocalTrackPublication, previous_sid: str) -> None:
        emit(
            events.LocalTrackPublished(
                publication.sid,
                publication.name,
                convert.track_kind(publication.kind),
                convert.track_source(publication.source),
                previous_sid,
            )
        )

    def told_of_mute(*, muted: bool) -> Callable[..., None]:
        def callback(participant: rtc.Participant, publication: rtc.TrackPublication) -> None:
            if isinstance(participant, rtc.LocalParticipant):
                emit(events.LocalTrackMuted(publication.sid, muted))

        return callback

    room.on("local_track_republished", republished)
    room.on("track_muted", told_of_mute(muted=True))
    room.on("track_unmuted", told_of_mute(muted=False))


def _wire_room(room: rtc.Room, emit: Emit) -> None:
    def state_changed(state: int) -> None:
        emit(events.ConnectionStateChanged(convert.connection_state(state)))

    def disconnected(reason: int) -> None:
        emit(events.Disconnected(convert.disconnect_reason(reason)))

    def metadata_changed(_before: str, after: str) -> None:
        emit(events.RoomMetadataChanged(after))

    def data_received(packet: rtc.DataPacket) -> None:
        identity = packet.participant.identity if packet.participant else ""
        reliable = packet.kind == rtc.DataPacketKind.KIND_RELIABLE
        emit(events.DataReceived(identity, packet.topic or "", packet.data, reliable))

    room.on("connection_state_changed", state_changed)
    room.on("disconnected", disconnected)
    room.on("room_metadata_changed", metadata_changed)
    room.on("data_received", data_received)

"""Which of a room's events belong on a recording's timeline, and how they are written there (pure)."""

import base64
from collections.abc import Mapping

from agent.room import events
from agent.room.state import ParticipantState, TrackState
from media.record.entries import JsonValue, TimelineEvent


def timeline_event(event: object, at: float) -> TimelineEvent | None:
    """The entry for `event`, which happened at `at` (Unix seconds); None for what is not kept.

    Payloads of data are base64. Types: text, data, data_track_frame, participant_connected and
    _disconnected, track_published, _unpublished, _muted and _unmuted, metadata_changed.
    """
    match event:
        case events.TextReceived():
            payload: dict[str, JsonValue] = {
                "topic": event.topic,
                "text": event.text,
                "stream_id": event.stream_id,
                "attributes": _strings(event.attributes),
            }
            return TimelineEvent("text", at, event.participant_identity, payload)
        case events.DataReceived():
            payload = {"topic": event.topic, "payload": _base64(event.payload), "reliable": event.reliable}
            return TimelineEvent("data", at, event.participant_identity, payload)
        case events.DataTrackFrame():
            payload = {
                "name": event.name,
                "sid": event.sid,
                "payload": _base64(event.payload),
                "user_timestamp": event.user_timestamp,
            }
            return TimelineEvent("data_track_frame", at, event.participant_identity, payload)
        case _:
            return _presence_event(event, at)


def _presence_event(event: object, at: float) -> TimelineEvent | None:
    match event:
        case events.ParticipantConnected(participant=participant):
            return TimelineEvent("participant_connected", at, participant.identity, _participant(participant))
        case events.ParticipantDisconnected(participant=participant):
            return TimelineEvent("participant_disconnected", at, participant.identity, _participant(participant))
        case events.MetadataChanged(participant=participant):
            return TimelineEvent("metadata_changed", at, participant.identity, _participant(participant))
        case events.TrackPublished(track=track):
            return TimelineEvent("track_published", at, track.participant_identity, _track(track))
        case events.TrackUnpublished(track=track):
            return TimelineEvent("track_unpublished", at, track.participant_identity, _track(track))
        case events.TrackMuted(track=track):
            return TimelineEvent("track_muted", at, track.participant_identity, _track(track))
        case events.TrackUnmuted(track=track):
            return TimelineEvent("track_unmuted", at, track.participant_identity, _track(track))
        case _:
            return None


def _participant(participant: ParticipantState) -> dict[str, JsonValue]:
    return {
        "sid": participant.sid,
        "name": participant.name,
        "metadata": participant.metadata,
        "attributes": _strings(participant.attributes),
    }


def _track(track: TrackState) -> dict[str, JsonValue]:
    return {
        "sid": track.sid,
        "name": track.name,
        "kind": track.kind,
        "source": track.source,
        "mime_type": track.mime_type,
    }


def _strings(values: Mapping[str, str]) -> dict[str, JsonValue]:
    return dict(values)


def _base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()

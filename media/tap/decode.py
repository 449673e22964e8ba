"""From the server's protobufs to our values, pure (livekit-protocol `livekit_rtc.proto`)."""

from collections.abc import Callable
from typing import Protocol

from livekit.protocol import models, rtc

from media.frames import MediaKind
from media.json_text import parse_json
from media.tap.events import (
    CandidateReceived,
    ConnectionQualityUpdated,
    Joined,
    LayerQuality,
    LeaveRequested,
    OfferReceived,
    ParticipantsUpdated,
    RemoteParticipant,
    RemoteTrack,
    SignalEvent,
    SpeakersChanged,
    StreamStateUpdated,
    SubscriptionAllowed,
    SubscriptionRefused,
    TokenRefreshed,
    VideoLayer,
)

UNKNOWN = "unknown"
_LAYER_QUALITIES = frozenset(int(quality) for quality in LayerQuality)


class _Enum(Protocol):
    """A protobuf enum."""

    def Name(self, number: int) -> str:  # noqa: N802 - protobuf's own
        """Its word; ValueError for a number without one."""


def word(enum: _Enum, number: int) -> str:
    """An enum's value in lower case; `UNKNOWN` for numbers of newer servers, or that a participant made up."""
    try:
        return enum.Name(number).lower()
    except ValueError:
        return UNKNOWN


def decode_join(join: rtc.JoinResponse) -> Joined:
    """What the server says of the room on joining."""
    turn = tuple(
        (tuple(url for url in server.urls if url.startswith("turn")), server.username, server.credential)
        for server in join.ice_servers
        if any(url.startswith("turn") for url in server.urls)
    )
    return Joined(
        room_sid=join.room.sid,
        room_name=join.room.name,
        participant_sid=join.participant.sid,
        participants=tuple(_participant(item) for item in join.other_participants),
        ping_interval_s=float(join.ping_interval or 5),
        ping_timeout_s=float(join.ping_timeout or 15),
        turn_servers=turn,
        sif_trailer=join.sif_trailer,
        participant_identity=join.participant.identity,
    )


def _participant(info: models.ParticipantInfo) -> RemoteParticipant:
    return RemoteParticipant(
        sid=info.sid,
        identity=info.identity,
        name=info.name,
        metadata=info.metadata,
        attributes=dict(info.attributes),
        active=info.state != models.ParticipantInfo.State.DISCONNECTED,
        tracks=tuple(_track(item) for item in info.tracks if item.type != models.TrackType.DATA),
    )


def _track(info: models.TrackInfo) -> RemoteTrack:
    return RemoteTrack(
        sid=info.sid,
        name=info.name,
        kind=MediaKind.VIDEO if info.type == models.TrackType.VIDEO else MediaKind.AUDIO,
        source=word(models.TrackSource, info.source),
        mime_type=info.mime_type,
        muted=info.muted,
        simulcasted=info.simulcast,
        encrypted=info.encryption != models.Encryption.Type.NONE,
        width=info.width,
        height=info.height,
        layers=tuple(
            VideoLayer(LayerQuality(item.quality), item.width, item.height, item.bitrate)
            for item in info.layers
            if int(item.quality) in _LAYER_QUALITIES
        ),
    )


def decode(response: rtc.SignalResponse) -> list[SignalEvent]:
    """The events in one message; none for messages that do not concern a receiver."""
    decoder = _DECODERS.get(response.WhichOneof("message") or "")
    return decoder(response) if decoder else []


def _decode_offer(response: rtc.SignalResponse) -> list[SignalEvent]:
    return [OfferReceived(response.offer.sdp, response.offer.id)]


def _decode_update(response: rtc.SignalResponse) -> list[SignalEvent]:
    return [ParticipantsUpdated(tuple(_participant(item) for item in response.update.participants))]


def _decode_stream_state(response: rtc.SignalResponse) -> list[SignalEvent]:
    states = response.stream_state_update.stream_states
    return [StreamStateUpdated(item.track_sid, item.state == rtc.StreamState.PAUSED) for item in states]


def _decode_quality(response: rtc.SignalResponse) -> list[SignalEvent]:
    return [
        ConnectionQualityUpdated(item.participant_sid, word(models.ConnectionQuality, item.quality), item.score)
        for item in response.connection_quality.updates
    ]


def _decode_speakers(response: rtc.SignalResponse) -> list[SignalEvent]:
    return [SpeakersChanged({item.sid: item.active for item in response.speakers_changed.speakers})]


def _decode_permission(response: rtc.SignalResponse) -> list[SignalEvent]:
    update = response.subscription_permission_update
    if update.allowed:
        return [SubscriptionAllowed(update.track_sid)]
    return [SubscriptionRefused(update.track_sid, "not allowed by the publisher")]


def _decode_subscription(response: rtc.SignalResponse) -> list[SignalEvent]:
    answer = response.subscription_response
    return [SubscriptionRefused(answer.track_sid, word(models.SubscriptionError, answer.err))]


def _decode_leave(response: rtc.SignalResponse) -> list[SignalEvent]:
    leave = response.leave
    returns = leave.can_reconnect or leave.action in {
        rtc.LeaveRequest.Action.RESUME,
        rtc.LeaveRequest.Action.RECONNECT,
    }
    return [LeaveRequested(word(models.DisconnectReason, leave.reason), returns)]


def _decode_trickle(response: rtc.SignalResponse) -> list[SignalEvent]:
    if response.trickle.target != rtc.SignalTarget.SUBSCRIBER:
        return []
    candidate = parse_json(response.trickle.candidateInit or "{}").get("candidate", "")
    return [CandidateReceived(candidate)] if candidate else []


_DECODERS: dict[str, Callable[[rtc.SignalResponse], list[SignalEvent]]] = {
    "offer": _decode_offer,
    "trickle": _decode_trickle,
    "update": _decode_update,
    "stream_state_update": _decode_stream_state,
    "connection_quality": _decode_quality,
    "speakers_changed": _decode_speakers,
    "subscription_permission_update": _decode_permission,
    "subscription_response": _decode_subscription,
    "refresh_token": lambda response: [TokenRefreshed(response.refresh_token)],
    "leave": _decode_leave,
}

"""Where the SDK's objects become our types (statistics: convert_stats.py), and ours the SDK's options."""

import re

from livekit import rtc

from agent.errors import PermissionDenied, RoomhandError, ServerUnreachable, Unauthorized
from agent.room.permissions import Permissions
from agent.room.probe import not_taken
from agent.room.publish_options import TrackPlan, VideoCodec
from agent.room.state import ConnectionState, ParticipantState, TrackState
from quality.stats import TrackKind, TrackSource

_KINDS = {rtc.TrackKind.KIND_AUDIO: TrackKind.AUDIO, rtc.TrackKind.KIND_VIDEO: TrackKind.VIDEO}
_SOURCES = {
    rtc.TrackSource.SOURCE_CAMERA: TrackSource.CAMERA,
    rtc.TrackSource.SOURCE_MICROPHONE: TrackSource.MICROPHONE,
    rtc.TrackSource.SOURCE_SCREENSHARE: TrackSource.SCREEN_SHARE,
    rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO: TrackSource.SCREEN_SHARE_AUDIO,
}
_SDK_SOURCES = {ours: theirs for theirs, ours in _SOURCES.items()}
_SDK_CODECS = {
    VideoCodec.VP8: rtc.VideoCodec.VP8,
    VideoCodec.H264: rtc.VideoCodec.H264,
    VideoCodec.VP9: rtc.VideoCodec.VP9,
    VideoCodec.AV1: rtc.VideoCodec.AV1,
}
_CONNECTION_STATES = {
    rtc.ConnectionState.CONN_CONNECTED: ConnectionState.CONNECTED,
    rtc.ConnectionState.CONN_RECONNECTING: ConnectionState.RECONNECTING,
    rtc.ConnectionState.CONN_DISCONNECTED: ConnectionState.DISCONNECTED,
}
_HTTP_STATUS = re.compile(r"\b(400|401|403) ")


def participant_state(participant: rtc.Participant) -> ParticipantState:
    """A participant as it is now."""
    return ParticipantState(
        identity=participant.identity,
        sid=participant.sid,
        name=participant.name,
        metadata=participant.metadata,
        attributes=participant.attributes,
    )


def track_state(publication: rtc.TrackPublication, participant: rtc.Participant) -> TrackState:
    """A participant's track as it was published, and whether it is muted now."""
    return TrackState(
        sid=publication.sid,
        name=publication.name,
        kind=track_kind(publication.kind),
        source=track_source(publication.source),
        participant_identity=participant.identity,
        mime_type=publication.mime_type.lower(),
        muted=publication.muted,
        simulcasted=publication.simulcasted,
        width=publication.width,
        height=publication.height,
        encrypted=publication.encryption_type != rtc.EncryptionType.NONE,
    )


def track_kind(kind: int) -> TrackKind:
    """Audio or video; what is neither has no place among media tracks and counts as video."""
    return _KINDS.get(rtc.TrackKind.ValueType(kind), TrackKind.VIDEO)


def track_source(source: int) -> TrackSource:
    """LiveKit's `TrackSource`."""
    return _SOURCES.get(rtc.TrackSource.ValueType(source), TrackSource.UNKNOWN)


def connection_state(state: int) -> ConnectionState:
    """LiveKit's `ConnectionState`."""
    return _CONNECTION_STATES[rtc.ConnectionState.ValueType(state)]


def connection_quality(quality: int) -> str:
    """excellent, good, poor, lost or unknown."""
    return rtc.ConnectionQuality(quality).name.removeprefix("QUALITY_").lower()


def disconnect_reason(reason: int) -> str:
    """LiveKit's `DisconnectReason` in lower case."""
    names = {number: name for name, number in rtc.DisconnectReason.items()}
    return names.get(rtc.DisconnectReason.ValueType(reason), "unknown_reason").lower()


def permissions(participant: rtc.LocalParticipant) -> Permissions:
    """What the server lets us do now."""
    granted = participant.permissions
    return Permissions(
        can_subscribe=granted.can_subscribe,
        can_publish=granted.can_publish,
        can_publish_data=granted.can_publish_data,
        can_update_metadata=granted.can_update_metadata,
        hidden=granted.hidden,
        can_publish_sources=tuple(track_source(source) for source in granted.can_publish_sources),
    )


def connect_error(error: rtc.ConnectError, server: str) -> RoomhandError:
    """What a failed `Room.connect` means. Its text is never shown: it quotes the token."""
    text = error.message
    if "permission" in text.lower():
        return PermissionDenied("the access token does not allow joining this room; mint one with roomJoin for it")
    status = _HTTP_STATUS.search(text)
    if status and status[1] == "400":
        return not_taken(server)
    if status:
        return Unauthorized(
            f"{server} refused the access token; check that LIVEKIT_API_KEY and LIVEKIT_API_SECRET are this server's"
        )
    return ServerUnreachable(f"could not join through {server}; check that it is a LiveKit server and reachable")


def sdk_codec(codec: VideoCodec) -> rtc.VideoCodec.ValueType:
    """The SDK's word for a codec."""
    return _SDK_CODECS[codec]


def sdk_publish_options(plan: TrackPlan) -> rtc.TrackPublishOptions:
    """The SDK's options for one track."""
    options = rtc.TrackPublishOptions(source=_SDK_SOURCES.get(plan.source, rtc.TrackSource.SOURCE_UNKNOWN))
    if plan.kind is TrackKind.AUDIO:
        if plan.bitrate_bps is not None:
            options.audio_encoding.max_bitrate = plan.bitrate_bps
        return options
    options.simulcast = plan.simulcast
    options.video_codec = _SDK_CODECS[plan.video_codec]
    if plan.pre_encoded:
        options.video_encoder = rtc.VideoEncoderBackend.ENCODER_BACKEND_PRE_ENCODED
    if plan.bitrate_bps is not None and plan.fps is not None:
        options.video_encoding.max_bitrate = plan.bitrate_bps
        options.video_encoding.max_framerate = plan.fps
    return options

"""Everything a room tells, as values: no SDK object leaves agent/room/convert.py."""

from dataclasses import dataclass

from agent.room.permissions import Permissions
from agent.room.state import ConnectionState, ParticipantState, TrackState
from quality.stats import VideoQuality


@dataclass(frozen=True, slots=True)
class ParticipantConnected:
    """A remote participant is in the room; also told for those already there when we join."""

    participant: ParticipantState


@dataclass(frozen=True, slots=True)
class ParticipantDisconnected:
    """A remote participant left, or is gone for us while we reconnect."""

    participant: ParticipantState


@dataclass(frozen=True, slots=True)
class TrackPublished:
    """A remote participant publishes a track; also told for those already there when we join."""

    participant: ParticipantState
    track: TrackState


@dataclass(frozen=True, slots=True)
class TrackUnpublished:
    """A remote participant withdrew a track, or it is gone for us while we reconnect."""

    participant: ParticipantState
    track: TrackState


@dataclass(frozen=True, slots=True)
class TrackSubscribed:
    """Media of a track we asked for will come; layer settings sent from here on hold."""

    participant: ParticipantState
    track: TrackState


@dataclass(frozen=True, slots=True)
class TrackUnsubscribed:
    """Media of a track no longer come."""

    participant: ParticipantState
    track: TrackState


@dataclass(frozen=True, slots=True)
class TrackSubscriptionFailed:
    """The server cannot give us a track; `error` is its reason."""

    participant_identity: str
    track_sid: str
    error: str


@dataclass(frozen=True, slots=True)
class TrackMuted:
    """A remote track was muted."""

    participant: ParticipantState
    track: TrackState


@dataclass(frozen=True, slots=True)
class TrackUnmuted:
    """A remote track was unmuted."""

    participant: ParticipantState
    track: TrackState


@dataclass(frozen=True, slots=True)
class LocalTrackPublished:
    """A track of ours is in the room. `previous_sid` is its SID before it was published anew, else empty."""

    sid: str
    name: str
    kind: str
    source: str
    previous_sid: str = ""


@dataclass(frozen=True, slots=True)
class LocalTrackMuted:
    """A track of ours is muted, or is not any more, whoever did it: a moderator may mute it on the server."""

    sid: str
    muted: bool


@dataclass(frozen=True, slots=True)
class LocalTrackUnpublished:
    """A track of ours is no longer in the room; `reason` says why, for people."""

    sid: str
    name: str
    kind: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A data packet. `participant_identity` is empty where a server API sent it."""

    participant_identity: str
    topic: str
    payload: bytes
    reliable: bool


@dataclass(frozen=True, slots=True)
class TextReceived:
    """A whole text stream (LiveKit uses topics `lk.chat` and `lk.transcription`)."""

    participant_identity: str
    topic: str
    text: str
    stream_id: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class DataTrackPublished:
    """A remote participant publishes a data track."""

    participant_identity: str
    sid: str
    name: str


@dataclass(frozen=True, slots=True)
class DataTrackUnpublished:
    """A remote data track is gone."""

    sid: str


@dataclass(frozen=True, slots=True)
class DataTrackFrame:
    """One frame of a data track we read. `user_timestamp` is the sender's own, None if it sent none."""

    participant_identity: str
    sid: str
    name: str
    payload: bytes
    user_timestamp: int | None


@dataclass(frozen=True, slots=True)
class ConnectionStateChanged:
    """Connected, reconnecting, connected again, or disconnected."""

    state: ConnectionState


@dataclass(frozen=True, slots=True)
class ActiveSpeakers:
    """Who speaks, loudest first; ourselves included."""

    participant_identities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionQualityChanged:
    """The server's judgment of a participant's connection: excellent, good, poor, lost or unknown."""

    participant_identity: str
    quality: str


@dataclass(frozen=True, slots=True)
class MetadataChanged:
    """A participant's name, metadata or attributes changed; `participant` has the new ones."""

    participant: ParticipantState


@dataclass(frozen=True, slots=True)
class RoomMetadataChanged:
    """The room's own metadata changed."""

    metadata: str


@dataclass(frozen=True, slots=True)
class PermissionsChanged:
    """What we may do changed while we are in the room."""

    permissions: Permissions


@dataclass(frozen=True, slots=True)
class LayerChanged:
    """Our controller asked for another layer of a subscribed video, or (None) for none of it.

    `kind` is one of `quality.layer_trials.Kind`. `reason` and `expects` are for people; what comes of it is held
    against the latter. `connection` is the one that asks: "participant" or "tap".
    """

    track: TrackState
    from_quality: VideoQuality | None
    to_quality: VideoQuality | None
    kind: str
    reason: str
    expects: str
    connection: str = "participant"


@dataclass(frozen=True, slots=True)
class PublishAdapted:
    """A video of ours is sent otherwise now, for what machine or way out carry.

    `limit`, `move` and `course` are of `quality.publishing`: "cpu" or "bandwidth"; "fps", "lines", "codec", "simulcast"
    or "bitrate"; "down", "up" or "undone". `max_fps`, `lines` (of the shorter side), `video_codec`, `simulcast`
    (False: in one layer) and `max_bitrate_bps` hold now, None is as published. `reason` and `expects` are sentences.
    """

    track_sid: str
    name: str
    limit: str
    move: str
    course: str
    max_fps: float | None
    lines: int | None
    video_codec: str | None
    simulcast: bool | None
    max_bitrate_bps: int | None
    reason: str
    expects: str


@dataclass(frozen=True, slots=True)
class QualityPatternChanged:
    """A degradation of a track began (`began`) or ended; `pattern` is one of `quality.patterns.Pattern`.

    `connection` is the one that saw it: "participant" or "tap". `began_at` is Unix seconds, `reason` a sentence.
    """

    track_sid: str
    participant_identity: str
    connection: str
    pattern: str
    began: bool
    began_at: float
    reason: str


@dataclass(frozen=True, slots=True)
class TrackRestarted:
    """A track that should flow and did not was restarted, or given up on.

    `remedy` is one of `quality.restart.Remedy`; `outcome` "begun", and later one of `quality.restart.Outcome`.
    `connection` is "participant" or "tap". `problem` is one of `quality.restart.Problem`.
    """

    track_sid: str
    participant_identity: str
    connection: str
    remedy: str
    outcome: str
    problem: str
    reason: str


@dataclass(frozen=True, slots=True)
class ParticipantQualityChanged:
    """Our judgment of a participant, as good as its worst track on `connection`, is another word now.

    `quality` is excellent, good, poor or lost, `score` 0..100, `mos` 1..4.5; `reasons` say why it is no better.
    `server_quality` is the server's word at that moment, empty where it said none.
    """

    participant_identity: str
    connection: str
    quality: str
    score: float
    mos: float
    reasons: tuple[str, ...]
    server_quality: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The room is over for us; the last event of a session.

    `reason` is LiveKit's `DisconnectReason` in lower case, `client_initiated` where we left.
    """

    reason: str

    @property
    def by_us(self) -> bool:
        """Whether we left, rather than the server or the network ending it."""
        return self.reason == "client_initiated"


RoomEvent = (
    ParticipantConnected
    | ParticipantDisconnected
    | TrackPublished
    | TrackUnpublished
    | TrackSubscribed
    | TrackUnsubscribed
    | TrackSubscriptionFailed
    | TrackMuted
    | TrackUnmuted
    | LocalTrackPublished
    | LocalTrackMuted
    | LocalTrackUnpublished
    | DataReceived
    | TextReceived
    | DataTrackPublished
    | DataTrackUnpublished
    | DataTrackFrame
    | ConnectionStateChanged
    | ActiveSpeakers
    | ConnectionQualityChanged
    | MetadataChanged
    | RoomMetadataChanged
    | PermissionsChanged
    | LayerChanged
    | QualityPatternChanged
    | ParticipantQualityChanged
    | TrackRestarted
    | Disconnected
)

"""What a room agent says of its room: plain values for the API, the CLI and the supervisor."""

from dataclasses import dataclass
from enum import StrEnum


class ConnectionState(StrEnum):
    """As LiveKit's `ConnectionState`, and the end of it."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class ParticipantState:
    """A remote participant."""

    identity: str
    sid: str
    name: str
    metadata: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class ReceiveState:
    """What one connection (the participant's or the tap's) receives of a track.

    Counters are W3C webrtc-stats'; `jitter` is in seconds, `layers_seen` lists the picture sizes received so far, as
    `WIDTHxHEIGHT`, in order of appearance. `score` is 0 to 100 on the server's scale, `mos` 1 to 4.5, `quality` its
    word (excellent, good, poor, lost); all None until judged. `model_mos` is what people see or hear as far as
    statistics tell, None where that is not judged. `reasons` say why it is no better, `patterns` are the degradations
    that hold now. `muted`: by its publisher, or as this end asked for nothing to be sent; its score says nothing then.
    """

    packets_received: int = 0
    packets_lost: int = 0
    bytes_received: int = 0
    frames_received: int = 0
    frame_width: int = 0
    frame_height: int = 0
    frames_per_second: float = 0.0
    jitter: float = 0.0
    nack_count: int = 0
    pli_count: int = 0
    freeze_count: int = 0
    score: float | None = None
    layers_seen: tuple[str, ...] = ()
    mos: float | None = None
    quality: str | None = None
    model_mos: float | None = None
    reasons: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    muted: bool = False


@dataclass(frozen=True, slots=True)
class TrackState:
    """A remote track, with what the participant and the tap receive of it (None: not subscribed).

    `encrypted`: end to end. `quality` is the layer asked for (low, medium, high); `quality_pinned` whether by a person
    rather than by the controller.
    """

    sid: str
    name: str
    kind: str
    source: str
    participant_identity: str
    mime_type: str
    muted: bool
    simulcasted: bool
    width: int
    height: int
    quality: str | None = None
    quality_pinned: bool = False
    subscription: ReceiveState | None = None
    tap: ReceiveState | None = None
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class PublicationState:
    """Something this agent publishes. `score`, `quality` and `patterns` as in `ReceiveState`.

    `status` is published, failed (it could not be published again, or its source could not be read on), ended or
    unpublished; `reason` says why it is not published, for people, and is empty while it is.
    """

    sid: str
    name: str
    kind: str
    source: str
    status: str
    muted: bool
    score: float | None = None
    quality: str | None = None
    patterns: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class UndecryptableTrack:
    """A track with end-to-end encryption that is not recorded now.

    `reason`: missing_key, wrong_key, or unsupported for a codec that cannot be decrypted.
    """

    sid: str
    name: str
    kind: str
    participant_identity: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """The recording in progress, or the last one of this agent.

    `error_code` and `error` tell of the last refusal of the disk, or that the recorder's connection was ended for good
    (tap_error: nothing is recorded any more); empty where nothing went wrong. While `state` is
    storage_error, frames are lost; recording goes on by itself when the disk takes them again. `recorded_s`: seconds
    recorded, pauses left out. `ended_reason`: what closed it, in a word; empty while it runs. `paused`: somebody has
    it paused, whatever else `state` tells of it. `undecryptable` are the tracks that are left out for want of their
    key; they are recorded once it is given.
    """

    recording_id: str
    path: str
    state: str
    started_at: float
    tracks: int
    segments: int
    bytes: int
    frames: int
    frames_lost: int
    error_code: str = ""
    error: str = ""
    recorded_s: float = 0.0
    ended_reason: str = ""
    undecryptable: tuple[UndecryptableTrack, ...] = ()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RoomState:
    """Everything at once; `at` is Unix seconds."""

    room: str
    sid: str
    identity: str
    connection: ConnectionState
    at: float
    participants: tuple[ParticipantState, ...] = ()
    tracks: tuple[TrackState, ...] = ()
    publications: tuple[PublicationState, ...] = ()
    recording: RecordingStatus | None = None

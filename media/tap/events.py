"""What the server and the tap tell: frozen values, no protobufs."""

from dataclasses import dataclass, field
from enum import IntEnum

from media.frames import MediaKind


class LayerQuality(IntEnum):
    """LiveKit's `VideoQuality`, with its wire values."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class VideoLayer:
    """A simulcast layer as its publisher declares it; `bitrate_bps` 0 where it does not say."""

    quality: LayerQuality
    width: int
    height: int
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class RemoteTrack:
    """A track some participant publishes; `mime_type` as in TrackInfo (`video/VP8`)."""

    sid: str
    name: str
    kind: MediaKind
    source: str
    mime_type: str
    muted: bool
    simulcasted: bool
    encrypted: bool
    width: int = 0
    height: int = 0
    layers: tuple[VideoLayer, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteParticipant:
    """A participant other than the tap."""

    sid: str
    identity: str
    name: str
    metadata: str
    attributes: dict[str, str]
    active: bool
    tracks: tuple[RemoteTrack, ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """The server took us in."""

    room_sid: str
    room_name: str
    participant_sid: str
    participants: tuple[RemoteParticipant, ...]
    ping_interval_s: float
    ping_timeout_s: float
    turn_servers: tuple[tuple[tuple[str, ...], str, str], ...] = field(default=(), repr=False)
    sif_trailer: bytes = b""
    """What frames that the server makes up end with, in rooms with end-to-end encryption."""
    participant_identity: str = ""


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """The server offers its side of the subscriber connection."""

    sdp: str
    offer_id: int


@dataclass(frozen=True, slots=True)
class CandidateReceived:
    """A trickled candidate of the server for the subscriber connection."""

    candidate: str


@dataclass(frozen=True, slots=True)
class ParticipantsUpdated:
    """New state of some participants; one that is no longer active has left."""

    participants: tuple[RemoteParticipant, ...]


@dataclass(frozen=True, slots=True)
class StreamStateUpdated:
    """The server paused or resumed tracks for lack of bandwidth."""

    track_sid: str
    paused: bool


@dataclass(frozen=True, slots=True)
class ConnectionQualityUpdated:
    """The server's opinion of a participant: its quality word and its MOS-like score."""

    participant_sid: str
    quality: str
    score: float


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    """Participants (by SID) among those we subscribe to who began or ceased to speak, as the server measures it."""

    speaking: dict[str, bool]


@dataclass(frozen=True, slots=True)
class SubscriptionRefused:
    """The server could not subscribe us to a track, or the publisher does not allow it."""

    track_sid: str
    reason: str


@dataclass(frozen=True, slots=True)
class SubscriptionAllowed:
    """The publisher of a track allows it again; the server goes on with what was asked for."""

    track_sid: str


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """A newer token to reconnect with."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LeaveRequested:
    """The server ends the session; `can_reconnect` whether we may come back."""

    reason: str
    can_reconnect: bool


SignalEvent = (
    OfferReceived
    | CandidateReceived
    | ParticipantsUpdated
    | StreamStateUpdated
    | ConnectionQualityUpdated
    | SpeakersChanged
    | SubscriptionRefused
    | SubscriptionAllowed
    | TokenRefreshed
    | LeaveRequested
)

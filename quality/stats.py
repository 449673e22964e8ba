"""What is known of one track at one moment: W3C webrtc-stats counters, with the standard's own names.

Source: https://www.w3.org/TR/webrtc-stats/. Identifiers are in snake_case; times and durations are in
seconds, as there. Counters count since the stream began. `None` means "this end does not measure it",
which is not the same as zero: the SDK reports absent values as 0, and a tap decodes next to nothing.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from quality.content import ContentCounts


class TrackKind(StrEnum):
    """W3C `MediaStreamTrack.kind`."""

    AUDIO = "audio"
    VIDEO = "video"


class TrackSource(StrEnum):
    """LiveKit's `TrackSource`."""

    UNKNOWN = "unknown"
    CAMERA = "camera"
    MICROPHONE = "microphone"
    SCREEN_SHARE = "screen_share"
    SCREEN_SHARE_AUDIO = "screen_share_audio"


class Direction(StrEnum):
    """Which way the media goes, seen from this process."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class VideoQuality(IntEnum):
    """LiveKit's `VideoQuality` with its wire values; it orders the simulcast layers."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


class QualityLimitationReason(StrEnum):
    """W3C `RTCQualityLimitationReason`: why an encoder sends less than it was asked to."""

    NONE = "none"
    CPU = "cpu"
    BANDWIDTH = "bandwidth"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class VideoLayer:
    """One simulcast layer as the publisher announced it (LiveKit's `VideoLayer`), in pixels."""

    quality: VideoQuality
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class InboundRtp:
    """`RTCInboundRtpStreamStats` of one received stream.

    `packets_lost` may go down: duplicates count against losses (RFC 3550 §6.4.1). `jitter` is in
    seconds. `frames_decoded` is None where nothing is decoded. `reports_sent` is the count of sender
    reports (from `RTCRemoteOutboundRtpStreamStats`), None where unknown. `audio_level` is 0..1 of full
    scale, linear; None for video and where nothing is decoded. `packets_repaired` were lost on the way and
    came again, or out of redundancy: `packets_lost` leaves them out where this end can tell.
    `round_trip_time` is in seconds: of the candidate pair's checks, or of retransmissions; None where
    neither was measured. `total_assembly_time` adds up the seconds from the first to the last packet of each of the
    `frames_assembled_from_multiple_packets`; both stay 0 where they are not told.
    """

    ssrc: int = 0
    packets_received: int = 0
    packets_lost: int = 0
    packets_discarded: int = 0
    retransmitted_packets_received: int = 0
    bytes_received: int = 0
    jitter: float = 0.0
    frames_received: int = 0
    frames_decoded: int | None = None
    frames_dropped: int = 0
    key_frames_decoded: int = 0
    frame_width: int = 0
    frame_height: int = 0
    frames_per_second: float = 0.0
    freeze_count: int = 0
    total_freezes_duration: float = 0.0
    pause_count: int = 0
    total_pauses_duration: float = 0.0
    nack_count: int = 0
    pli_count: int = 0
    fir_count: int = 0
    jitter_buffer_delay: float = 0.0
    jitter_buffer_emitted_count: int = 0
    concealed_samples: int = 0
    total_samples_received: int = 0
    reports_sent: int | None = None
    audio_level: float | None = None
    round_trip_time: float | None = None
    packets_repaired: int = 0
    frames_assembled_from_multiple_packets: int = 0
    total_assembly_time: float = 0.0


@dataclass(frozen=True, slots=True)
class OutboundRtp:
    """`RTCOutboundRtpStreamStats` of one sent stream (one simulcast layer, `rid`, where there are several).

    `target_bitrate` is in bits per second. `audio_level` is that of the source (`RTCAudioSourceStats`), 0..1 of
    full scale, linear; None for video. `packets_lost` and `round_trip_time` (seconds) come from
    `RTCRemoteInboundRtpStreamStats`: what the receiver reported, None before its first report. `active` is W3C's:
    whether the layer is to be sent, None where it is not told. `total_encode_time` is in seconds. `frames_captured` is
    the count of the source's frames (`RTCVideoSourceStats.frames`), None for audio and where it is not told.
    `mime_type` is of `RTCCodecStats`, empty where it is not told.
    """

    ssrc: int = 0
    rid: str = ""
    packets_sent: int = 0
    bytes_sent: int = 0
    retransmitted_packets_sent: int = 0
    retransmitted_bytes_sent: int = 0
    frames_encoded: int = 0
    frames_sent: int = 0
    key_frames_encoded: int = 0
    frame_width: int = 0
    frame_height: int = 0
    frames_per_second: float = 0.0
    target_bitrate: float = 0.0
    quality_limitation_reason: QualityLimitationReason = QualityLimitationReason.NONE
    nack_count: int = 0
    pli_count: int = 0
    fir_count: int = 0
    packets_lost: int | None = None
    round_trip_time: float | None = None
    audio_level: float | None = None
    active: bool | None = None
    qp_sum: int = 0
    total_encode_time: float = 0.0
    frames_captured: int | None = None
    mime_type: str = ""


@dataclass(frozen=True, slots=True)
class TrackSnapshot:
    """One track at `timestamp` (Unix seconds of a steady clock).

    `stats` is one inbound stream, or the outbound streams of all simulcast layers: it decides the direction.
    `muted`: by its publisher, or this subscriber asked for nothing to be sent: nothing is expected of it.
    `stream_paused` says that the server withholds the media for want of bandwidth (`stream_state_update`).
    `requested_quality` is what this subscriber asked for, None for audio and for what it publishes; `requested_fps`
    are the frames a second that it asked for at most, None for all. `layers` is empty where the publisher announced
    none. `available_bandwidth_bps` is what this end believes the way carries, bits per second; None where it is not
    estimated. `content` is what its decoded sound or pictures showed since it began; None where none are looked at.
    """

    track_sid: str
    kind: TrackKind
    source: TrackSource
    timestamp: float
    stats: InboundRtp | tuple[OutboundRtp, ...]
    muted: bool = False
    stream_paused: bool = False
    requested_quality: VideoQuality | None = None
    requested_fps: float | None = None
    layers: tuple[VideoLayer, ...] = ()
    available_bandwidth_bps: float | None = None
    content: ContentCounts | None = None

    @property
    def direction(self) -> Direction:
        """Inbound for a subscription, outbound for a publication."""
        return Direction.INBOUND if isinstance(self.stats, InboundRtp) else Direction.OUTBOUND

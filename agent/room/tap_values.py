"""The tap's values as the room's, the recording's and the quality package's (pure)."""

from agent.room.state import ParticipantState, TrackState
from media.frames import Codec, MediaKind
from media.record.codec_config import RECORDABLE as RECORDABLE_CODECS
from media.record.entries import TrackDescriptor
from media.rtp.inbound_rtp_stats import InboundRtpStats
from media.tap.events import LayerQuality, RemoteParticipant, RemoteTrack
from quality.stats import InboundRtp, TrackSource, VideoLayer, VideoQuality

# RED is a wrapping that the receiver takes off.
RECORDABLE = {"audio/red": Codec.OPUS} | {f"{codec.kind}/{codec}": codec for codec in RECORDABLE_CODECS}
"""Codecs that the tap can hand to a recording, by MIME type in lower case."""

OPUS_PACKET_SAMPLES = 960  # 20 ms, as WebRTC sends it; of another length both counts are as much off


def is_recordable(track: TrackState) -> bool:
    """Whether the track's codec can be recorded."""
    return track.mime_type.lower() in RECORDABLE


def participant_state(participant: RemoteParticipant) -> ParticipantState:
    """A participant as the policy's rules see it."""
    return ParticipantState(
        participant.identity, participant.sid, participant.name, participant.metadata, participant.attributes
    )


def track_state(participant: RemoteParticipant, track: RemoteTrack) -> TrackState:
    """A track as the policy's rules see it."""
    return TrackState(
        sid=track.sid,
        name=track.name,
        kind=track.kind.value,
        source=track.source,
        participant_identity=participant.identity,
        mime_type=track.mime_type,
        muted=track.muted,
        simulcasted=track.simulcasted,
        width=track.width,
        height=track.height,
        encrypted=track.encrypted,
    )


def track_descriptor(participant: RemoteParticipant, track: RemoteTrack, codec: Codec) -> TrackDescriptor:
    """A track as the recording describes it."""
    return TrackDescriptor(
        track_sid=track.sid,
        track_name=track.name,
        source=track.source,
        kind=track.kind,
        codec=codec,
        participant_identity=participant.identity,
        participant_name=participant.name,
        participant_sid=participant.sid,
    )


def track_source(track: RemoteTrack) -> TrackSource:
    """LiveKit's source of a track; unknown for words that came later."""
    return TrackSource(track.source) if track.source in set(TrackSource) else TrackSource.UNKNOWN


def video_quality(quality: LayerQuality | None) -> VideoQuality | None:
    """The layer asked for, as the quality package names it."""
    return None if quality is None else VideoQuality(quality.value)


def video_layers(track: RemoteTrack) -> tuple[VideoLayer, ...]:
    """The simulcast layers that a track's publisher announced; none for one that is sent in one layer only."""
    if not track.simulcasted:
        return ()
    return tuple(VideoLayer(VideoQuality(item.quality.value), item.width, item.height) for item in track.layers)


def tap_inbound_rtp(stats: InboundRtpStats, track: RemoteTrack) -> InboundRtp:
    """The tap's statistics of `track` as the quality package takes them.

    Packets that redundancy brought count as received, those that may still come are not lost yet, and what only
    probed the way, or came twice, is not the track's. A tap decodes nothing: pictures are decoded that could be,
    and concealed samples of sound are those that whoever plays it will have to conceal. Frames that it drops are
    incomplete, which losses and freezes tell of; none is dropped for want of time, as W3C's `framesDropped` has it.
    """
    received = stats.media_packets_received + stats.packets_repaired
    # RFC 3550 counts what came by RTX, or in later packets, as lost, and copies as making up for other losses.
    missing = stats.packets_given_up
    sound = OPUS_PACKET_SAMPLES if track.kind is MediaKind.AUDIO else 0
    return InboundRtp(
        packets_received=received,
        packets_lost=missing,
        packets_repaired=stats.packets_recovered_by_rtx + stats.packets_repaired,
        packets_discarded=stats.packets_discarded,
        retransmitted_packets_received=stats.retransmitted_packets_received,
        bytes_received=stats.media_bytes_received,
        jitter=stats.jitter,
        frames_received=stats.frames_received,
        frames_decoded=stats.jitter_buffer_emitted_count,
        key_frames_decoded=stats.key_frames_received,
        frame_width=stats.frame_width,
        frame_height=stats.frame_height,
        freeze_count=stats.freeze_count,
        total_freezes_duration=stats.total_freezes_duration,
        pause_count=stats.pause_count,
        total_pauses_duration=stats.total_pauses_duration,
        nack_count=stats.nack_count,
        pli_count=stats.pli_count,
        jitter_buffer_delay=stats.jitter_buffer_delay,
        jitter_buffer_emitted_count=stats.jitter_buffer_emitted_count,
        concealed_samples=missing * sound,
        total_samples_received=(received + missing) * sound,
        reports_sent=stats.sender_reports_received,
        round_trip_time=stats.round_trip_time,
    )

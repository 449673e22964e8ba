"""The SDK's statistics (protobuf), how they are asked for, and what they are in quality.stats.

All fields are `required` there: what a kind of track does not measure reads 0, and is None for us
where quality.stats can say so.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from livekit import rtc
from livekit.rtc._proto import stats_pb2 as proto_stats

from quality.pre_encoded import Encoded
from quality.stats import InboundRtp, OutboundRtp, QualityLimitationReason

SdkTrack = rtc.LocalVideoTrack | rtc.LocalAudioTrack | rtc.RemoteVideoTrack | rtc.RemoteAudioTrack

_LIMITATIONS = {
    proto_stats.QualityLimitationReason.LIMITATION_NONE: QualityLimitationReason.NONE,
    proto_stats.QualityLimitationReason.LIMITATION_CPU: QualityLimitationReason.CPU,
    proto_stats.QualityLimitationReason.LIMITATION_BANDWIDTH: QualityLimitationReason.BANDWIDTH,
    proto_stats.QualityLimitationReason.LIMITATION_OTHER: QualityLimitationReason.OTHER,
}


@dataclass(frozen=True, slots=True)
class Path:
    """What a connection's candidate pairs tell: bits per second each way, and seconds; None where they do not."""

    incoming_bps: float | None = None
    outgoing_bps: float | None = None
    round_trip_time: float | None = None


def path_of(stats: rtc.RtcStats) -> Path:
    """What the nominated candidate pairs say, the largest of several; W3C `RTCIceCandidatePairStats`."""
    pairs = [
        entry.candidate_pair.candidate_pair
        for entry in (*stats.subscriber_stats, *stats.publisher_stats)
        if entry.HasField("candidate_pair") and entry.candidate_pair.candidate_pair.nominated
    ]
    return Path(
        incoming_bps=_largest(pair.available_incoming_bitrate for pair in pairs),
        outgoing_bps=_largest(pair.available_outgoing_bitrate for pair in pairs),
        round_trip_time=_largest(pair.current_round_trip_time for pair in pairs),
    )


@dataclass(frozen=True, slots=True)
class SelectedPair:
    """The candidate pair that a connection uses; W3C `RTCIceCandidatePairStats`."""

    id: str
    responses_received: int


def selected_pair(stats: rtc.RtcStats) -> SelectedPair | None:
    """The pair that the transport says it uses; None where it uses none. There is one transport in our rooms."""
    entries = (*stats.publisher_stats, *stats.subscriber_stats)
    selected = {
        entry.transport.transport.selected_candidate_pair_id for entry in entries if entry.HasField("transport")
    }
    return next(
        (
            SelectedPair(entry.candidate_pair.rtc.id, entry.candidate_pair.candidate_pair.responses_received)
            for entry in entries
            if entry.HasField("candidate_pair") and entry.candidate_pair.rtc.id in selected
        ),
        None,
    )


def is_stream_paused(track: rtc.RemoteVideoTrack | rtc.RemoteAudioTrack) -> bool:
    """Whether the server withholds the track for want of bandwidth, as far as the SDK says.

    livekit 1.2.1 tells it of a new track and no change of it later; the tap knows of its own tracks.
    """
    return track.stream_state == rtc.StreamState.STATE_PAUSED


async def track_stats(track: SdkTrack) -> list[proto_stats.RtcStats]:
    """One track's statistics. Raises RuntimeError where the SDK has none."""
    try:
        return await track.get_stats()
    except Exception as error:
        # The SDK raises a bare Exception here (Track.get_stats, livekit 1.2.1).
        raise RuntimeError(str(error)) from error


def packets_sent(stats: Iterable[proto_stats.RtcStats]) -> int:
    """Of all layers together."""
    return sum(entry.outbound_rtp.sent.packets_sent for entry in stats if entry.HasField("outbound_rtp"))


def encoded(stats: Iterable[proto_stats.RtcStats]) -> Encoded:
    """Of all layers together."""
    layers = [entry.outbound_rtp.outbound for entry in stats if entry.HasField("outbound_rtp")]
    return Encoded(sum(each.frames_encoded for each in layers), sum(each.key_frames_encoded for each in layers))


def inbound_by_track(stats: rtc.RtcStats) -> dict[str, InboundRtp]:
    """What is received, by W3C `trackIdentifier`: a random id where one connection carries both ways."""
    entries = [*stats.subscriber_stats, *stats.publisher_stats]
    round_trip_time = path_of(stats).round_trip_time
    reports = {
        entry.remote_outbound_rtp.rtc.id: entry.remote_outbound_rtp.remote_outbound.reports_sent
        for entry in entries
        if entry.HasField("remote_outbound_rtp")
    }
    return {
        entry.inbound_rtp.inbound.track_identifier: _inbound(entry.inbound_rtp, reports, round_trip_time)
        for entry in entries
        if entry.HasField("inbound_rtp")
    }


def outbound_by_source(stats: rtc.RtcStats) -> dict[str, tuple[OutboundRtp, ...]]:
    """What is sent, by the `trackIdentifier` of its media source; a stream for each simulcast layer."""
    sources = {
        entry.media_source.rtc.id: entry.media_source.source.track_identifier
        for entry in stats.publisher_stats
        if entry.HasField("media_source")
    }
    levels = {
        entry.media_source.rtc.id: entry.media_source.audio.audio_level
        for entry in stats.publisher_stats
        if entry.HasField("media_source") and entry.media_source.source.kind == "audio"
    }
    captured = {
        entry.media_source.rtc.id: entry.media_source.video.frames
        for entry in stats.publisher_stats
        if entry.HasField("media_source") and entry.media_source.source.kind == "video"
    }
    mime_types = {
        entry.codec.rtc.id: entry.codec.codec.mime_type for entry in stats.publisher_stats if entry.HasField("codec")
    }
    reports = {
        entry.remote_inbound_rtp.remote_inbound.local_id: entry.remote_inbound_rtp
        for entry in stats.publisher_stats
        if entry.HasField("remote_inbound_rtp")
    }
    streams: dict[str, list[OutboundRtp]] = defaultdict(list)
    for entry in stats.publisher_stats:
        if entry.HasField("outbound_rtp"):
            identifier = sources.get(entry.outbound_rtp.outbound.media_source_id)
            if identifier is not None:
                source_id = entry.outbound_rtp.outbound.media_source_id
                stream = _outbound(entry.outbound_rtp, reports, levels.get(source_id))
                mime_type = mime_types.get(entry.outbound_rtp.stream.codec_id, "")
                found = replace(stream, frames_captured=captured.get(source_id), mime_type=mime_type)
                streams[identifier].append(found)
    return {identifier: tuple(sorted(each, key=lambda stream: stream.rid)) for identifier, each in streams.items()}


def track_identifier(track_stats: Iterable[proto_stats.RtcStats]) -> str | None:
    """The `trackIdentifier` in one track's own statistics: what it is called in those of the session."""
    for entry in track_stats:
        if entry.HasField("media_source"):
            return entry.media_source.source.track_identifier
        if entry.HasField("inbound_rtp"):
            return entry.inbound_rtp.inbound.track_identifier
    return None


def _largest(values: Iterable[float]) -> float | None:
    """The largest of `values` that is no 0, which is how an absent value reads."""
    return max((value for value in values if value > 0), default=None)


def _inbound(
    entry: proto_stats.RtcStats.InboundRtp, reports: dict[str, int], round_trip_time: float | None
) -> InboundRtp:
    received, inbound = entry.received, entry.inbound
    video = entry.stream.kind == "video"
    return InboundRtp(
        ssrc=entry.stream.ssrc,
        packets_received=received.packets_received,
        packets_lost=received.packets_lost,
        packets_discarded=inbound.packets_discarded,
        retransmitted_packets_received=inbound.retransmitted_packets_received,
        bytes_received=inbound.bytes_received,
        jitter=received.jitter,
        frames_received=inbound.frames_received,
        frames_decoded=inbound.frames_decoded if video else None,
        frames_dropped=inbound.frames_dropped,
        key_frames_decoded=inbound.key_frames_decoded,
        frame_width=inbound.frame_width,
        frame_height=inbound.frame_height,
        frames_per_second=inbound.frames_per_second,
        freeze_count=inbound.freeze_count,
        total_freezes_duration=inbound.total_freeze_duration,
        pause_count=inbound.pause_count,
        total_pauses_duration=inbound.total_pause_duration,
        nack_count=inbound.nack_count,
        pli_count=inbound.pli_count,
        fir_count=inbound.fir_count,
        jitter_buffer_delay=inbound.jitter_buffer_delay,
        jitter_buffer_emitted_count=inbound.jitter_buffer_emitted_count,
        concealed_samples=inbound.concealed_samples,
        total_samples_received=inbound.total_samples_received,
        reports_sent=reports.get(inbound.remote_id),
        audio_level=None if video else inbound.audio_level,
        round_trip_time=round_trip_time,
        frames_assembled_from_multiple_packets=inbound.frames_assembled_from_multiple_packets,
        total_assembly_time=inbound.total_assembly_time,
    )


def _outbound(
    entry: proto_stats.RtcStats.OutboundRtp,
    reports: dict[str, proto_stats.RtcStats.RemoteInboundRtp],
    audio_level: float | None,
) -> OutboundRtp:
    sent, outbound = entry.sent, entry.outbound
    report = reports.get(entry.rtc.id)
    return OutboundRtp(
        ssrc=entry.stream.ssrc,
        rid=outbound.rid,
        packets_sent=sent.packets_sent,
        bytes_sent=sent.bytes_sent,
        retransmitted_packets_sent=outbound.retransmitted_packets_sent,
        retransmitted_bytes_sent=outbound.retransmitted_bytes_sent,
        frames_encoded=outbound.frames_encoded,
        frames_sent=outbound.frames_sent,
        key_frames_encoded=outbound.key_frames_encoded,
        frame_width=outbound.frame_width,
        frame_height=outbound.frame_height,
        frames_per_second=outbound.frames_per_second,
        target_bitrate=outbound.target_bitrate,
        quality_limitation_reason=_LIMITATIONS.get(outbound.quality_limitation_reason, QualityLimitationReason.OTHER),
        nack_count=outbound.nack_count,
        pli_count=outbound.pli_count,
        fir_count=outbound.fir_count,
        packets_lost=report.received.packets_lost if report else None,
        round_trip_time=report.remote_inbound.round_trip_time if report else None,
        audio_level=audio_level,
        active=outbound.active,
        qp_sum=outbound.qp_sum,
        total_encode_time=outbound.total_encode_time,
    )

"""From the SDK's statistics (protobuf) to quality.stats.

All fields are `required` there: what a kind of track does not measure reads 0, and is None for us
where quality.stats can say so.
"""

from collections import defaultdict
from collections.abc import Iterable

from livekit import rtc
from livekit.rtc._proto import stats_pb2 as proto_stats

from quality.stats import InboundRtp, OutboundRtp, QualityLimitationReason

_LIMITATIONS = {
    proto_stats.QualityLimitationReason.LIMITATION_NONE: QualityLimitationReason.NONE,
    proto_stats.QualityLimitationReason.LIMITATION_CPU: QualityLimitationReason.CPU,
    proto_stats.QualityLimitationReason.LIMITATION_BANDWIDTH: QualityLimitationReason.BANDWIDTH,
    proto_stats.QualityLimitationReason.LIMITATION_OTHER: QualityLimitationReason.OTHER,
}


def inbound_by_track(stats: rtc.RtcStats) -> dict[str, InboundRtp]:
    """What is received, by W3C `trackIdentifier`: a random id where one connection carries both ways."""
    entries = [*stats.subscriber_stats, *stats.publisher_stats]
    reports = {
        entry.remote_outbound_rtp.rtc.id: entry.remote_outbound_rtp.remote_outbound.reports_sent
        for entry in entries
        if entry.HasField("remote_outbound_rtp")
    }
    return {
        entry.inbound_rtp.inbound.track_identifier: _inbound(entry.inbound_rtp, reports)
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
                streams[identifier].append(_outbound(entry.outbound_rtp, reports))
    return {identifier: tuple(sorted(each, key=lambda stream: stream.rid)) for identifier, each in streams.items()}


def track_identifier(track_stats: Iterable[proto_stats.RtcStats]) -> str | None:
    """The `trackIdentifier` in one track's own statistics: what it is called in those of the session."""
    for entry in track_stats:
        if entry.HasField("media_source"):
            return entry.media_source.source.track_identifier
        if entry.HasField("inbound_rtp"):
            return entry.inbound_rtp.inbound.track_identifier
    return None


def _inbound(entry: proto_stats.RtcStats.InboundRtp, reports: dict[str, int]) -> InboundRtp:
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
        nack_count=inbound.nack_count,
        pli_count=inbound.pli_count,
        fir_count=inbound.fir_count,
        jitter_buffer_delay=inbound.jitter_buffer_delay,
        jitter_buffer_emitted_count=inbound.jitter_buffer_emitted_count,
        concealed_samples=inbound.concealed_samples,
        total_samples_received=inbound.total_samples_received,
        reports_sent=reports.get(inbound.remote_id),
    )


def _outbound(
    entry: proto_stats.RtcStats.OutboundRtp, reports: dict[str, proto_stats.RtcStats.RemoteInboundRtp]
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
    )

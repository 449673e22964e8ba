"""What is known of one received track, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InboundRtpStats:
    """A snapshot, named as in W3C webrtc-stats (RTCInboundRtpStreamStats) where W3C has a name.

    Seconds and bytes; counters are cumulative over the life of the track, across SSRC changes.
    `packets_received` and `bytes_received` include retransmissions; `bytes_received` is payload
    only, `header_bytes_received` is headers and padding. `packets_lost` is of RFC 3550: what came
    by RTX stays lost there. A frame counts as displayed when `poll` hands it out.
    """

    timestamp: float
    packets_received: int
    bytes_received: int
    header_bytes_received: int
    last_packet_received_timestamp: float | None
    packets_lost: int
    fraction_lost: float
    """Share of the packets expected between the last two report blocks, 0 to 1 (RFC 3550 A.3)."""
    jitter: float
    packets_discarded: int
    """Packets that came too late, or whose payload type is not known."""
    packets_duplicated: int
    padding_packets_received: int
    """Packets without media, sent to probe for bandwidth."""
    retransmitted_packets_received: int
    retransmitted_bytes_received: int
    unneeded_bytes_received: int
    """Those of them that nobody lacked: sent to probe for bandwidth."""
    packets_given_up: int
    """Packets that were waited for in vain, and that not just padding can have been: what media really lack. Copies
    of others that come twice make up for none of them, as they do in `packets_lost`."""
    packets_recovered: int
    """Packets that came after a NACK asked for them, by whatever way."""
    packets_recovered_by_rtx: int
    """Those of them that came by RTX: `packets_lost` has them too."""
    packets_repaired: int
    """Packets of audio that were taken from the redundancy (RFC 2198) in later ones, but for those that then came
    themselves; `packets_lost` has them too."""
    nack_count: int
    pli_count: int
    frames_received: int
    key_frames_received: int
    frames_dropped: int
    """Frames with a part missing, broken off at a switch of layers or malformed, and those before the first
    sync sample."""
    blank_frames_dropped: int
    """Tiny key frames that the server puts in when it closes a track."""
    frames_undecryptable: int
    """Frames of a track with end-to-end encryption that no key at hand opens; they are dropped."""
    discontinuities: int
    freeze_count: int
    total_freezes_duration: float
    pause_count: int
    total_pauses_duration: float
    frame_width: int
    frame_height: int
    jitter_buffer_delay: float
    """Sum over all emitted frames of the time from first packet to hand-out."""
    jitter_buffer_emitted_count: int
    jitter_buffer_packets: int
    """Packets that wait behind a hole right now."""
    jitter_buffer_overflows: int
    sender_reports_received: int
    """Sender reports of this and earlier SSRCs (`RTCRemoteOutboundRtpStreamStats.reportsSent`, as far as they came)."""
    round_trip_time: float | None
    """From a NACK to the packet it asked for, smoothed; None before the first."""

    @property
    def media_bytes_received(self) -> int:
        """Payload bytes without those that were sent to probe for bandwidth: what the track itself takes."""
        return self.bytes_received - self.unneeded_bytes_received

    @property
    def media_packets_received(self) -> int:
        """Packets received, without those of padding and what came twice."""
        return self.packets_received - self.padding_packets_received - self.packets_duplicated

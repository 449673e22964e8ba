"""What was received of one RTP stream: RFC 3550 appendix A.3 and A.8, W3C webrtc-stats counters."""

from media.frames import EncodedFrame
from media.rtp.freeze import FreezeDetector
from media.rtp.inbound_rtp_stats import InboundRtpStats
from media.rtp.jitter_buffer import JitterBuffer
from media.rtp.nack import NackTracker
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import ReportBlock, SenderReport

# A step of RTP time this far from arrival time is a clock set anew, no jitter.
_CLOCK_STEP_S = 5.0


class ReceiveStatistics:
    """Counts one stream. Attributes without underscore are counters that the owner moves."""

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self.packets_received = 0
        self.payload_bytes = 0
        self.total_bytes = 0
        self.last_arrival: float | None = None
        self.padding_packets = 0
        self.recovered_by_rtx = 0
        self.unusable_packets = 0
        self.retransmitted_packets = 0
        self.retransmitted_bytes = 0
        self.unneeded_bytes = 0
        self.nack_count = 0
        self.pli_count = 0
        self.frames_received = 0
        self.key_frames_received = 0
        self.frames_dropped = 0
        self.blank_frames_dropped = 0
        self.frames_undecryptable = 0
        self.discontinuities = 0
        self.frame_width = 0
        self.frame_height = 0
        self.jitter_buffer_delay = 0.0
        self.emitted_count = 0
        self.sender_reports = 0
        self.freezes = FreezeDetector()
        # RFC 3550 A.1 and A.3; `_settled` numbers are those of streams before a restart.
        self._base = 0
        self._cycles_base = 0
        self._highest = -1
        self._settled_lost = 0
        self._received = 0
        self._expected_prior = 0
        self._received_prior = 0
        self.fraction_lost = 0.0
        # RFC 3550 A.8, in ticks.
        self._jitter = 0.0
        self._last_timestamp = -1
        self._timed_arrival = 0.0
        self._last_report: SenderReport | None = None
        self._last_report_arrival = 0.0

    @property
    def jitter_s(self) -> float:
        """Interarrival jitter in seconds."""
        return self._jitter / self._clock_rate

    @property
    def packets_lost(self) -> int:
        """Expected minus received; negative when duplicates came (RFC 3550 A.3)."""
        return self._settled_lost + self._expected() - self._received

    def receive(self, packet: RtpPacket, extended_sequence: int, now: float) -> None:
        """Count a packet of the primary stream."""
        self.packets_received += 1
        self._received += 1
        self.payload_bytes += packet.payload_end - packet.payload_start
        self.total_bytes += len(packet.data)
        self.last_arrival = now
        if extended_sequence > self._highest:
            if self._highest < 0:
                self._base = extended_sequence
                self._cycles_base = extended_sequence & ~0xFFFF
            self._highest = extended_sequence
            if packet.timestamp != self._last_timestamp:
                self._update_jitter(packet.timestamp, now)
        elif extended_sequence < self._base:
            # Reordered around the start.
            self._base = extended_sequence

    def receive_rtx(self, packet: RtpPacket, now: float) -> None:
        """Count a packet of the retransmission stream."""
        self.retransmitted_packets += 1
        self.retransmitted_bytes += packet.payload_end - packet.payload_start
        self.packets_received += 1
        self.payload_bytes += packet.payload_end - packet.payload_start
        self.total_bytes += len(packet.data)
        self.last_arrival = now

    def restart_sequence(self) -> None:
        """The sender counts anew: what was lost stays counted, what was skipped is not lost."""
        self._settled_lost = self.packets_lost
        self._highest = -1
        self._base = 0
        self._received = 0
        self._expected_prior = 0
        self._received_prior = 0
        self._last_timestamp = -1

    def reset_source(self) -> None:
        """Another SSRC takes over: as `restart_sequence`, and its sender has not reported yet."""
        self.restart_sequence()
        self._last_report = None
        self._jitter = 0.0

    def handle_sender_report(self, report: SenderReport, now: float) -> None:
        """Remember the report for LSR and DLSR."""
        self.sender_reports += 1
        self._last_report = report
        self._last_report_arrival = now

    def emitted(self, frame: EncodedFrame, now: float) -> None:
        """A frame is handed out."""
        self.emitted_count += 1
        self.jitter_buffer_delay += max(0.0, now - frame.arrival_time)
        if frame.discontinuity:
            self.discontinuities += 1
        if frame.width:
            self.frame_width = frame.width
            self.frame_height = frame.height

    def report_block(self, ssrc: int, now: float) -> ReportBlock:
        """The report block since the last one was made (RFC 3550 A.3); starts a new interval."""
        expected = self._expected()
        expected_interval = expected - self._expected_prior
        lost_interval = expected_interval - (self._received - self._received_prior)
        self._expected_prior = expected
        self._received_prior = self._received
        lost_share = max(0, lost_interval) / expected_interval if expected_interval > 0 else 0.0
        self.fraction_lost = lost_share
        report = self._last_report
        return ReportBlock(
            ssrc=ssrc,
            fraction_lost=min(255, int(lost_share * 256)),
            packets_lost=self.packets_lost,
            highest_sequence=max(0, self._highest - self._cycles_base),
            jitter=int(self._jitter),
            lsr=report.ntp_timestamp >> 16 & 0xFFFF_FFFF if report else 0,
            dlsr=round((now - self._last_report_arrival) * 65536) & 0xFFFF_FFFF if report else 0,
        )

    def snapshot(
        self, jitter_buffer: JitterBuffer, nacks: NackTracker, packets_repaired: int, now: float
    ) -> InboundRtpStats:
        """All counters as a value, with those that its neighbours keep."""
        return InboundRtpStats(
            timestamp=now,
            packets_received=self.packets_received,
            bytes_received=self.payload_bytes,
            header_bytes_received=self.total_bytes - self.payload_bytes,
            last_packet_received_timestamp=self.last_arrival,
            packets_lost=self.packets_lost,
            fraction_lost=self.fraction_lost,
            jitter=self.jitter_s,
            packets_discarded=jitter_buffer.packets_late + self.unusable_packets,
            packets_duplicated=jitter_buffer.packets_duplicate,
            padding_packets_received=self.padding_packets,
            retransmitted_packets_received=self.retransmitted_packets,
            retransmitted_bytes_received=self.retransmitted_bytes,
            unneeded_bytes_received=self.unneeded_bytes,
            packets_given_up=jitter_buffer.packets_given_up,
            packets_recovered=nacks.packets_recovered,
            packets_recovered_by_rtx=self.recovered_by_rtx,
            packets_repaired=packets_repaired,
            nack_count=self.nack_count,
            pli_count=self.pli_count,
            frames_received=self.frames_received,
            key_frames_received=self.key_frames_received,
            frames_dropped=self.frames_dropped + jitter_buffer.frames_broken + jitter_buffer.frames_cut,
            blank_frames_dropped=self.blank_frames_dropped,
            frames_undecryptable=self.frames_undecryptable,
            discontinuities=self.discontinuities,
            freeze_count=self.freezes.freeze_count,
            total_freezes_duration=self.freezes.total_freezes_duration,
            pause_count=self.freezes.pause_count,
            total_pauses_duration=self.freezes.total_pauses_duration,
            frame_width=self.frame_width,
            frame_height=self.frame_height,
            jitter_buffer_delay=self.jitter_buffer_delay,
            jitter_buffer_emitted_count=self.emitted_count,
            jitter_buffer_packets=jitter_buffer.waiting_packets,
            jitter_buffer_overflows=jitter_buffer.overflows,
            sender_reports_received=self.sender_reports,
            round_trip_time=nacks.round_trip_time_s,
        )

    def _expected(self) -> int:
        return self._highest - self._base + 1 if self._highest >= 0 else 0

    def _update_jitter(self, timestamp: int, now: float) -> None:
        """RFC 3550 A.8, once per timestamp: the packets of one frame share it, and pacing is no jitter."""
        if self._last_timestamp >= 0:
            ticks = (timestamp - self._last_timestamp + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000
            elapsed = (now - self._timed_arrival) * self._clock_rate
            if abs(elapsed - ticks) < _CLOCK_STEP_S * self._clock_rate:
                self._jitter += (abs(elapsed - ticks) - self._jitter) / 16
        self._last_timestamp = timestamp
        self._timed_arrival = now

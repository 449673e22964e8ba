"""Everything between the RTP packets of one track and its encoded frames, feedback and statistics."""

from dataclasses import dataclass

from media.e2ee.frame_decryptor import FrameDecryptor
from media.errors import RtpError
from media.frames import EncodedFrame, MediaKind
from media.rtp.clock_mapping import ClockMapper, RtpClockMapping
from media.rtp.depacketise.formats import PayloadFormats
from media.rtp.frame_assembly import FrameAssembler
from media.rtp.inbound_config import InboundStreamConfig
from media.rtp.inbound_rtp_stats import InboundRtpStats
from media.rtp.jitter_buffer import JitterBuffer
from media.rtp.keyframe_request import KeyframeRequester
from media.rtp.minimum_offset import NtpOffset
from media.rtp.nack import NackTracker
from media.rtp.packet import RtpPacket
from media.rtp.receive_statistics import ReceiveStatistics
from media.rtp.red import RedReceiver
from media.rtp.rtcp import ReportBlock, SenderReport
from media.rtp.sequence import SEQUENCE_JUMP, SequenceUnwrapper

__all__ = ["InboundStream", "InboundStreamConfig", "StreamOutput"]


@dataclass(frozen=True, slots=True)
class StreamOutput:
    """What a poll brought: frames in decoding order, sequence numbers to NACK, whether to send a PLI."""

    frames: tuple[EncodedFrame, ...] = ()
    nacks: tuple[int, ...] = ()
    request_keyframe: bool = False


_NOTHING = StreamOutput()


class InboundStream:
    """Receives one track, whatever its SSRC, and hands out whole frames in decoding order.

    Feed packets with `receive` and `receive_rtx`, call `poll` once per batch of them, and again at
    `next_deadline`. `now` is Unix seconds of one steady clock throughout.
    """

    def __init__(
        self,
        config: InboundStreamConfig,
        ntp_offset: NtpOffset | None = None,
        decryptor: FrameDecryptor | None = None,
    ) -> None:
        """`ntp_offset` is shared by all tracks of a participant, for lip sync. `decryptor`: the track is encrypted."""
        self._config = config
        self._is_video = config.kind is MediaKind.VIDEO
        self._formats = PayloadFormats(config.codecs, config.parameter_sets, config.dependency_descriptor_id)
        self._jitter = JitterBuffer(self._formats, config.hole_bounds, packet_is_frame=not self._is_video)
        self._sequences = SequenceUnwrapper()
        self._nacks = NackTracker(config.nack_timing)
        self._red = RedReceiver(self._jitter.is_missing)
        self._keyframes = KeyframeRequester()
        self._statistics = ReceiveStatistics(config.clock_rate)
        self._mapper = ClockMapper(config.clock_rate, ntp_offset or NtpOffset())
        self._assembler = FrameAssembler(
            config, self._formats, self._mapper, self._statistics, self._keyframes, decryptor
        )
        self._outbox: list[EncodedFrame] = []
        # A packet from far away, until a second one confirms that the sender counts anew.
        self._held: tuple[RtpPacket, float] | None = None
        self._ssrc = 0
        self._first = 0
        self._media_started = False
        # Packets of this type need no further look; -1 while a sync sample is awaited.
        self._payload_type = -1
        # What `poll` has seen of counters that move elsewhere.
        self._seen_broken = 0
        self._seen_settled = -1
        self._seen_payload_bytes = 0

    @property
    def ssrc(self) -> int:
        """The SSRC of the track's packets; 0 before the first."""
        return self._ssrc

    def receive(self, packet: RtpPacket, now: float) -> None:
        """Take a packet of the track's own SSRC."""
        sequences = self._sequences
        extended = sequences.highest + 1
        if extended and packet.sequence_number == extended & 0xFFFF:
            sequences.highest = extended
        else:
            placed = self._place(packet, now)
            if placed is None:
                return
            extended = placed
        self._statistics.receive(packet, extended, now)
        if packet.payload_type == self._payload_type and packet.payload_start < packet.payload_end:
            self._jitter.receive(packet, extended, now)
        else:
            self._receive_other(packet, extended, now)

    def receive_rtx(self, packet: RtpPacket, now: float) -> bool:
        """Take a packet of the retransmission SSRC (RFC 4588); whether it was asked for, now or before."""
        statistics = self._statistics
        statistics.receive_rtx(packet, now)
        if packet.payload_end - packet.payload_start < 2:
            # The server probes for bandwidth with RTX packets of nothing but padding.
            statistics.padding_packets += 1
            return False
        sequences = self._sequences
        payload_type = self._config.rtx.get(packet.payload_type)
        if payload_type is None or sequences.highest < 0:
            statistics.unusable_packets += 1
            return False
        original = packet.restore_rtx(payload_type, self._ssrc)
        extended = sequences.locate(original.sequence_number)
        if not sequences.highest - SEQUENCE_JUMP <= extended <= sequences.highest:
            # Nobody asked for it; what is newer than the newest will come by itself.
            statistics.unusable_packets += 1
            return False
        statistics.recovered_by_rtx += self._nacks.arrived(extended, now)
        self._receive_other(original, extended, now)
        lacked = self._nacks.was_asked(extended)
        if not lacked:
            statistics.unneeded_bytes += packet.payload_end - packet.payload_start
        return lacked

    def handle_sender_report(self, report: SenderReport, now: float) -> None:
        """Take a sender report of the track's SSRC."""
        self._statistics.handle_sender_report(report, now)
        rtp_timestamp = self._assembler.locate(report.rtp_timestamp)
        # An NTP timestamp of 0 says that the sender has no wall clock (RFC 3550 section 6.4.1).
        if rtp_timestamp is not None and report.ntp_timestamp:
            self._mapper.observe_sender_report(rtp_timestamp, report.ntp_time)

    def poll(self, now: float) -> StreamOutput:
        """The frames that became whole and the feedback that is due now."""
        complete = self._jitter.poll(now)
        if self._jitter.frames_broken != self._seen_broken:
            self._seen_broken = self._jitter.frames_broken
            self._keyframes.broken_frame(now)
        frames = self._outbox
        for frame_packets in complete:
            frame = self._assembler.assemble(frame_packets, now)
            if frame is not None:
                frames.append(frame)
        nacks = self._poll_nacks(now) if self._nacks.deadline is not None else ()
        request_keyframe = self._is_video and self._poll_keyframe(now)
        if not (frames or nacks or request_keyframe):
            return _NOTHING
        output = StreamOutput(tuple(frames), nacks, request_keyframe)
        frames.clear()
        return output

    def flush(self, now: float) -> StreamOutput:
        """The track ended: the frames that are whole, without waiting for holes to be filled."""
        self._drain_into_outbox(now)
        return self.poll(now)

    def next_deadline(self, now: float) -> float | None:
        """When to call `poll` next if no packet comes before; None: no need. Never before `now`."""
        earliest: float | None = None
        for deadline in (self._jitter.deadline, self._nacks.deadline, self._keyframes.deadline):
            if deadline is not None and (earliest is None or deadline < earliest):
                earliest = deadline
        return None if earliest is None else max(now, earliest)

    def reset(self, now: float) -> None:
        """Another SSRC takes over the track: frames so far stay, everything numbered starts anew."""
        self._drain_into_outbox(now)
        self._jitter.restart()
        self._red.restart()
        self._sequences = SequenceUnwrapper()
        self._held = None
        self._payload_type = -1
        self._media_started = False
        self._nacks.clear()
        self._statistics.reset_source()
        self._assembler.restart()

    def note_pause(self) -> None:
        """The track is muted or paused by the server: the time until the next frame is no freeze."""
        self._statistics.freezes.interrupt()

    def report_block(self, now: float) -> ReportBlock | None:
        """The block for the next receiver report, starting a new interval; None before the first packet."""
        if self._sequences.highest < 0:
            return None
        return self._statistics.report_block(self._ssrc, now)

    def clock_mapping(self, now: float) -> RtpClockMapping | None:
        """The mapping of `EncodedFrame.rtp_timestamp` to Unix time; None before the first frame."""
        return self._mapper.mapping()

    def stats(self, now: float) -> InboundRtpStats:
        """A snapshot of all counters."""
        return self._statistics.snapshot(self._jitter, self._nacks, self._red.packets_repaired, now)

    def _place(self, packet: RtpPacket, now: float) -> int | None:
        """The extended number of a packet that is not the next in order; None: not to be used (yet)."""
        sequences = self._sequences
        if sequences.highest < 0:
            self._ssrc = packet.ssrc
            self._first = sequences.unwrap(packet.sequence_number)
            return self._first
        if sequences.is_jump(packet.sequence_number):
            return self._hold_or_restart(packet, now)
        return self._unwrap(packet, now)

    def _unwrap(self, packet: RtpPacket, now: float) -> int:
        """The extended number of a packet near the highest; the NACK tracker learns of it."""
        highest = self._sequences.highest
        extended = self._sequences.unwrap(packet.sequence_number)
        if extended <= highest:
            # Where what is asked for comes by RTX, this one is just late.
            self._nacks.arrived(extended, now, answers=not self._config.rtx)
        if not self._config.nack:
            return extended
        if extended > highest + 1:
            self._nacks.gap(highest + 1, extended, now)
        elif extended < self._first:
            # Reordered around the start: what lies between is missing too.
            self._nacks.gap(extended + 1, self._first, now)
            self._first = extended
        return extended

    def _hold_or_restart(self, packet: RtpPacket, now: float) -> int | None:
        """A far jump counts when a second packet from there confirms it (RFC 3550 appendix A.1)."""
        held, self._held = self._held, (packet, now)
        if held is None:
            return None
        distance = ((packet.sequence_number - held[0].sequence_number + 0x8000) & 0xFFFF) - 0x8000
        if not 0 < abs(distance) <= SEQUENCE_JUMP:
            self._statistics.unusable_packets += 1
            return None
        self._held = None
        self._jitter.restart()
        self._red.restart()
        self._nacks.clear()
        self._statistics.restart_sequence()
        lower = packet if distance < 0 else held[0]
        self._sequences.restart(lower.sequence_number)
        self._sequences.highest -= 1
        self._first = self._sequences.highest + 1
        self.receive(*held)
        return self._unwrap(packet, now)

    def _receive_other(self, packet: RtpPacket, extended: int, now: float) -> None:
        """A packet of another payload type than the last one, without payload, or retransmitted."""
        if packet.payload_start == packet.payload_end and (self._is_video or packet.padding_bytes):
            self._statistics.padding_packets += 1
            self._jitter.consume(extended, now)
        elif packet.payload_type in self._config.red:
            self._receive_red(packet, extended, now)
        elif packet.payload_type in self._formats:
            self._look_for_sync_sample(packet, now)
            if not self._red.note(extended, packet.timestamp):
                self._jitter.receive(packet, extended, now)
        else:
            self._statistics.unusable_packets += 1
            self._jitter.consume(extended, now)

    def _receive_red(self, packet: RtpPacket, extended: int, now: float) -> None:
        """Redundant audio: what it recovers goes before it into the jitter buffer."""
        try:
            carried = self._red.receive(packet, extended, self._config.red[packet.payload_type])
        except RtpError:
            self._statistics.unusable_packets += 1
            carried = []
        for number, inner in carried:
            self._jitter.receive(inner, number, now)
        if (not carried or carried[-1][0] != extended) and self._jitter.is_missing(extended):
            self._jitter.consume(extended, now)

    def _look_for_sync_sample(self, packet: RtpPacket, now: float) -> None:
        """Until there is one, see it coming, so that it is not asked for while it comes."""
        if not self._media_started:
            # Not before: the server may send padding long before there is any media.
            self._media_started = True
            self._keyframes.start(now)
        if not self._assembler.awaits_sync_sample:
            # Where there is RED, plain packets among it tell where its blocks belong.
            self._payload_type = -1 if self._config.red else packet.payload_type
        elif self._formats.starts_sync_sample(packet):
            self._keyframes.sync_sample_started(now)

    def _poll_nacks(self, now: float) -> tuple[int, ...]:
        settled = self._jitter.next_sequence
        if settled != self._seen_settled:
            self._seen_settled = settled
            self._nacks.forget_before(settled)
        nacks = self._nacks.poll(now)
        if not nacks:
            return ()
        self._statistics.nack_count += 1
        return tuple(extended & 0xFFFF for extended in nacks)

    def _poll_keyframe(self, now: float) -> bool:
        if self._statistics.payload_bytes != self._seen_payload_bytes:
            self._seen_payload_bytes = self._statistics.payload_bytes
            self._keyframes.media_arrived()
        if not self._keyframes.poll(now):
            return False
        self._statistics.pli_count += 1
        return True

    def _drain_into_outbox(self, now: float) -> None:
        for complete in self._jitter.flush():
            frame = self._assembler.assemble(complete, now)
            if frame is not None:
                self._outbox.append(frame)

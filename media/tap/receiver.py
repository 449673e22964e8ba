"""Which packets belong to which track, and what feedback they call for. Pure: bytes and `now` in, frames and RTCP out.

Lives as long as the tap: a track that comes again on a new connection keeps its stream, and with it
its statistics; its frames then go on after a discontinuity.
"""

import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from media.e2ee.frame_decryptor import FrameDecryptor
from media.errors import RtpError
from media.frames import EncodedFrame, MediaKind
from media.rtp.clock_mapping import RtpClockMapping
from media.rtp.inbound_rtp_stats import InboundRtpStats
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig, StreamOutput
from media.rtp.minimum_offset import NtpOffset
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import SenderReport, build_nack, build_pli, build_receiver_report, parse_compound
from media.tap.bandwidth import BandwidthFeedback, negotiated_feedback
from media.tap.sdp import ABS_CAPTURE_TIME, DEPENDENCY_DESCRIPTOR, MediaSection, Offer, receive_formats

REPORT_BLOCKS_MAX = 31  # the 5-bit count of RFC 3550 6.4.1
_SSRC = struct.Struct("!I")

Frames = dict[str, tuple[EncodedFrame, ...]]


@dataclass(slots=True)
class _Track:
    sid: str
    config: InboundStreamConfig
    stream: InboundStream
    ssrc: int
    connected: bool = True


@dataclass(slots=True)
class Receivers:
    """The tap's tracks. `local_ssrc` and `cname` identify us in RTCP.

    `decryptor` gives that of a track by SID; None for one without end-to-end encryption. `wanted_video_bps` is what
    video would be taken if the way carried it; as far as that the way is probed.
    """

    local_ssrc: int
    cname: str
    decryptor: Callable[[str], FrameDecryptor | None] = lambda _track_sid: None
    wanted_video_bps: float = 0.0
    malformed_packets: int = 0
    unrouted_packets: int = 0
    _tracks: dict[str, _Track] = field(default_factory=dict)
    _by_ssrc: dict[int, _Track] = field(default_factory=dict)
    _by_rtx_ssrc: dict[int, _Track] = field(default_factory=dict)
    _touched: dict[str, _Track] = field(default_factory=dict)
    _offsets: dict[str, NtpOffset] = field(default_factory=dict)
    _feedback: list[bytes] = field(default_factory=list)
    _bandwidth: BandwidthFeedback | None = None
    _offered: dict[str, MediaSection] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    def begin_connection(self) -> None:
        """Forget the SSRCs of the connection that was lost."""
        self._by_ssrc.clear()
        self._by_rtx_ssrc.clear()
        self._touched.clear()
        self._offered.clear()
        self._ended.clear()
        self._bandwidth = None
        for track in self._tracks.values():
            track.connected = False

    def configure(self, offer: Offer, now: float) -> None:
        """Take the tracks of an offer; sections whose track is the same as before stay untouched.

        What has ended here the server may offer for a second more, until it has closed it: that is left out.
        """
        self._bandwidth = self._bandwidth or negotiated_feedback(offer)
        self._offered = {
            section.track_id: section
            for section in offer.sections
            if section.kind in {"audio", "video"} and section.ssrcs and section.direction in {"sendrecv", "sendonly"}
        }
        self._ended &= self._offered.keys()
        for sid, section in self._offered.items():
            if sid not in self._ended:
                self._configure_track(section, now)
        for track in [item for item in self._by_ssrc.values() if item.sid not in self._offered]:
            track.connected = False

    def expect(self, track_sid: str, now: float) -> None:
        """The track is wanted (again). An end and a new beginning in a row the server answers with no new offer."""
        self._ended.discard(track_sid)
        section = self._offered.get(track_sid)
        if section is not None and track_sid not in self._tracks:
            self._configure_track(section, now)

    def _configure_track(self, section: MediaSection, now: float) -> None:
        chosen = receive_formats(section)
        if not chosen.codecs:
            return
        rtx_ssrcs = dict(section.rtx_ssrcs)
        ssrc = next(item for item in section.ssrcs if item not in rtx_ssrcs)
        config = InboundStreamConfig(
            codecs=chosen.codecs,
            rtx=chosen.rtx,
            red=chosen.red,
            # livekit-server (1.13) takes NACK out of its offer where audio is redundant, and answers it all the same.
            nack=bool(chosen.red)
            or any("nack" in item.feedback for item in section.formats if item.payload_type in chosen.codecs),
            abs_capture_time_id=chosen.extensions.get(ABS_CAPTURE_TIME),
            dependency_descriptor_id=chosen.extensions.get(DEPENDENCY_DESCRIPTOR),
        )
        track = self._tracks.get(section.track_id)
        if track is None or track.config != config:
            participant = section.stream_id.partition("|")[0]
            offset = self._offsets.setdefault(participant, NtpOffset())
            stream = InboundStream(config, offset, self.decryptor(section.track_id))
            track = _Track(section.track_id, config, stream, ssrc)
            self._tracks[section.track_id] = track
        elif track.ssrc != ssrc or not track.connected:
            track.stream.reset(now)
            track.ssrc = ssrc
        track.connected = True
        self._by_ssrc[ssrc] = track
        for rtx_ssrc, original in rtx_ssrcs.items():
            if original == ssrc:
                self._by_rtx_ssrc[rtx_ssrc] = track

    def receive(self, data: bytes, now: float) -> None:
        """Take one RTP packet that arrived at `now`."""
        try:
            packet = RtpPacket(data)
        except RtpError:
            self.malformed_packets += 1
            return
        track = self._by_ssrc.get(packet.ssrc)
        retransmission = track is None
        if track is not None:
            probe = track.config.kind is MediaKind.VIDEO and packet.payload_start == packet.payload_end
            track.stream.receive(packet, now)
        else:
            track = self._by_rtx_ssrc.get(packet.ssrc)
            if track is None:
                self.unrouted_packets += 1
                return
            probe = not track.stream.receive_rtx(packet, now)
        if self._bandwidth is not None:
            self._bandwidth.receive(packet, now, retransmission=retransmission, probe=probe)
        self._touched[track.sid] = track

    def receive_rtcp(self, data: bytes, now: float) -> None:
        """Take one compound RTCP packet."""
        try:
            packets = parse_compound(data)
        except RtpError:
            self.malformed_packets += 1
            return
        for packet in packets:
            if isinstance(packet, SenderReport) and (track := self._by_ssrc.get(packet.ssrc)):
                track.stream.handle_sender_report(packet, now)

    def poll_touched(self, now: float) -> Frames:
        """The frames that the packets since the last poll completed."""
        touched, self._touched = self._touched, {}
        return self._poll(touched, now)

    def poll_due(self, now: float) -> Frames:
        """The frames of every stream whose timers have run out."""
        due = {
            sid: track
            for sid, track in self._tracks.items()
            if track.connected and (deadline := track.stream.next_deadline(now)) is not None and deadline <= now
        }
        if self._bandwidth is not None:
            self._queue_bandwidth(self._bandwidth, now)
        return self._poll(due, now)

    def _queue_bandwidth(self, bandwidth: BandwidthFeedback, now: float) -> None:
        video = (item.ssrc for item in self._tracks.values() if item.connected and item.config.kind is MediaKind.VIDEO)
        self._feedback += bandwidth.poll(now, self.local_ssrc, tuple(video), self.wanted_video_bps)

    def _poll(self, tracks: dict[str, _Track], now: float) -> Frames:
        frames: Frames = {}
        for sid, track in tracks.items():
            output = track.stream.poll(now)
            if output.frames:
                frames[sid] = output.frames
            self._queue_feedback(track, output)
        return frames

    def _queue_feedback(self, track: _Track, output: StreamOutput) -> None:
        if output.nacks:
            self._feedback.append(build_nack(self.local_ssrc, track.ssrc, output.nacks))
        if output.request_keyframe:
            self._feedback.append(build_pli(self.local_ssrc, track.ssrc))

    def flush(self, now: float) -> Frames:
        """Everything that is complete, without waiting for holes: the tap leaves, or a track ends."""
        flushed = ((sid, track.stream.flush(now).frames) for sid, track in self._tracks.items())
        return {sid: frames for sid, frames in flushed if frames}

    def end_track(self, track_sid: str, now: float) -> tuple[EncodedFrame, ...]:
        """The track is gone until it is expected again: its last frames."""
        self._ended.add(track_sid)
        track = self._tracks.pop(track_sid, None)
        self._touched.pop(track_sid, None)
        for table in (self._by_ssrc, self._by_rtx_ssrc):
            for ssrc in [key for key, item in table.items() if item.sid == track_sid]:
                del table[ssrc]
        return track.stream.flush(now).frames if track else ()

    def retain_participants(self, present: Collection[str]) -> None:
        """Forget the clocks of all participants but these (SIDs): whoever left may come back with another clock."""
        self._offsets = {sid: offset for sid, offset in self._offsets.items() if sid in present}

    def note_pause(self, track_sid: str) -> None:
        """The track is muted or paused: the time until its next frame is no freeze."""
        if track := self._tracks.get(track_sid):
            track.stream.note_pause()

    def request_keyframe(self, track_sid: str) -> None:
        """Ask the sender of a track for a sync sample with the next feedback."""
        if (track := self._tracks.get(track_sid)) and track.connected:
            self._feedback.append(build_pli(self.local_ssrc, track.ssrc))

    def take_feedback(self) -> list[bytes]:
        """NACKs and PLIs that are due, once."""
        feedback, self._feedback = self._feedback, []
        return feedback

    def reports(self, now: float) -> list[bytes]:
        """Receiver reports for all connected tracks."""
        blocks = [
            block for track in self._tracks.values() if track.connected and (block := track.stream.report_block(now))
        ]
        return [
            build_receiver_report(self.local_ssrc, blocks[at : at + REPORT_BLOCKS_MAX], self.cname)
            for at in range(0, len(blocks), REPORT_BLOCKS_MAX)
        ]

    @property
    def bandwidth_estimate_bps(self) -> float | None:
        """What the way to us carries, bits per second; None while no limit was seen or only the server estimates."""
        return self._bandwidth.estimate_bps if self._bandwidth else None

    @property
    def sids(self) -> frozenset[str]:
        """The tracks that the server has given a place to."""
        return frozenset(self._tracks)

    def stats(self, now: float) -> dict[str, InboundRtpStats]:
        """Statistics by track SID."""
        return {sid: track.stream.stats(now) for sid, track in self._tracks.items()}

    def clock_mappings(self, now: float) -> dict[str, RtpClockMapping]:
        """Clock mappings by track SID, of those that have one."""
        mappings = ((sid, track.stream.clock_mapping(now)) for sid, track in self._tracks.items())
        return {sid: mapping for sid, mapping in mappings if mapping is not None}

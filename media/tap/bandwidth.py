"""The bandwidth feedback that a server reads, as it offered it: REMB or transport-wide. Pure."""

from collections import defaultdict, deque
from typing import Protocol

from media.rtp.bandwidth_estimate import BandwidthEstimator
from media.rtp.capacity_probe import CapacityProbe
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import build_nack, build_remb
from media.rtp.transport_feedback import ArrivalRecorder, build_transport_feedback
from media.tap.sdp import ABS_SEND_TIME, TRANSPORT_WIDE_CC, Offer, receive_formats

# Of each stream: livekit-server keeps the last 300 of a layer, of all its temporal layers; the lowest of three,
# which may be all that comes, has 40% of the bits.
REPEATABLE_PACKETS = 120
LONGEST_STEP_S = 0.1  # the event loop was busy: not all that was left out at once


class BandwidthFeedback(Protocol):
    """Sees every packet of a connection and says now and then what to tell the server."""

    @property
    def estimate_bps(self) -> float | None:
        """What the way carries; None while no limit was seen, and where only the server knows."""

    def receive(self, packet: RtpPacket, arrival_time: float, *, retransmission: bool, probe: bool) -> None:
        """Take a packet that arrived at `arrival_time`; `probe`: it brings nothing that was lacking."""

    def poll(self, now: float, local_ssrc: int, video_ssrcs: tuple[int, ...], wanted_bps: float) -> list[bytes]:
        """The RTCP packets that are due. `wanted_bps` is what video would be taken if the way carried it."""


class _Repeatable:
    """Packets of one stream, oldest first: how many came up to it, sequence number and size; the sum of the sizes."""

    def __init__(self) -> None:
        self.packets: deque[tuple[int, int, int]] = deque()
        self.octets = 0
        self._came = 0

    def add(self, number: int, size: int) -> None:
        self._came += 1
        self.packets.append((self._came, number, size))
        self.octets += size
        while self.packets[0][0] <= self._came - REPEATABLE_PACKETS:
            self.octets -= self.packets.popleft()[2]

    def take(self) -> tuple[int, int]:
        _, number, size = self.packets.pop()
        self.octets -= size
        return number, size


class RepeatablePackets:
    """The last packets of each stream that came at once, which a server can send again; each is asked for once.

    Asked for twice it would count as lost on an overloaded way (livekit-server's tracker of repeated NACKs).
    """

    def __init__(self) -> None:
        self._streams: dict[int, _Repeatable] = defaultdict(_Repeatable)

    def add(self, packet: RtpPacket) -> None:
        """A packet of a video came, not as a retransmission."""
        if packet.payload_start < packet.payload_end:  # the server does not keep padding
            self._streams[packet.ssrc].add(packet.sequence_number, len(packet.data))

    def retain(self, ssrcs: tuple[int, ...]) -> None:
        """Forget the streams that are not among these."""
        if len(self._streams) > len(ssrcs):
            for ssrc in self._streams.keys() - set(ssrcs):
                del self._streams[ssrc]

    def octets(self, ssrcs: tuple[int, ...]) -> int:
        """How much of these streams there is to give out."""
        return sum(self._streams[ssrc].octets for ssrc in ssrcs)

    def take(self, octets: float, ssrcs: tuple[int, ...]) -> dict[int, list[int]]:
        """The newest packets of these streams, of about `octets` in all, by stream; they are not given out again."""
        taken: dict[int, list[int]] = {}
        left = octets
        while left > 0:
            # The stream with most of them: its server's memory reaches back no further than the others'.
            ssrc = max(ssrcs, key=lambda ssrc: len(self._streams[ssrc].packets), default=None)
            if ssrc is None or not self._streams[ssrc].packets:
                break
            number, size = self._streams[ssrc].take()
            taken.setdefault(ssrc, []).append(number)
            left -= size
        return taken


class RembFeedback:
    """Our own estimate of the bandwidth (draft-alvestrand-rmcat-remb-03)."""

    def __init__(self, abs_send_time_id: int) -> None:
        self._extension_id = abs_send_time_id
        self._estimator = BandwidthEstimator()
        self._probe = CapacityProbe()
        self._repeatable = RepeatablePackets()
        self._polled_at = 0.0

    @property
    def estimate_bps(self) -> float | None:
        """The estimate; None while no limit of the way was seen."""
        return self._estimator.limit_bps

    def receive(self, packet: RtpPacket, arrival_time: float, *, retransmission: bool, probe: bool) -> None:
        """Take a packet; those without abs-send-time are left out."""
        value = packet.extension(self._extension_id)
        if value is None or len(value) != 3:
            return
        sent = value[0] << 16 | value[1] << 8 | value[2]
        self._estimator.receive(packet, sent, arrival_time, retransmission=retransmission, probe=probe)
        if not retransmission:
            self._repeatable.add(packet)

    def poll(self, now: float, local_ssrc: int, video_ssrcs: tuple[int, ...], wanted_bps: float) -> list[bytes]:
        """A REMB for all video, which the server's allocator divides; NACKs for what comes again to probe the way."""
        if not video_ssrcs:
            return []
        self._repeatable.retain(video_ssrcs)
        bitrate = self._estimator.poll(now)
        told = [] if bitrate is None else [build_remb(local_ssrc, bitrate, video_ssrcs)]
        return told + self._ask_again(now, local_ssrc, video_ssrcs, wanted_bps)

    def _ask_again(self, now: float, local_ssrc: int, video_ssrcs: tuple[int, ...], wanted_bps: float) -> list[bytes]:
        step_s, self._polled_at = min(LONGEST_STEP_S, now - self._polled_at), now
        if self._estimator.limit_bps is None:
            return []  # as nearly always: to look at the way would take a thousandth of a core
        repeatable_octets = self._repeatable.octets(video_ssrcs)
        more_bps = self._probe.step(now, self._estimator.way(now), wanted_bps, repeatable_octets)
        if not more_bps:
            return []
        packets = self._repeatable.take(more_bps * step_s / 8, video_ssrcs)
        if packets:
            self._estimator.own_probe(now)
        return [build_nack(local_ssrc, ssrc, tuple(sorted(numbers))) for ssrc, numbers in packets.items()]


class TransportWideFeedback:
    """Arrival times, from which the server estimates (draft-holmer-rmcat-transport-wide-cc-extensions-01)."""

    def __init__(self, transport_wide_id: int) -> None:
        self._extension_id = transport_wide_id
        self._recorder = ArrivalRecorder()
        self._count = 0

    @property
    def estimate_bps(self) -> float | None:
        """The server estimates; we do not."""
        return None

    def receive(self, packet: RtpPacket, arrival_time: float, *, retransmission: bool, probe: bool) -> None:
        """Take a packet; those without a transport-wide number are left out."""
        value = packet.extension(self._extension_id)
        if value is not None and len(value) == 2:
            self._recorder.receive(value[0] << 8 | value[1], arrival_time)

    def poll(self, now: float, local_ssrc: int, video_ssrcs: tuple[int, ...], wanted_bps: float) -> list[bytes]:
        """The arrivals since the last feedback; the server takes it through any of its video tracks."""
        if not video_ssrcs:
            return []
        told = []
        for base, arrivals in self._recorder.take_due(now):
            told.append(build_transport_feedback(local_ssrc, video_ssrcs[0], base, arrivals, self._count))
            self._count += 1
        return told


def negotiated_feedback(offer: Offer) -> BandwidthFeedback | None:
    """The feedback that the answer to `offer` agrees to; None where the server reads none."""
    for section in offer.sections:
        if section.kind != "video":
            continue
        extensions = receive_formats(section).extensions
        kinds = {kind for item in section.formats for kind in item.feedback}
        if "transport-cc" in kinds and TRANSPORT_WIDE_CC in extensions:
            return TransportWideFeedback(extensions[TRANSPORT_WIDE_CC])
        if "goog-remb" in kinds and ABS_SEND_TIME in extensions:
            return RembFeedback(extensions[ABS_SEND_TIME])
    return None

"""The bandwidth feedback that a server reads, as it offered it: REMB or transport-wide. Pure."""

from typing import Protocol

from media.rtp.bandwidth_estimate import BandwidthEstimator
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import build_remb
from media.rtp.transport_feedback import ArrivalRecorder, build_transport_feedback
from media.tap.sdp import ABS_SEND_TIME, TRANSPORT_WIDE_CC, Offer, receive_formats


class BandwidthFeedback(Protocol):
    """Sees every packet of a connection and says now and then what to tell the server."""

    @property
    def estimate_bps(self) -> float | None:
        """What the way carries; None while no limit was seen, and where only the server knows."""

    def receive(self, packet: RtpPacket, arrival_time: float, *, retransmission: bool, probe: bool) -> None:
        """Take a packet that arrived at `arrival_time`; `probe`: it brings nothing that was lacking."""

    def poll(self, now: float, local_ssrc: int, video_ssrcs: tuple[int, ...]) -> bytes | None:
        """The RTCP packet that is due."""


class RembFeedback:
    """Our own estimate of the bandwidth (draft-alvestrand-rmcat-remb-03)."""

    def __init__(self, abs_send_time_id: int) -> None:
        self._extension_id = abs_send_time_id
        self._estimator = BandwidthEstimator()

    @property
    def estimate_bps(self) -> float | None:
        """The estimate; None while no limit of the way was seen."""
        return self._estimator.limit_bps

    def receive(self, packet: RtpPacket, arrival_time: float, *, retransmission: bool, probe: bool) -> None:
        """Take a packet; those without abs-send-time are left out."""
        value = packet.extension(self._extension_id)
        if value is not None and len(value) == 3:
            sent = value[0] << 16 | value[1] << 8 | value[2]
            self._estimator.receive(packet, sent, arrival_time, retransmission=retransmission, probe=probe)

    def poll(self, now: float, local_ssrc: int, video_ssrcs: tuple[int, ...]) -> bytes | None:
        """A REMB for all video, which the server's allocator divides."""
        bitrate = self._estimator.poll(now) if video_ssrcs else None
        return None if bitrate is None else build_remb(local_ssrc, bitrate, video_ssrcs)


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

    def poll(self, now: float, local_ssrc: int, video_ssrcs: tuple[int, ...]) -> bytes | None:
        """The arrivals since the last feedback; the server takes it through any of its video tracks."""
        if not video_ssrcs:
            return None
        base, arrivals = self._recorder.take_due(now)
        if not arrivals:
            return None
        count, self._count = self._count, self._count + 1
        return build_transport_feedback(local_ssrc, video_ssrcs[0], base, arrivals, count)


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

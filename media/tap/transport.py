"""ICE, DTLS-SRTP and SCTP under the tap: the only place that touches aiortc's and aioice's internals.

aiortc gives no encoded frames, and wakes a task for every packet. Here its ICE and DTLS transports
are used for what they are good at, and then their socket is read in batches: `read` takes all waiting
datagrams at once, each with the kernel's arrival time, so the cost of a wake-up is shared and a late one does
not falsify arrival times. Tests pin the internals this relies on (tests/media/tap/test_transport.py).
"""

import asyncio
import socket
from typing import Protocol

import structlog
from aioice import ice as aioice_ice
from aiortc import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceServer,
    RTCIceTransport,
    RTCSctpCapabilities,
    RTCSctpTransport,
)
from aiortc.sdp import candidate_from_sdp, candidate_to_sdp

from media.clock import SteadyClock
from media.errors import TapUnreachable
from media.tap.datagram_reader import Datagram, DatagramReader
from media.tap.sdp import LocalTransport, Offer
from media.tap.srtp import SrtpReceiver

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 10.0


class TransportListener(Protocol):
    """What the transport tells. All calls come from the event loop and must not block."""

    def on_rtp(self, packets: list[Datagram]) -> None:
        """RTP packets, in order of arrival."""

    def on_rtcp(self, packet: Datagram) -> None:
        """One compound RTCP packet."""

    def on_transport_closed(self, reason: str) -> None:
        """The transport is gone and will not come back."""


class _CallbackDtlsTransport(RTCDtlsTransport):
    """Hands packets to us that still come through aiortc's own reader."""

    receiver: "MediaTransport"

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self.receiver.deliver(data, rtcp=False)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self.receiver.deliver(data, rtcp=True)


class MediaTransport:
    """One bundled transport to the server's subscriber connection."""

    def __init__(self, listener: TransportListener, clock: SteadyClock, ice_servers: list[RTCIceServer]) -> None:
        self._listener = listener
        self._clock = clock
        self._certificate = RTCCertificate.generateCertificate()
        self._gatherer = RTCIceGatherer(iceServers=ice_servers)
        self._ice = RTCIceTransport(self._gatherer)
        self._dtls = _CallbackDtlsTransport(self._ice, [self._certificate])
        self._dtls.receiver = self
        self._dtls._set_role("client")
        # The server's data channels live on this connection; what they carry reaches the participant too.
        self._sctp = RTCSctpTransport(self._dtls)
        self._readers: list[DatagramReader] = []
        self._closed = False
        self._heard_at = clock.now()

    async def gather(self) -> LocalTransport:
        """Gather candidates; what the answer says of this side."""
        await self._gatherer.gather()
        parameters = self._gatherer.getLocalParameters()
        return LocalTransport(
            ice_ufrag=parameters.usernameFragment or "",
            ice_pwd=parameters.password or "",
            fingerprints=tuple((item.algorithm, item.value) for item in self._certificate.getFingerprints()),
            candidates=tuple(candidate_to_sdp(item) for item in self._gatherer.getLocalCandidates()),
        )

    async def add_remote_candidate(self, candidate: str) -> None:
        """Take a trickled candidate line (RFC 8839), with or without its `candidate:` prefix."""
        parsed = candidate_from_sdp(candidate.removeprefix("candidate:"))
        if parsed.protocol.lower() != "udp":
            return
        parsed.sdpMid = "0"
        await self._ice.addRemoteCandidate(parsed)

    async def connect(self, offer: Offer) -> None:
        """Run ICE, DTLS and SCTP to the end; TapUnreachable where one of them does not get through."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._ice.start(
                    RTCIceParameters(usernameFragment=offer.ice_ufrag, password=offer.ice_pwd, iceLite=offer.ice_lite)
                )
                await self._dtls.start(
                    RTCDtlsParameters(
                        fingerprints=[RTCDtlsFingerprint(algorithm=a, value=v) for a, v in offer.fingerprints]
                    )
                )
        except TimeoutError as error:
            raise TapUnreachable(
                "no media path to the server: ICE or DTLS did not finish; check that its UDP ports are reachable"
            ) from error
        if self._dtls.state != "connected":
            raise TapUnreachable(f"no media path to the server: ICE {self._ice.state}, DTLS {self._dtls.state}")
        self._dtls.on("statechange", self._on_dtls_state)
        port = next((item.sctp_port for item in offer.sections if item.kind == "application"), 5000)
        await self._sctp.start(RTCSctpCapabilities(maxMessageSize=65536), port)
        self._take_over_sockets()

    def deliver(self, data: bytes, *, rtcp: bool) -> None:
        """A decrypted packet that came through aiortc's reader."""
        datagram = Datagram(data, self._clock.now())
        self._heard_at = datagram.arrival_time
        if rtcp:
            self._listener.on_rtcp(datagram)
        else:
            self._listener.on_rtp([datagram])

    async def read_all(self) -> int:
        """Hand on all datagrams that waited when it was called, batch by batch; how many there were.

        A process that stood still has more than one batch waiting, and what waits is not lost. Other tasks get their
        turn in between.
        """
        began = self._clock.now()
        count = self.read()
        while min((reader.read_until for reader in self._readers), default=began) < began and not self._closed:
            await asyncio.sleep(0)
            count += self.read()
        return count

    def read(self) -> int:
        """Hand on datagrams that came since the last call, a batch of each socket at most; how many there were."""
        if self._closed:
            return 0
        rtp: list[Datagram] = []
        rtcp: list[Datagram] = []
        count = sum(reader.read(rtp, rtcp) for reader in self._readers)
        if count:
            self._heard_at = self._clock.now()
        for packet in rtcp:
            self._listener.on_rtcp(packet)
        if rtp:
            self._listener.on_rtp(rtp)
        return count

    def silent_s(self, now: float) -> float:
        """For how long no datagram of any kind has come from the server."""
        return now - self._heard_at if self._readers else 0.0

    async def send_rtcp(self, packet: bytes) -> None:
        """Encrypt and send one RTCP packet; after the transport closed, nothing happens."""
        if self._closed or self._dtls.state != "connected":
            return
        try:
            await self._dtls._send_rtp(packet)
        except ConnectionError as error:
            log.info("tap_feedback_unsent", error=str(error))

    async def aclose(self) -> None:
        """Stop everything; idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._sctp.stop()
        await self._dtls.stop()
        await self._ice.stop()

    def _on_dtls_state(self) -> None:
        if self._dtls.state in {"closed", "failed"} and not self._closed:
            self._listener.on_transport_closed(f"DTLS {self._dtls.state}")

    def _take_over_sockets(self) -> None:
        srtp = SrtpReceiver(self._dtls._rx_srtp)
        self._heard_at = self._clock.now()
        connection = self._ice._connection
        for pair in connection._nominated.values():
            protocol = pair.protocol
            handle = getattr(protocol.transport, "_sock", None)
            if isinstance(handle, socket.socket):
                self._readers.append(DatagramReader(handle, protocol, srtp, self._clock.now))


_gathered_host_addresses = aioice_ice.get_host_addresses


def _host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """aioice's addresses, and on a machine without a network loopback: a local server is still there."""
    return _gathered_host_addresses(use_ipv4, use_ipv6) or ["127.0.0.1"]


aioice_ice.get_host_addresses = _host_addresses

"""ICE, DTLS-SRTP and SCTP under the tap: the only place that touches aiortc's and aioice's internals.

aiortc gives no encoded frames, and wakes a task for every packet. Here its ICE and DTLS transports
are used for what they are good at, and then their socket is read in batches: every
READ_INTERVAL_S all waiting datagrams are taken at once, each with the kernel's arrival time, so the
cost of a wake-up is shared and a late wake-up does not falsify the arrival times. Tests pin the
internals this relies on (tests/media/tap/test_transport.py).
"""

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any, Protocol

import pylibsrtp
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
from media.tap.sdp import LocalTransport, Offer

log = structlog.get_logger(__name__)

READ_INTERVAL_S = 0.01  # at 300 packets/s three a wake-up; well under a frame's duration and any NACK timer
READ_BATCH = 512  # datagrams taken at once before other tasks get their turn
RECEIVE_BUFFER_BYTES = 4 << 20  # about 2 s of 20 tracks at 1.7 Mb/s while the loop is busy
CONNECT_TIMEOUT_S = 10.0
_SO_TIMESTAMPNS = 35  # Linux, 64 bit: struct timespec of the datagram's arrival (socket(7))
_TIMESPEC = struct.Struct("qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_DATAGRAM_BYTES = 2048  # RTP fits a 1,500-byte MTU; DTLS flights are no larger


@dataclass(frozen=True, slots=True)
class Datagram:
    """One decrypted RTP or RTCP packet and when it arrived (Unix seconds, steady)."""

    data: bytes
    arrival_time: float


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
        self._readers: list[_BatchReader] = []
        self._closed = False

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
        if rtcp:
            self._listener.on_rtcp(datagram)
        else:
            self._listener.on_rtp([datagram])

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
        for reader in self._readers:
            reader.stop()
        await self._sctp.stop()
        await self._dtls.stop()
        await self._ice.stop()

    def _on_dtls_state(self) -> None:
        if self._dtls.state in {"closed", "failed"} and not self._closed:
            self._listener.on_transport_closed(f"DTLS {self._dtls.state}")

    def _take_over_sockets(self) -> None:
        connection = self._ice._connection
        for pair in connection._nominated.values():
            protocol = pair.protocol
            handle = getattr(protocol.transport, "_sock", None)
            if isinstance(handle, socket.socket):
                self._readers.append(_BatchReader(handle, protocol, self))

    def decrypt(self, batch: list[tuple[bytes, float]]) -> None:
        """Decrypt a batch of SRTP and SRTCP datagrams and hand them on."""
        session = self._dtls._rx_srtp
        packets: list[Datagram] = []
        for data, arrival_time in batch:
            try:
                if 192 <= data[1] <= 223:  # RTCP packet types under the RTP marker bit (RFC 5761 4)
                    self._listener.on_rtcp(Datagram(session.unprotect_rtcp(data), arrival_time))
                else:
                    packets.append(Datagram(session.unprotect(data), arrival_time))
            except pylibsrtp.Error as error:
                log.debug("tap_srtp_refused", error=str(error))
        if packets:
            self._listener.on_rtp(packets)


class _BatchReader:
    """Reads one UDP socket in batches in place of asyncio's own reader of one datagram a wake-up."""

    def __init__(self, handle: socket.socket, protocol: Any, owner: MediaTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = handle
        self._protocol = protocol
        self._owner = owner
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        _enable_timestamps(handle)
        self._loop._remove_reader(handle.fileno())  # type: ignore[attr-defined]  # the public one refuses transports
        self._arm()

    def _arm(self) -> None:
        if not self._stopped and self._socket.fileno() >= 0:
            self._loop._add_reader(self._socket.fileno(), self._read)  # type: ignore[attr-defined]

    def _disarm(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop._remove_reader(self._socket.fileno())  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Give the socket up."""
        self._stopped = True
        self._disarm()
        if self._timer:
            self._timer.cancel()

    def _read(self) -> None:
        self._disarm()
        media: list[tuple[bytes, float]] = []
        now = self._owner._clock.now()
        steady_minus_wall = now - time.time()
        for _ in range(READ_BATCH):
            try:
                data, ancillary, _flags, address = self._socket.recvmsg(_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._protocol.error_received(error)
                break
            if data and 128 <= data[0] <= 191:
                media.append((data, _arrival(ancillary, steady_minus_wall, now)))
            elif data:
                self._protocol.datagram_received(data, address)
        if media:
            self._owner.decrypt(media)
        if not self._stopped:
            self._timer = self._loop.call_later(READ_INTERVAL_S, self._arm)


def _enable_timestamps(handle: socket.socket) -> None:
    """Have the kernel stamp datagrams; where it cannot, `_arrival` takes the time of reading."""
    with contextlib.suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def _arrival(ancillary: list[tuple[int, int, bytes]], steady_minus_wall: float, now: float) -> float:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return min(now, float(seconds + nanoseconds * 1e-9 + steady_minus_wall))
    return now


_gathered_host_addresses = aioice_ice.get_host_addresses


def _host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """aioice's addresses, and on a machine without a network loopback: a local server is still there."""
    return _gathered_host_addresses(use_ipv4, use_ipv6) or ["127.0.0.1"]


aioice_ice.get_host_addresses = _host_addresses

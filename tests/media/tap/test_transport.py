"""What the tap relies on inside aiortc and aioice, and its own transport over a real pair of connections."""

import asyncio
import inspect
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pylibsrtp
import pytest
from aioice import ice
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport, RTCSctpTransport
from aiortc.rtcdtlstransport import RTCDtlsTransport as DtlsTransport

from media.clock import SteadyClock
from media.tap import transport as tap_transport
from media.tap.datagram_reader import Datagram, DatagramReader, arrival
from media.tap.srtp import SrtpReceiver
from media.tap.transport import MediaTransport


class Ears:
    """Keeps what a transport tells."""

    def __init__(self) -> None:
        self.batches: list[list[Datagram]] = []

    def on_rtp(self, packets: list[Datagram]) -> None:
        self.batches.append(packets)

    def on_rtcp(self, packet: Datagram) -> None:
        self.batches.append([packet])

    def on_transport_closed(self, reason: str) -> None:
        raise AssertionError(reason)


def test_the_names_that_the_transport_uses_are_still_there() -> None:
    gatherer = RTCIceGatherer(iceServers=[])
    ice_transport = RTCIceTransport(gatherer)
    dtls = RTCDtlsTransport(ice_transport, [RTCCertificate.generateCertificate()])
    assert isinstance(ice_transport._connection, ice.Connection)
    assert ice_transport._connection._nominated == {}
    for name in ("_rx_srtp", "_tx_srtp"):
        assert hasattr(dtls, name)
    for name in ("_set_role", "_send_rtp", "_handle_rtp_data", "_handle_rtcp_data"):
        assert callable(getattr(dtls, name))
    assert list(inspect.signature(DtlsTransport._handle_rtp_data).parameters) == ["self", "data", "arrival_time_ms"]
    assert list(inspect.signature(DtlsTransport._handle_rtcp_data).parameters) == ["self", "data"]
    assert list(inspect.signature(RTCSctpTransport.start).parameters) == ["self", "remoteCaps", "remotePort"]
    assert callable(ice.get_host_addresses)


async def test_a_machine_without_a_network_still_gathers_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_transport, "_gathered_host_addresses", lambda _ipv4, _ipv6: [])
    transport = MediaTransport(Ears(), SteadyClock(), [])
    local = await transport.gather()
    assert any("127.0.0.1" in candidate for candidate in local.candidates)
    assert local.ice_ufrag
    assert local.fingerprints[0][0] == "sha-256"
    await transport.aclose()
    await transport.aclose()


class Protocol:
    """Takes what is no media, as aioice's protocol does."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.errors: list[Exception] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.datagrams.append(data)

    def error_received(self, error: Exception) -> None:
        self.errors.append(error)


def wait_for_kernel_stamps(receiving: socket.socket, sending: socket.socket) -> None:
    """The kernel switches stamping on a moment after it is asked, and stamps at reading until then."""
    receiving.setsockopt(socket.SOL_SOCKET, 35, 1)
    for _ in range(100):
        sending.sendto(b"probe", receiving.getsockname())
        time.sleep(0.02)
        _data, ancillary, _flags, _address = receiving.recvmsg(64, 64)
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
        if time.time() - seconds - nanoseconds * 1e-9 > 0.015:
            return
    raise AssertionError("this kernel does not stamp datagrams at their arrival")


@contextmanager
def loopback(*, stamped: bool = False) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket that does not block, and one to send to it; with `stamped` once the kernel stamps what arrives."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
    ):
        receiving.bind(("127.0.0.1", 0))
        if stamped:
            wait_for_kernel_stamps(receiving, sending)
        receiving.setblocking(False)
        yield receiving, sending


def srtp_pair() -> tuple[pylibsrtp.Session, pylibsrtp.Session]:
    """A sender's and a receiver's session with one key."""
    profile, key = pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM, bytes(range(28))
    outbound = pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
    inbound = pylibsrtp.Policy(key=key, ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
    return pylibsrtp.Session(outbound), pylibsrtp.Session(inbound)


def rtp_packet(number: int, payload_bytes: int = 100) -> bytes:
    return bytes([0x80, 96]) + struct.pack("!HII", number, number, 1) + bytes(payload_bytes)


async def test_datagrams_are_read_in_batches_with_the_kernels_arrival_times() -> None:
    sender, receiver = srtp_pair()
    clock = SteadyClock()
    with loopback(stamped=True) as (receiving, sending):
        protocol = Protocol()
        loop = asyncio.get_running_loop()
        loop.add_reader(receiving, lambda: pytest.fail("asyncio still reads the socket"))
        reader = DatagramReader(receiving, protocol, SrtpReceiver(receiver), clock.now)
        media = [rtp_packet(number) for number in range(50)]
        report = bytes([0x80, 201, 0, 1]) + struct.pack("!I", 1)
        sent_at = clock.now()
        for packet in media:
            sending.sendto(sender.protect(packet), receiving.getsockname())
        sending.sendto(b"\x00\x01stun", receiving.getsockname())
        sending.sendto(sender.protect_rtcp(report), receiving.getsockname())
        await asyncio.sleep(0.2)  # the loop is late, and arrival times must not suffer from it
        rtp: list[Datagram] = []
        rtcp: list[Datagram] = []
        assert reader.read(rtp, rtcp) == 52
        assert reader.read(rtp, rtcp) == 0
    assert [packet.data for packet in rtp] == media
    assert [packet.data for packet in rtcp] == [report]
    assert protocol.datagrams == [b"\x00\x01stun"]
    assert protocol.errors == []
    assert reader.refused == 0
    assert all(packet.arrival_time - sent_at < 0.15 for packet in rtp)
    assert reader.read(rtp, rtcp) == 0, "a closed socket has nothing"


async def test_forged_and_replayed_datagrams_are_refused_and_the_rest_goes_on() -> None:
    sender, receiver = srtp_pair()
    with loopback() as (receiving, sending):
        reader = DatagramReader(receiving, Protocol(), SrtpReceiver(receiver), SteadyClock().now)
        first, second, third = (sender.protect(rtp_packet(number)) for number in range(3))
        forged = second[:-1] + bytes([second[-1] ^ 1])
        for datagram in (first, first, forged, b"\x80", second, rtp_packet(9, 1480), third):
            sending.sendto(datagram, receiving.getsockname())
        rtp: list[Datagram] = []
        assert reader.read(rtp, []) == 7
    assert [packet.data for packet in rtp] == [rtp_packet(number) for number in range(3)]
    assert reader.refused == 3


async def test_a_wall_clock_set_forward_moves_nothing_before_the_socket_was_last_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sender, receiver = srtp_pair()
    clock = SteadyClock()
    with loopback() as (receiving, sending):
        reader = DatagramReader(receiving, Protocol(), SrtpReceiver(receiver), clock.now)
        rtp: list[Datagram] = []
        assert reader.read(rtp, []) == 0
        emptied_at = clock.now()
        sending.sendto(sender.protect(rtp_packet(1)), receiving.getsockname())
        wall = time.time
        monkeypatch.setattr("media.tap.datagram_reader.time.time", lambda: wall() + 60.0)
        assert reader.read(rtp, []) == 1
    assert rtp[0].arrival_time >= emptied_at - 0.1


def test_what_pylibsrtp_keeps_inside_is_still_there() -> None:
    sender, receiver = srtp_pair()
    srtp = SrtpReceiver(receiver)
    assert len(srtp.buffer) == 1500
    protected = sender.protect(rtp_packet(7, 1300))
    srtp.buffer[0 : len(protected)] = protected
    assert srtp.rtp(len(protected)) == rtp_packet(7, 1300)
    assert srtp.rtp(len(protected)) is None


def test_an_arrival_time_never_lies_in_the_future() -> None:
    now = 1_000.0
    stamped = [(socket.SOL_SOCKET, 35, struct.pack("qq", 2_000, 0))]
    assert arrival(stamped, 0.0, now) == now
    assert arrival([], 0.0, now) == now
    assert arrival([(socket.SOL_SOCKET, 35, struct.pack("qq", 999, 500_000_000))], 0.0, now) == 999.5

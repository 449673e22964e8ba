"""What the tap relies on inside aiortc and aioice, and its own transport over a real pair of connections."""

import asyncio
import inspect
import socket
import struct
import time

import pytest
from aioice import ice
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport, RTCSctpTransport
from aiortc.rtcdtlstransport import RTCDtlsTransport as DtlsTransport

from media.clock import SteadyClock
from media.tap import transport as tap_transport
from media.tap.transport import READ_BATCH, Datagram, MediaTransport, _arrival, _BatchReader


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


class Owner:
    """Stands in for the transport that decrypts."""

    def __init__(self) -> None:
        self._clock = SteadyClock()
        self.batches: list[list[tuple[bytes, float]]] = []

    def decrypt(self, batch: list[tuple[bytes, float]]) -> None:
        self.batches.append(batch)


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


async def test_datagrams_are_read_in_batches_with_the_kernels_arrival_times() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
    ):
        receiving.bind(("127.0.0.1", 0))
        wait_for_kernel_stamps(receiving, sending)
        receiving.setblocking(False)
        protocol, owner = Protocol(), Owner()
        reader = _BatchReader(receiving, protocol, owner)  # type: ignore[arg-type]  # only `decrypt` and the clock are used
        media = [bytes([0x80, 96]) + struct.pack("!HII", number, number, 1) for number in range(50)]
        sent_at = owner._clock.now()
        for packet in media:
            sending.sendto(packet, receiving.getsockname())
        sending.sendto(b"\x00\x01stun", receiving.getsockname())
        time.sleep(0.2)  # noqa: ASYNC251 - the loop is busy, and arrival times must not suffer from it
        await asyncio.sleep(0.05)
        reader.stop()
    assert [data for batch in owner.batches for data, _ in batch] == media
    assert len(owner.batches) < len(media) / 5
    assert len(media) < READ_BATCH
    assert protocol.datagrams == [b"\x00\x01stun"]
    assert protocol.errors == []
    assert all(arrival - sent_at < 0.1 for batch in owner.batches for _, arrival in batch)


def test_an_arrival_time_never_lies_in_the_future() -> None:
    now = 1_000.0
    stamped = [(socket.SOL_SOCKET, 35, struct.pack("qq", 2_000, 0))]
    assert _arrival(stamped, 0.0, now) == now
    assert _arrival([], 0.0, now) == now
    assert _arrival([(socket.SOL_SOCKET, 35, struct.pack("qq", 999, 500_000_000))], 0.0, now) == 999.5

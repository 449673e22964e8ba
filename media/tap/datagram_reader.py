"""Reads one UDP socket in batches in place of asyncio's own reader, which wakes up for each datagram."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import structlog

from media.tap.srtp import SrtpReceiver

log = structlog.get_logger(__name__)

RECEIVE_BUFFER_BYTES = 4 << 20  # about 2 s of 20 tracks at 1.7 Mb/s while the loop is busy
READ_BATCH = 512  # datagrams taken at once before other tasks get their turn
_SO_RCVBUFFORCE = 33  # Linux: past the system's limit, where we may (CAP_NET_ADMIN)
_SO_TIMESTAMPNS = 35  # Linux, 64 bit: struct timespec of the datagram's arrival (socket(7))
_TIMESPEC = struct.Struct("qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)


class Datagram(NamedTuple):
    """One decrypted RTP or RTCP packet and when it arrived (Unix seconds, steady)."""

    data: bytes
    arrival_time: float


class DatagramProtocol(Protocol):
    """Who takes what is no media (STUN, DTLS), as asyncio's `DatagramProtocol`."""

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram that is not SRTP."""

    def error_received(self, exc: Exception) -> None:
        """The socket reported an error."""


class DatagramReader:
    """Takes a socket away from its asyncio transport; `read` then gives what arrived since.

    Arrival times are the kernel's, so that reading late does not falsify them.
    """

    def __init__(
        self, handle: socket.socket, protocol: DatagramProtocol, srtp: SrtpReceiver, now: Callable[[], float]
    ) -> None:
        self._socket = handle
        self._protocol = protocol
        self._srtp = srtp
        self._now = now
        self._emptied_at = float("-inf")
        self.read_until = float("-inf")
        """What arrived before that has been read."""
        self.refused = 0
        """Datagrams that were replayed or not authentic."""
        self.malformed = 0
        """Datagrams that are neither media nor what ICE or DTLS can read."""
        _enlarge_buffer(handle)
        _enable_timestamps(handle)
        loop = asyncio.get_running_loop()
        loop._remove_reader(handle.fileno())  # type: ignore[attr-defined]  # the public one refuses transports

    def read(self, rtp: list[Datagram], rtcp: list[Datagram]) -> int:
        """Append the packets that wait, at most `READ_BATCH`, in order of arrival; how many datagrams there were."""
        if self._socket.fileno() < 0:
            self.read_until = float("inf")
            return 0
        buffers, receive = (self._srtp.buffer,), self._socket.recvmsg_into
        now = self._now()
        steady_minus_wall = now - time.time()
        for count in range(READ_BATCH):
            try:
                size, ancillary, _flags, address = receive(buffers, _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                self._emptied_at = self.read_until = now
                return count
            except OSError as error:
                self.read_until = now  # nobody may wait for a socket that fails
                self._protocol.error_received(error)
                return count
            # What waits came since the socket was last empty; a wall clock that was set meanwhile says otherwise.
            arrived_at = max(self._emptied_at, arrival(ancillary, steady_minus_wall, now))
            self._take(size, arrived_at, address, rtp, rtcp)
        self.read_until = arrived_at
        return READ_BATCH

    def _take(
        self, size: int, arrival_time: float, address: tuple[str, int], rtp: list[Datagram], rtcp: list[Datagram]
    ) -> None:
        first = self._srtp.buffer[0:2]
        if size < 2 or not 128 <= first[0] <= 191:  # RFC 7983 section 7: what is neither RTP nor RTCP
            if size:
                self._hand_over(self._srtp.buffer[0:size], address)
            return
        is_rtcp = 192 <= first[1] <= 223  # RFC 5761 section 4
        data = self._srtp.rtcp(size) if is_rtcp else self._srtp.rtp(size)
        if data is None:
            self.refused += 1
            return
        (rtcp if is_rtcp else rtp).append(Datagram(data, arrival_time))

    def _hand_over(self, data: bytes, address: tuple[str, int]) -> None:
        """What is no media goes to the socket's own protocol; as under asyncio, what it raises ends nothing."""
        try:
            self._protocol.datagram_received(data, address)
        except Exception as error:  # noqa: BLE001 - the border to a parser of unauthenticated bytes; counted and told
            self.malformed += 1
            log.debug("tap_datagram_malformed", size_bytes=len(data), error=repr(error))


def _enlarge_buffer(handle: socket.socket) -> None:
    """Ask for `RECEIVE_BUFFER_BYTES`, past the system's limit where we may."""
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    with contextlib.suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)


def _enable_timestamps(handle: socket.socket) -> None:
    """Have the kernel stamp datagrams; where it cannot, `arrival` takes the time of reading."""
    with contextlib.suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def arrival(ancillary: list[tuple[int, int, bytes]], steady_minus_wall: float, now: float) -> float:
    """When a datagram arrived, on the steady clock that shows `now`; never later than that."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return min(now, float(seconds + nanoseconds * 1e-9 + steady_minus_wall))
    return now

"""A bad network between one receiver and a real server, on loopback and without root.

A proxy passes the signalling on and names itself as the server's media address, so that the
media goes through a UDP relay here, which loses and blocks what it is told to. The server is the real
one, and so are ICE, DTLS, SRTP and RTCP. Taps are led this way, and with `relay_sdk` participants of the SDK.
"""

import asyncio
import contextlib
import json
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from livekit.protocol import models, rtc
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agent.credentials import Credentials

_CANDIDATE_LINE = re.compile(r"^a=(candidate:.*|end-of-candidates)\r?\n", re.MULTILINE)
_TAP_QUERY = "auto_subscribe=0"
_DATAGRAM_BYTES = 2048
_BUFFER_BYTES = 4 << 20


@dataclass
class UdpRelay:
    """Carries datagrams of any number of clients to `server` and back.

    `loss` of them, by `source`, are dropped each way, and those from the server that `lost` says. While `blocked` all
    are.
    """

    server: tuple[str, int]
    source: random.Random
    loss: float = 0.0
    blocked: bool = False
    lost: Callable[[bytes], bool] | None = None
    carried: int = 0
    dropped: int = 0
    _upstreams: dict[Any, socket.socket] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = self._bound()
        self._loop.add_reader(self._socket, self._read_clients)

    @property
    def port(self) -> int:
        """Where clients send to, on 127.0.0.1."""
        return int(self._socket.getsockname()[1])

    def aclose(self) -> None:
        """Close all sockets."""
        for item in (self._socket, *self._upstreams.values()):
            self._loop.remove_reader(item)
            item.close()

    def _bound(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        made.setblocking(False)
        made.bind(("127.0.0.1", 0))
        return made

    def _read_clients(self) -> None:
        for data, client in _datagrams(self._socket):
            upstream = self._upstreams.get(client)
            if upstream is None:
                upstream = self._upstreams[client] = self._bound()
                upstream.connect(self.server)
                self._loop.add_reader(upstream, self._read_server, upstream, client)
            if self._passes():
                with contextlib.suppress(OSError):  # the server is being restarted: lost like any other
                    upstream.send(data)

    def _read_server(self, upstream: socket.socket, client: Any) -> None:
        for data, _ in _datagrams(upstream):
            if self.lost is not None and self.lost(data):
                self.dropped += 1
            elif self._passes():
                with contextlib.suppress(OSError):
                    self._socket.sendto(data, client)

    def _passes(self) -> bool:
        if self.blocked or self.source.random() < self.loss:
            self.dropped += 1
            return False
        self.carried += 1
        return True


def _datagrams(handle: socket.socket) -> Iterator[tuple[bytes, Any]]:
    while True:
        try:
            yield handle.recvfrom(_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error of an earlier datagram; the next read goes on
            continue


class FaultyNetwork:
    """Signalling proxy and media relays in front of `server`. Use `faulty_network`."""

    def __init__(
        self, server: Credentials, source: random.Random, loss: float, *, relay_media: bool, relay_sdk: bool = False
    ) -> None:
        self._server = server
        self._relay_media = relay_media
        self._relay_sdk = relay_sdk
        self._source = source
        self.loss = loss
        self._lost: Callable[[bytes], bool] | None = None
        self.relays: dict[int, UdpRelay] = {}
        self.taps: list[ServerConnection] = []
        self.url = ""

    @property
    def credentials(self) -> Credentials:
        """The server as seen through this network."""
        return Credentials(self.url, self._server.api_key, self._server.api_secret)

    @property
    def carried(self) -> int:
        """Datagrams that got through."""
        return sum(relay.carried for relay in self.relays.values())

    @property
    def dropped(self) -> int:
        """Datagrams that did not."""
        return sum(relay.dropped for relay in self.relays.values())

    def block_media(self, blocked: bool) -> None:
        """Let no datagram through, or all again."""
        for relay in self.relays.values():
            relay.blocked = blocked

    def lose(self, lost: Callable[[bytes], bool] | None) -> None:
        """Let no datagram through to the taps of which `lost` says so; None: let them through again."""
        self._lost = lost
        for relay in self.relays.values():
            relay.lost = lost

    def cut_signalling(self) -> None:
        """Tear the taps' WebSockets as a dying network would: no close frame."""
        for connection in self.taps:
            connection.transport.abort()

    async def tell_taps_to_leave(self, action: Any) -> None:
        """Say what a server says that wants its clients elsewhere."""
        leave = rtc.LeaveRequest(reason=models.DisconnectReason.SERVER_SHUTDOWN, action=action)
        for connection in self.taps:
            await connection.send(rtc.SignalResponse(leave=leave).SerializeToString())

    async def handle(self, client: ServerConnection) -> None:
        """One signalling connection, from its opening to its end."""
        assert client.request is not None
        parts = urlsplit(client.request.path)
        headers = {key: value for key, value in client.request.headers.raw_items() if key.lower() == "authorization"}
        target = f"{self._server.url}{client.request.path}"
        is_tap = _TAP_QUERY in parts.query
        try:
            upstream = await connect(target, additional_headers=headers, max_size=None, ping_interval=None, proxy=None)
        except (OSError, InvalidStatus):
            client.transport.abort()
            return
        if is_tap:
            self.taps.append(client)
        try:
            async with asyncio.TaskGroup() as group:
                led = self._relay_media if is_tap else self._relay_sdk
                group.create_task(self._pass_down(upstream, client, led))
                group.create_task(self._pass_up(client, upstream, led))
        finally:
            if is_tap:
                self.taps.remove(client)

    async def _pass_down(self, upstream: Any, client: ServerConnection, relayed: bool) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in upstream:
                led = self._led_here(message) if relayed and isinstance(message, bytes) else message
                if led is not None:
                    await client.send(led)
        client.transport.abort()

    async def _pass_up(self, client: ServerConnection, upstream: Any, relayed: bool) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in client:
                await upstream.send(_without_candidates(message) if relayed and isinstance(message, bytes) else message)
        upstream.transport.abort()

    def _led_here(self, message: bytes) -> bytes | None:
        """The server's message with our relay for its media address; None for other candidates.

        They are left out whole: an empty one has the SDK abort its process (livekit 1.2.1).
        """
        response = rtc.SignalResponse.FromString(message)
        if response.HasField("offer"):
            response.offer.sdp = _CANDIDATE_LINE.sub("", response.offer.sdp)
        elif response.HasField("answer"):
            response.answer.sdp = _CANDIDATE_LINE.sub("", response.answer.sdp)
        elif response.HasField("trickle"):
            init = json.loads(response.trickle.candidateInit or "{}")
            words = init.get("candidate", "").split()
            if len(words) < 6 or words[2].lower() != "udp":
                return None
            words[4], words[5] = "127.0.0.1", str(self._relay_to(words[4], int(words[5])).port)
            init["candidate"] = " ".join(words)
            response.trickle.candidateInit = json.dumps(init)
        else:
            return message
        return response.SerializeToString()

    def _relay_to(self, host: str, port: int) -> UdpRelay:
        if port not in self.relays:
            self.relays[port] = UdpRelay((host, port), self._source, self.loss, lost=self._lost)
        return self.relays[port]


def _without_candidates(message: bytes) -> bytes:
    """The client's message without its own addresses, so that the server knows only the relay's."""
    request = rtc.SignalRequest.FromString(message)
    if request.HasField("answer"):
        request.answer.sdp = _CANDIDATE_LINE.sub("", request.answer.sdp)
    elif request.HasField("offer"):
        request.offer.sdp = _CANDIDATE_LINE.sub("", request.offer.sdp)
    elif request.HasField("trickle"):
        request.trickle.candidateInit = json.dumps({"candidate": ""})
    else:
        return message
    return request.SerializeToString()


@asynccontextmanager
async def faulty_network(
    server: Credentials, *, seed: int = 1, loss: float = 0.0, relay_media: bool = True, relay_sdk: bool = False
) -> AsyncIterator[FaultyNetwork]:
    """A network of its own, closed at the end. `loss` each way, drawn by `seed`.

    Relayed media costs a second at each join: the server waits so long before it takes an address that nobody named.
    Without `relay_media` only the signalling comes through here.
    """
    network = FaultyNetwork(server, random.Random(seed), loss, relay_media=relay_media, relay_sdk=relay_sdk)
    async with serve(network.handle, "127.0.0.1", 0, max_size=None, ping_interval=None, close_timeout=1) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        network.url = f"ws://127.0.0.1:{port}"
        try:
            yield network
        finally:
            for relay in network.relays.values():
                relay.aclose()

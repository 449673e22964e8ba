"""LiveKit's signalling with nobody behind it: joins are answered, requests kept, and its network path can die."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from livekit.protocol import models, rtc
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from media.frames import EncodedFrame
from media.tap.events import RemoteParticipant
from media.tap.tap import TapState

OFFER = (Path(__file__).parent / "fixtures" / "offer_opus_vp8.sdp").read_text()
AUDIO, VIDEO = "TR_AMSJgYPiazmU4v", "TR_VCnxAfRtPTaKZX"  # of that offer


@dataclass(slots=True)
class SignallingServer:
    """`requests` are all that came, by connection. `offer_after_s`: None for no offer."""

    tracks: list[models.TrackInfo] = field(default_factory=list)
    offer_after_s: float | None = None
    requests: list[list[rtc.SignalRequest]] = field(default_factory=list)
    sockets: list[ServerConnection] = field(default_factory=list)
    url: str = ""

    def publish(self, sid: str, kind: int, source: int = 0) -> None:
        """A track of the one participant who is there, who may say any number for its source."""
        mime_type = "video/VP8" if kind == models.TrackType.VIDEO else "audio/opus"
        self.tracks.append(models.TrackInfo(sid=sid, type=kind, mime_type=mime_type, source=source))  # type: ignore[arg-type]

    @property
    def participant(self) -> models.ParticipantInfo:
        """Who publishes."""
        return models.ParticipantInfo(
            sid="PA_ada", identity="ada", state=models.ParticipantInfo.State.ACTIVE, tracks=self.tracks
        )

    async def tell(self, response: rtc.SignalResponse) -> None:
        """Say something to whoever joined last."""
        await self.sockets[-1].send(response.SerializeToString())

    async def handle(self, socket: ServerConnection) -> None:
        """One connection, from its join on."""
        self.sockets.append(socket)
        requests: list[rtc.SignalRequest] = []
        self.requests.append(requests)
        join = rtc.JoinResponse(ping_interval=5, ping_timeout=15, other_participants=[self.participant])
        join.participant.sid, join.participant.identity = f"PA_{len(self.sockets)}", "recorder"
        await socket.send(rtc.SignalResponse(join=join).SerializeToString())
        offering = asyncio.create_task(self._offer(socket))
        with contextlib.suppress(ConnectionClosed):  # as where the path has died
            async for message in socket:
                assert isinstance(message, bytes)
                requests.append(rtc.SignalRequest.FromString(message))
        offering.cancel()

    async def _offer(self, socket: ServerConnection) -> None:
        if self.offer_after_s is not None:
            await asyncio.sleep(self.offer_after_s)
            offer = rtc.SessionDescription(type="offer", sdp=OFFER, id=1)
            await socket.send(rtc.SignalResponse(offer=offer).SerializeToString())


@dataclass(slots=True)
class DeadPath:
    """Carries bytes between two ends until `die`: nothing is carried then, and nobody is told."""

    alive: bool = True
    joins: int = 0
    ends: list[asyncio.StreamWriter] = field(default_factory=list)
    carrying: set[asyncio.Task[None]] = field(default_factory=set)

    def die(self) -> None:
        """The connections that are there carry nothing any more; later ones do."""
        self.alive = False

    async def aclose(self) -> None:
        """Tear down all that is carried."""
        for end in self.ends:
            end.transport.abort()
        await asyncio.gather(*self.carrying, return_exceptions=True)
        await asyncio.gather(*(end.wait_closed() for end in self.ends), return_exceptions=True)

    def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """One connection."""
        self.carrying.add(asyncio.create_task(self._carry(reader, writer, port)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        self.joins += 1
        mine = self.joins
        self.ends.append(writer)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        self.ends.append(far_writer)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                if self.alive or mine > 1:
                    sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)


@asynccontextmanager
async def signalling_server(path: DeadPath | None = None) -> AsyncIterator[SignallingServer]:
    """A server, behind `path` where one is given."""
    server = SignallingServer()
    async with serve(server.handle, "127.0.0.1", 0, close_timeout=0.2) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        if path is None:
            server.url = f"ws://127.0.0.1:{port}"
            yield server
            return
        way = await asyncio.start_server(lambda reader, writer: path.carry(reader, writer, port), "127.0.0.1", 0)
        server.url = f"ws://127.0.0.1:{way.sockets[0].getsockname()[1]}"
        try:
            yield server
        finally:
            way.close()
            await path.aclose()


class Told:
    """Keeps what the tap tells."""

    def __init__(self) -> None:
        self.states: list[TapState] = []
        self.participants: dict[str, RemoteParticipant] = {}

    def on_tap_state(self, state: TapState, reason: str) -> None:
        """Keep it."""
        self.states.append(state)

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        """Keep the last ones."""
        self.participants = participants

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        """None come."""

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        """Nothing is withheld."""

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        """Nothing is refused."""

    def on_tap_allowed(self, track_sid: str) -> None:
        """Nothing is allowed anew."""

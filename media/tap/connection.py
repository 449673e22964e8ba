"""One connection of the tap, from join to loss: signalling, transport and a receiver per track."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog
from aiortc import RTCIceServer

from media.clock import SteadyClock
from media.errors import MediaError
from media.frames import EncodedFrame
from media.tap.datagram_reader import READ_BATCH, Datagram
from media.tap.events import CandidateReceived, Joined, LayerQuality, LeaveRequested, OfferReceived, SignalEvent
from media.tap.receiver import Receivers
from media.tap.sdp import Offer, build_answer, parse_offer, without_bandwidth_feedback
from media.tap.signalling import SignalClient
from media.tap.transport import MediaTransport

log = structlog.get_logger(__name__)

READ_INTERVAL_S = 0.02  # a frame lasts 33 to 66 ms; NACK timers are of the order of the round trip
# With this many datagrams at once the socket's buffer may fill within READ_INTERVAL_S: Linux's default holds about 180.
BUSY_BATCH = 48
BUSY_INTERVAL_S = 0.005
MEDIA_SILENCE_S = 5.0
"""The server's ICE agent pings every 2 s where nothing else is sent. It takes a silent path for dead after 15 s, and
then offers TCP alone for a while: a network interface that went away is found out here first, and joined past."""
ICE_LITE_SILENCE_S = 15.0
"""An ICE-lite server pings nobody: in a muted room only its answers to our consent checks come, every 4 to 6 s."""
FPS_REPEAT_S = 10.0
"""The server works out once, when it is asked, which of a layer's temporal layers a frame rate means, and takes all of
them of a layer that it has not counted yet: a camera that just began, a layer that came back."""
ANY_FPS = 255
"""No layer has as many. The server keeps a limit until another one comes; 0 says nothing."""
REPORT_INTERVAL_S = 1.0  # RFC 3550 6.2 would allow less often; the server's quality score reads these


@dataclass(frozen=True, slots=True)
class LayerIntent:
    """All that is asked of one subscription; sent whole each time, since the server replaces.

    `max_fps`: frames a second of a video; the server sends the fewest of its temporal layers that have 0.9 of that.
    """

    quality: LayerQuality = LayerQuality.HIGH
    max_fps: int | None = None


class ConnectionOwner(Protocol):
    """Who is told of frames and signals."""

    def on_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        """Complete frames of a track."""

    def on_signal(self, event: SignalEvent) -> None:
        """A signal that is not about the transport."""


class Connection:
    """`open`, `run` until it ends, `aclose`. Never used again afterwards."""

    def __init__(
        self,
        signal: SignalClient,
        owner: ConnectionOwner,
        receivers: Receivers,
        intents: Mapping[str, LayerIntent],
        clock: SteadyClock,
        *,
        bandwidth_feedback: bool,
    ) -> None:
        self._signal = signal
        self._owner = owner
        self._clock = clock
        self.joined: Joined = signal.joined
        self._transport = MediaTransport(self, clock, _ice_servers(signal.joined))
        self._receivers = receivers
        self._bandwidth_feedback = bandwidth_feedback
        self._intents = intents
        self._fps_once: set[str] = set()
        receivers.begin_connection()
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_answer = asyncio.Event()
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connecting = False
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        token: str,
        owner: ConnectionOwner,
        receivers: Receivers,
        intents: Mapping[str, LayerIntent],
        clock: SteadyClock,
        *,
        bandwidth_feedback: bool = True,
    ) -> "Connection":
        """Join and start reading; the transport comes up as the server offers it.

        `intents` is the owner's, by track SID: what is in it as a request is sent is what is asked for.
        """
        signal = await SignalClient.connect(url, token)
        connection = cls(signal, owner, receivers, intents, clock, bandwidth_feedback=bandwidth_feedback)
        connection._start(connection._read_signals, "tap.signals")
        connection._start(signal.keep_alive, "tap.keep_alive")
        connection._start(connection._repeat_fps, "tap.fps")
        return connection

    async def run(self) -> str:
        """Until the connection is lost; the reason."""
        return await asyncio.shield(self._ended)

    async def subscribe(self, track_sids: Collection[str]) -> None:
        """Subscribe to those of the tracks that are still wanted after the first answer: its offer stays free of media.

        Their layers are asked for with that.
        """
        if not track_sids:
            return
        await self._first_answer.wait()
        wanted = [track_sid for track_sid in track_sids if track_sid in self._intents]
        if not wanted:
            return
        for track_sid in wanted:
            self._receivers.expect(track_sid, self._clock.now())
        await self._signal.update_subscription(wanted, subscribe=True)
        for track_sid in wanted:
            await self.apply_layer(track_sid)

    async def unsubscribe(self, track_sid: str) -> None:
        """End a subscription."""
        self._fps_once.discard(track_sid)
        await self._signal.update_subscription([track_sid], subscribe=False)

    async def apply_layer(self, track_sid: str, *, again: bool = False) -> None:
        """Send the whole intent of a track, if it is wanted; `again` where the server was told the same before."""
        intent = self._intents.get(track_sid)
        if intent is None:
            return
        if intent.max_fps is not None:
            self._fps_once.add(track_sid)
        unlimited = ANY_FPS if track_sid in self._fps_once else 0
        # Another priority, which does nothing, makes the server look at what it was told before.
        await self._signal.update_track_settings(
            track_sid, quality=intent.quality, fps=intent.max_fps or unlimited, priority=int(again)
        )

    async def _repeat_fps(self) -> None:
        again = False
        while True:
            await asyncio.sleep(FPS_REPEAT_S)
            again = not again
            for track_sid in tuple(self._intents):
                intent = self._intents.get(track_sid)  # it may be unsubscribed from meanwhile
                if intent is not None and intent.max_fps is not None:
                    await self.apply_layer(track_sid, again=again)

    async def aclose(self) -> None:
        """Leave, hand on what is complete, close everything; idempotent."""
        if self._closed:
            return
        self._closed = True
        self._end("left")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            while self._transport.read() >= READ_BATCH:  # a loop that was busy has more than one batch waiting
                pass
            self._deliver(self._receivers.flush(self._clock.now()))
        finally:
            try:
                await self._signal.aclose()
            finally:
                await self._transport.aclose()

    # What the transport tells

    def on_rtp(self, packets: list[Datagram]) -> None:
        """Take a batch of packets."""
        for packet in packets:
            self._receivers.receive(packet.data, packet.arrival_time)

    def on_rtcp(self, packet: Datagram) -> None:
        """Take a sender report."""
        self._receivers.receive_rtcp(packet.data, packet.arrival_time)

    def on_transport_closed(self, reason: str) -> None:
        """The media path is gone."""
        self._end(reason)

    # Tasks

    def _start(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        # A coroutine made here would be left over where the task is cancelled before it begins.
        task = asyncio.create_task(self._guard(run, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, run: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        try:
            await run()
        except MediaError as error:
            self._end(str(error))
        except Exception as error:  # the border of a task: it ends this connection, and is told
            log.exception("tap_task_failed", task=name)
            self._end(f"{name}: {type(error).__name__}")

    async def _read_signals(self) -> None:
        async for event in self._signal.events():
            match event:
                case OfferReceived():
                    await self._answer(event)
                case CandidateReceived():
                    await self._transport.add_remote_candidate(event.candidate)
                case LeaveRequested():
                    self._owner.on_signal(event)
                    self._end(f"server: {event.reason}")
                case _:
                    self._owner.on_signal(event)
        self._end("signalling closed")

    async def _answer(self, event: OfferReceived) -> None:
        offer = parse_offer(event.sdp)
        if not self._bandwidth_feedback:
            offer = without_bandwidth_feedback(offer)
        local = await self._transport.gather()
        self._receivers.configure(offer, self._clock.now())
        await self._signal.answer(build_answer(offer, local), event.offer_id)
        if not self._connecting:
            self._connecting = True
            for candidate in offer.candidates:
                await self._transport.add_remote_candidate(candidate)
            self._start(partial(self._connect, offer), "tap.connect")

    async def _connect(self, offer: Offer) -> None:
        self._first_answer.set()
        await self._transport.connect(offer)
        self._start(self._read, "tap.read")
        silence_s = ICE_LITE_SILENCE_S if offer.ice_lite else MEDIA_SILENCE_S
        self._start(partial(self._report, silence_s), "tap.report")

    async def _read(self) -> None:
        """One wake-up for everything: read, hand on what is complete, look at timers, send feedback.

        Only once all is read that waited: what is still in a socket is not missing yet.
        """
        while True:
            count = await self._transport.read_all()
            now = self._clock.now()
            self._deliver(self._receivers.poll_touched(now))
            self._deliver(self._receivers.poll_due(now))
            for packet in self._receivers.take_feedback():
                await self._transport.send_rtcp(packet)
            await asyncio.sleep(BUSY_INTERVAL_S if count >= BUSY_BATCH else READ_INTERVAL_S)

    async def _report(self, silence_s: float) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            self._transport.read()  # what waits in the sockets has been heard, however late this loop is
            now = self._clock.now()
            if self._transport.silent_s(now) > silence_s:
                self._end("nothing came from the server's media address for seconds")
                return
            for packet in self._receivers.reports(now):
                await self._transport.send_rtcp(packet)

    def _deliver(self, frames: dict[str, tuple[EncodedFrame, ...]]) -> None:
        for track_sid, complete in frames.items():
            self._owner.on_frames(track_sid, complete)

    def _end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)
        self._first_answer.set()  # whoever waits for it goes on, to find the connection gone


def _ice_servers(joined: Joined) -> list[RTCIceServer]:
    # The server has public candidates; only a relay can help where they are out of reach.
    return [
        RTCIceServer(urls=list(urls), username=username, credential=credential)
        for urls, username, credential in joined.turn_servers
    ]

"""LiveKit's signalling protocol over one WebSocket, for a participant that only receives.

Protobufs stop here. Source: livekit-protocol `livekit_rtc.proto` (SignalRequest, SignalResponse).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog
from livekit.protocol import models, rtc
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from media.errors import TapError, TapUnauthorized, TapUnreachable
from media.tap.decode import decode, decode_join, word
from media.tap.events import Joined, LayerQuality, SignalEvent

log = structlog.get_logger(__name__)

PROTOCOL_VERSION = 15  # the one these messages were checked against
OPEN_TIMEOUT_S = 10.0
JOIN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 0.5  # for the server's goodbye; on a dead path none comes, and the next join waits for this one's end
MAX_MESSAGE_BYTES = 8 << 20  # a join response lists every participant of the room


class SignalClient:
    """One signalling session: `connect`, then iterate `events` and call the requests."""

    def __init__(self, socket: ClientConnection, joined: Joined) -> None:
        self._socket = socket
        self.joined = joined
        self._last_answer = time.monotonic()

    @classmethod
    async def connect(cls, url: str, token: str) -> "SignalClient":
        """Join; TapUnauthorized, TapUnreachable or TapError say what went wrong."""
        try:
            socket = await connect(
                signal_url(url, token),
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=MAX_MESSAGE_BYTES,
                ping_interval=None,  # the protocol has pings of its own
                proxy=None,
            )
        except InvalidStatus as error:
            raise _refusal(error) from None  # the original names the URL and with it the token
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
            raise TapUnreachable(
                f"no LiveKit server answers at {url} ({type(error).__name__}); check LIVEKIT_URL"
            ) from None
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                return cls(socket, await _read_join(socket))
        except (ConnectionClosed, TimeoutError) as error:
            await socket.close()
            raise TapUnreachable(f"the server at {url} did not answer the join request") from error
        except BaseException:
            await socket.close()
            raise

    async def events(self) -> AsyncIterator[SignalEvent]:
        """What the server says until the connection ends."""
        try:
            async for message in self._socket:
                self._last_answer = time.monotonic()
                if isinstance(message, bytes):
                    for event in decode(rtc.SignalResponse.FromString(message)):
                        yield event
        except ConnectionClosed as error:
            log.info("tap_signal_closed", reason=str(error))

    async def keep_alive(self) -> None:
        """Ping as often as the server asks; returns when it has been silent for too long."""
        while time.monotonic() - self._last_answer < self.joined.ping_timeout_s:
            await asyncio.sleep(self.joined.ping_interval_s)
            now_ms = time.time_ns() // 1_000_000
            await self._send(rtc.SignalRequest(ping_req=rtc.Ping(timestamp=now_ms)))
        await self._socket.close()

    async def answer(self, sdp: str, offer_id: int) -> None:
        """Answer the offer of that id."""
        description = rtc.SessionDescription(type="answer", sdp=sdp, id=offer_id)
        await self._send(rtc.SignalRequest(answer=description))

    async def update_subscription(self, track_sids: list[str], *, subscribe: bool) -> None:
        """Subscribe to tracks or no longer."""
        update = rtc.UpdateSubscription(track_sids=track_sids, subscribe=subscribe)
        await self._send(rtc.SignalRequest(subscription=update))

    async def update_track_settings(
        self, track_sid: str, *, quality: LayerQuality, disabled: bool = False, fps: int = 0, priority: int = 0
    ) -> None:
        """Ask for a layer, and where `fps` is not 0 for a frame rate; the message replaces whatever was asked before.

        A message that equals the one before it is not looked at. `priority` is of no effect on the server (1.13).
        """
        settings = rtc.UpdateTrackSettings(
            track_sids=[track_sid],
            quality=models.VideoQuality.Name(quality.value),
            disabled=disabled,
            fps=fps,
            priority=priority,
        )
        await self._send(rtc.SignalRequest(track_setting=settings))

    async def aclose(self) -> None:
        """Say goodbye and close; idempotent."""
        leave = rtc.LeaveRequest(reason=models.DisconnectReason.CLIENT_INITIATED)
        with contextlib.suppress(TimeoutError):  # a path that takes nothing any more
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._send(rtc.SignalRequest(leave=leave))
        await self._socket.close()

    async def _send(self, request: rtc.SignalRequest) -> None:
        try:
            await self._socket.send(request.SerializeToString())
        except ConnectionClosed as error:
            # The reader ends for the same reason, and there the tap reacts.
            log.debug("tap_signal_unsent", request=request.WhichOneof("message"), reason=str(error))


def signal_url(url: str, token: str) -> str:
    """Where to open the WebSocket, for the server at `url` (ws, wss, http or https)."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    query = urlencode(
        {
            "access_token": token,
            "protocol": PROTOCOL_VERSION,
            "auto_subscribe": 0,
            "sdk": "python",
            "version": "1.2.1",
            "client_protocol": 1,
        }
    )
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/rtc", query, ""))


def _refusal(error: InvalidStatus) -> TapError:
    status = error.response.status_code
    text = (error.response.body or b"").decode(errors="replace").strip()[:200]
    if status in {401, 403}:
        return TapUnauthorized(f"the server refused the recorder's token ({status}: {text}); check API key and secret")
    if status == 404:
        return TapError(f"the server does not know the room ({text}); create it, or allow rooms to be created on join")
    return TapUnreachable(f"the server answered {status} to the recorder's join ({text}); check LIVEKIT_URL")


async def _read_join(socket: ClientConnection) -> Joined:
    while True:
        message = await socket.recv()
        if not isinstance(message, bytes):
            continue
        response = rtc.SignalResponse.FromString(message)
        if response.HasField("join"):
            return decode_join(response.join)
        if response.HasField("leave"):
            reason = word(models.DisconnectReason, response.leave.reason)
            raise TapError(f"the server ended the session while joining ({reason})")

"""The room process's side of the pipe up: never waits for the supervisor, and never grows without bound."""

import asyncio
from typing import BinaryIO

import structlog

from agent.service.protocol import RoomEventReport, RoomReport, Up, encode_up

REPORTS_PAST_BYTES = 1 << 20  # the next report comes in a second anyway
EVENTS_PAST_BYTES = 8 << 20  # some ten thousand events: the supervisor hangs
FLUSH_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


class LineWriter:
    """Writes messages to the supervisor.

    While the pipe is stuffed, reports are dropped first and events then; replies and the last
    word never are. `dropped` counts; the log has one line per time that it happens.
    """

    def __init__(self, transport: asyncio.WriteTransport, closed: "asyncio.Future[None]") -> None:
        self._transport = transport
        self._closed = closed
        self._dropping = False
        self.dropped = 0

    @classmethod
    async def open(cls, pipe: BinaryIO) -> "LineWriter":
        """A writer on `pipe`, which it closes in the end."""
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[None] = loop.create_future()
        transport, _protocol = await loop.connect_write_pipe(lambda: _Watch(closed), pipe)
        return cls(transport, closed)

    def send(self, message: Up) -> None:
        """Write `message`, or drop it; nothing when the supervisor is gone."""
        if self._transport.is_closing():
            return
        waiting = self._transport.get_write_buffer_size()
        stuffed = (isinstance(message, RoomReport) and waiting > REPORTS_PAST_BYTES) or (
            isinstance(message, RoomEventReport) and waiting > EVENTS_PAST_BYTES
        )
        if stuffed:
            self.dropped += 1
            if not self._dropping:
                log.warning("supervisor_slow", waiting_bytes=waiting, dropped=self.dropped)
        else:
            self._transport.write(encode_up(message))
        self._dropping = stuffed

    async def aclose(self) -> None:
        """Write out what waits, and close; gives up on a supervisor that does not read. Idempotent."""
        self._transport.close()
        await asyncio.wait({self._closed}, timeout=FLUSH_TIMEOUT_S)
        if not self._closed.done():
            self._transport.abort()


class _Watch(asyncio.BaseProtocol):
    def __init__(self, closed: "asyncio.Future[None]") -> None:
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        """The pipe is closed, by us or by the supervisor's end."""
        if exc is not None:
            log.warning("supervisor_gone", reason=str(exc))
        if not self._closed.done():
            self._closed.set_result(None)

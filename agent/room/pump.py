"""Moving one track's media from a source to the SDK, on time."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from agent.room.reading import Reader
from media.sources.pacer import Drop, Pacer, Send, Wait
from media.sources.source import AccessUnit, DecodedAudio, DecodedVideoFrame

log = structlog.get_logger(__name__)

LATE_LINE_S = 10.0  # a machine that is too slow is late several times a second

T = TypeVar("T", DecodedVideoFrame, DecodedAudio, AccessUnit)


class Pump(Generic[T]):
    """Reads (in a thread of its own), waits until an item is due, sends it. While muted, items pass unsent.

    `leave_out` (in a thread) has the source leave out what it can of what comes before a pts, and comes too late.
    """

    def __init__(
        self,
        *,
        name: str,
        read: Callable[[], T | None],
        send: Callable[[T, float], Awaitable[None]],
        pacer: Pacer,
        leave_out: Callable[[float], None] | None = None,
    ) -> None:
        self._name = name
        self._read: Callable[[], T | None] = read
        self._send: Callable[[T, float], Awaitable[None]] = send
        self._pacer = pacer
        self._leave_out = leave_out
        self._stopping = asyncio.Event()
        self._reader: Reader[T] | None = None
        self._late_before = 0
        self._late_told_at = -math.inf
        self.muted = False

    @property
    def dropped_late(self) -> int:
        """Items that came too late to be sent."""
        return self._pacer.dropped_late

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._stopping.is_set()

    async def run(self) -> bool:
        """Until the source ends (True) or `stop` (False). Raises SourceUnreadable."""
        self._reader = reader = Reader(self._read, name=self._name)
        try:
            while not self._stopping.is_set():
                item = await reader.read()
                if item is None:
                    break
                await self._deliver(item)
        finally:
            reader.close()
        self._tell_late(0.0)
        return not self._stopping.is_set()

    def stop(self) -> None:
        """Send nothing more; `run` returns at once, though a read may be in progress."""
        self._stopping.set()
        if self._reader:
            self._reader.close()

    async def _deliver(self, item: T) -> None:
        while not self._stopping.is_set():
            match self._pacer.decide(item.pts_s, asyncio.get_running_loop().time()):
                case Wait(delay_s=delay_s):
                    await self._stopped_within(delay_s)
                case Send(capture_time=capture_time, leave_out_before_s=pts_s):
                    if not self.muted:
                        await self._send(item, capture_time)
                    await self._after(pts_s)
                    return
                case Drop(leave_out_before_s=pts_s):
                    await self._after(pts_s)
                    return

    async def _after(self, leave_out_before_s: float | None) -> None:
        self._tell_late(LATE_LINE_S)
        if leave_out_before_s is not None and self._leave_out:
            await asyncio.to_thread(self._leave_out, leave_out_before_s)
            self._pacer.left_out(asyncio.get_running_loop().time())

    async def _stopped_within(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _tell_late(self, quiet_s: float) -> None:
        """A line for what came too late since the last one, `quiet_s` after that at the earliest."""
        now = asyncio.get_running_loop().time()
        late = self._pacer.dropped_late - self._late_before
        if late > 0 and now - self._late_told_at >= quiet_s:
            self._late_before, self._late_told_at = self._pacer.dropped_late, now
            log.warning("source_late", track=self._name, dropped=late, dropped_in_all=self._late_before)


class PumpedFeed(Generic[T]):
    """A feed of one track (`feeding.Feed`) that is a pump and no more."""

    def __init__(self, pump: Pump[T]) -> None:
        self._pump: Pump[T] = pump

    async def run(self) -> bool:
        """See Feed."""
        return await self._pump.run()

    def stop(self) -> None:
        """See Feed."""
        self._pump.stop()

    def set_muted(self, *, muted: bool) -> None:
        """See Feed."""
        self._pump.muted = muted

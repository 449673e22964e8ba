"""Moving one track's media from a source to the SDK, on time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

from media.sources.pacer import Drop, Pacer, Send, Wait
from media.sources.source import AccessUnit, DecodedAudio, DecodedVideoFrame

log = structlog.get_logger(__name__)

T = TypeVar("T", DecodedVideoFrame, DecodedAudio, AccessUnit)


class Pump(Generic[T]):
    """Reads (in a thread), waits until an item is due, sends it. While muted, items pass unsent."""

    def __init__(
        self,
        *,
        name: str,
        read: Callable[[], T | None],
        send: Callable[[T, float], Awaitable[None]],
        pacer: Pacer,
    ) -> None:
        self._name = name
        self._read: Callable[[], T | None] = read
        self._send: Callable[[T, float], Awaitable[None]] = send
        self._pacer = pacer
        self._stopping = asyncio.Event()
        self._late_before = 0
        self.muted = False

    @property
    def dropped_late(self) -> int:
        """Items that came too late to be sent."""
        return self._pacer.dropped_late

    async def run(self) -> bool:
        """Until the source ends (True) or `stop` (False). Raises SourceUnreadable."""
        while not self._stopping.is_set():
            item = await asyncio.to_thread(self._read)
            if item is None:
                return not self._stopping.is_set()
            await self._deliver(item)
        return False

    def stop(self) -> None:
        """Send nothing more; `run` returns within one frame."""
        self._stopping.set()

    async def _deliver(self, item: T) -> None:
        while not self._stopping.is_set():
            match self._pacer.decide(item.pts_s, asyncio.get_running_loop().time()):
                case Wait(delay_s=delay_s):
                    await self._stopped_within(delay_s)
                case Send(capture_time=capture_time):
                    self._report_late()
                    if not self.muted:
                        await self._send(item, capture_time)
                    return
                case Drop():
                    return

    async def _stopped_within(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _report_late(self) -> None:
        """One line for each run of late items, when it is over."""
        if (late := self._pacer.dropped_late - self._late_before) > 0:
            self._late_before = self._pacer.dropped_late
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

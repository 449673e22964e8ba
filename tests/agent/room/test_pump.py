"""The pump: on time, whole, muted, and gone at once when stopped."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from agent.room.pump import Pump
from media.errors import SourceUnreadable
from media.sources.pacer import Pacer
from media.sources.source import DecodedAudio


def chunk(number: int) -> DecodedAudio:
    return DecodedAudio(48_000, 1, 960, bytes(1920), number * 0.02)


class Chunks:
    """A source of `count` chunks that remembers what was sent of it."""

    def __init__(self, count: int) -> None:
        self._left = [chunk(number) for number in range(count)]
        self.sent: list[DecodedAudio] = []

    def read(self) -> DecodedAudio | None:
        return self._left.pop(0) if self._left else None

    async def send(self, item: DecodedAudio, _capture_time: float) -> None:
        self.sent.append(item)

    def pump(self, late_limit_s: float = 10.0) -> Pump[DecodedAudio]:
        start = asyncio.get_running_loop().time()
        return Pump(name="sound", read=self.read, send=self.send, pacer=Pacer(start=start, late_limit_s=late_limit_s))


async def test_everything_is_sent_in_order_and_not_before_it_is_due() -> None:
    chunks = Chunks(8)
    pump = chunks.pump()
    before = asyncio.get_running_loop().time()
    assert await pump.run()
    assert [item.pts_s for item in chunks.sent] == [chunk(number).pts_s for number in range(8)]
    assert asyncio.get_running_loop().time() - before >= 0.14
    assert pump.dropped_late == 0


async def test_stop_ends_it_though_nothing_is_due() -> None:
    chunks = Chunks(3)
    pacer = Pacer(start=asyncio.get_running_loop().time() + 1000)
    pump = Pump(name="sound", read=chunks.read, send=chunks.send, pacer=pacer)
    running = asyncio.create_task(pump.run())
    await asyncio.sleep(0.05)
    pump.stop()
    async with asyncio.timeout(2):
        assert not await running
    assert chunks.sent == []


async def test_muted_items_pass_unsent() -> None:
    chunks = Chunks(6)
    pump = chunks.pump()
    pump.muted = True
    assert await pump.run()
    assert chunks.sent == []


async def test_late_items_are_dropped_and_counted() -> None:
    chunks = Chunks(5)
    pacer = Pacer(start=asyncio.get_running_loop().time() - 100, late_limit_s=0.02)
    pump = Pump(name="sound", read=chunks.read, send=chunks.send, pacer=pacer)
    assert await pump.run()
    assert chunks.sent == []
    assert pump.dropped_late == 5


async def test_what_is_late_again_and_again_is_told_at_first_and_then_all_together() -> None:
    chunks = Chunks(40)

    def read() -> DecodedAudio | None:
        item = chunks.read()
        if item and item.pts_s in {chunk(number).pts_s for number in (5, 15, 25)}:
            time.sleep(0.1)  # three chunks are late then
        return item

    pacer = Pacer(start=asyncio.get_running_loop().time(), late_limit_s=0.02)
    pump = Pump(name="sound", read=read, send=chunks.send, pacer=pacer)
    with capture_logs() as lines:
        assert await pump.run()
    first, rest = [line for line in lines if line["event"] == "source_late"]
    assert 0 < first["dropped"] < rest["dropped"]
    assert first["dropped"] + rest["dropped"] == rest["dropped_in_all"] == pump.dropped_late


async def test_a_source_that_fails_says_so() -> None:
    def read() -> DecodedAudio | None:
        raise SourceUnreadable("clip.mp4 is damaged")

    chunks = Chunks(0)
    pump = Pump(name="sound", read=read, send=chunks.send, pacer=Pacer(start=0.0))
    with pytest.raises(SourceUnreadable, match="damaged"):
        await pump.run()

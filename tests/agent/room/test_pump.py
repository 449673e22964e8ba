"""The pump: on time, whole, muted, and gone at once when stopped."""

import asyncio
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from livekit import rtc
from structlog.testing import capture_logs

from agent.room import pump as module
from agent.room.feeding import VideoFeed
from agent.room.publish_options import PublishOptions, plan_video
from agent.room.pump import Pump
from media.errors import SourceUnreadable
from media.sources.pacer import Pacer
from media.sources.pattern import PatternSource, read_frame_number
from media.sources.source import DecodedAudio, DecodedVideoFrame, VideoFormat


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


async def test_what_is_late_for_good_is_told_while_it_is_and_left_out_where_the_source_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LATE_LINE_S", 0.1)
    left_out: list[float] = []
    number = 0

    def read() -> DecodedAudio | None:
        nonlocal number
        time.sleep(0.03)  # for 20 ms
        number += 1
        return chunk(number - 1)

    def leave_out(before_s: float) -> None:
        nonlocal number
        left_out.append(before_s)
        number = max(number, round(before_s / 0.02))

    sent: list[float] = []
    loop = asyncio.get_running_loop()
    start = loop.time() - 1.0  # so late from the beginning

    async def send(item: DecodedAudio, capture_time: float) -> None:
        sent.append(capture_time - start - item.pts_s)

    for can_leave_out in (False, True):
        start, number = loop.time() - 1.0, 0
        sent.clear()
        pacer = Pacer(start=start, late_limit_s=0.02, late_every_s=0.1)
        pump = Pump(name="camera", read=read, send=send, pacer=pacer, leave_out=leave_out if can_leave_out else None)
        with capture_logs() as lines:
            running = asyncio.create_task(pump.run())
            await asyncio.sleep(0.7)
            assert [line for line in lines if line["event"] == "source_late"], "told while it goes on"
            pump.stop()
            await running
        assert len(sent) >= 3
        on_time = [late_s for late_s in sent if late_s < 0.01]
        assert bool(on_time) == bool(left_out) == can_leave_out


class Slow(PatternSource):
    """The pattern on a machine that draws 16 pictures of its 25 a second."""

    def read_video(self) -> DecodedVideoFrame | None:
        time.sleep(0.06)
        return super().read_video()


async def test_a_video_that_is_drawn_too_slowly_is_seen_in_time_with_its_sound() -> None:
    captured: list[tuple[int | None, float]] = []

    def capture_frame(picture: rtc.VideoFrame, *, timestamp_us: int) -> None:
        luma = np.frombuffer(picture.data, np.uint8)[: 320 * 180].reshape(180, 320)
        captured.append((read_frame_number(luma), timestamp_us / 1e6 - start))

    source = Slow(VideoFormat(320, 180, 25.0), None)
    start = asyncio.get_running_loop().time()
    native = cast("rtc.VideoSource", SimpleNamespace(capture_frame=capture_frame))
    feed = VideoFeed(plan_video(PublishOptions(), 320, 180, 25.0), source, native, start=start)
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(2.0)
    feed.stop()
    await running
    assert len(captured) >= 10
    assert all(number is not None and abs(number / 25 - at_s) < 0.5 for number, at_s in captured)


async def test_a_source_that_fails_says_so() -> None:
    def read() -> DecodedAudio | None:
        raise SourceUnreadable("clip.mp4 is damaged")

    chunks = Chunks(0)
    pump = Pump(name="sound", read=read, send=chunks.send, pacer=Pacer(start=0.0))
    with pytest.raises(SourceUnreadable, match="damaged"):
        await pump.run()


async def test_stop_ends_it_though_its_source_gives_nothing() -> None:
    given = threading.Event()

    def read() -> DecodedAudio | None:
        given.wait(30)
        return chunk(0)

    chunks = Chunks(0)
    pump = Pump(name="sound", read=read, send=chunks.send, pacer=Pacer(start=0.0))
    running = asyncio.create_task(pump.run())
    await asyncio.sleep(0.05)
    pump.stop()
    async with asyncio.timeout(5):
        assert not await running
    given.set()
    await asyncio.sleep(0.05)
    assert chunks.sent == []


async def test_sources_that_wait_keep_no_others_from_being_read() -> None:
    given = threading.Event()

    def wait() -> DecodedAudio | None:
        given.wait(30)
        return None

    chunks = Chunks(3)
    pumps = [Pump(name="idle", read=wait, send=chunks.send, pacer=Pacer(start=0.0)) for _ in range(40)]
    idle = [asyncio.create_task(pump.run()) for pump in pumps]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        assert await chunks.pump().run()
        await asyncio.to_thread(lambda: None)
    assert len(chunks.sent) == 3
    given.set()
    assert all(await asyncio.gather(*idle))


async def test_a_read_that_raises_stop_iteration_is_an_error_and_no_standstill() -> None:
    pump = Pump(name="sound", read=partial(next, iter(())), send=Chunks(0).send, pacer=Pacer(start=0.0))
    with pytest.raises(RuntimeError, match="returns None"):
        await pump.run()

"""A live source under threads and event loops: who waits, who is woken, who is told."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agent.errors import InvalidSettings
from agent.room import live_source
from agent.room.live_source import LiveSource
from agent.room.sources import to_source
from media.sources.source import AudioFormat, DecodedAudio, Source, VideoFormat

RATE = 8_000
AUDIO, VIDEO = AudioFormat(RATE), VideoFormat(16, 16, 10)
LONG = np.ones(3 * RATE, np.int16)
PICTURE = np.zeros((24, 16), np.uint8)


def both() -> LiveSource:
    return LiveSource(video=VIDEO, audio=AUDIO)


async def read_sound(source: LiveSource, count: int) -> list[int]:
    """As a publisher reads it, but not waiting for its time: the values that are no silence."""
    values: list[int] = []
    while len(values) < count:
        chunk = await asyncio.to_thread(source.read_audio)
        assert isinstance(chunk, DecodedAudio)
        values += [int(value) for value in np.frombuffer(chunk.data, np.int16) if value]
    return values


async def test_who_pushes_waits_for_room_and_loses_nothing() -> None:
    source = both()
    pushing = asyncio.create_task(source.push_audio(np.arange(1, 3 * RATE + 1).astype(np.int16)))
    await asyncio.sleep(0.05)
    assert not pushing.done()
    assert await read_sound(source, 3 * RATE) == list(range(1, 3 * RATE + 1))
    assert await pushing


async def test_two_who_push_at_once_are_heard_one_after_the_other() -> None:
    source = both()
    tasks = [asyncio.create_task(source.push_audio(LONG * (number + 1))) for number in range(2)]
    heard = await read_sound(source, 2 * len(LONG))
    assert heard == sorted(heard)
    assert await asyncio.gather(*tasks) == [True, True]


async def test_who_gives_up_waiting_is_in_nobodys_way() -> None:
    source = both()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await source.push_audio(LONG)
    other = asyncio.create_task(source.push_audio(np.full(RATE, 2, np.int16)))
    heard = await read_sound(source, 2 * RATE)
    assert (heard[0], heard[-1]) == (1, 2)
    assert await other


async def test_from_another_loop_in_another_thread() -> None:
    source = both()
    with ThreadPoolExecutor() as pool:
        pushing = pool.submit(lambda: asyncio.run(_push_and_drain(source)))
        assert len(await read_sound(source, len(LONG))) == len(LONG)
        assert await asyncio.wrap_future(pushing)


async def _push_and_drain(source: LiveSource) -> bool:
    pushed = await source.push_audio(LONG)
    await source.drain()
    return pushed


@pytest.mark.parametrize("ending", [LiveSource.clear, LiveSource.end, LiveSource.close])
async def test_clear_end_and_close_let_go_who_waits(ending: Callable[[LiveSource], None]) -> None:
    source = both()
    pushing = asyncio.create_task(source.push_audio(LONG))
    draining = asyncio.create_task(source.drain())
    await asyncio.sleep(0.05)
    ending(source)
    assert not await pushing
    if ending is LiveSource.end:  # what is queued is still heard
        await read_sound(source, RATE)
        assert source.read_audio() is None
    await draining


async def test_who_pushes_sound_that_nobody_plays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_source, "UNPLAYED_S", 0.05)
    source = both()
    pushing = asyncio.create_task(source.push_audio(LONG))
    await asyncio.sleep(0.2)
    assert not pushing.done(), "it is not published yet"
    source.push_video(PICTURE)
    source.read_video()  # the picture is
    async with asyncio.timeout(5):
        assert not await pushing


async def test_close_ends_reads_that_wait_in_threads() -> None:
    source = both()
    reading = [asyncio.create_task(asyncio.to_thread(source.read_video)) for _ in range(2)]
    await asyncio.sleep(0.05)
    source.close()
    source.close()
    assert await asyncio.gather(*reading) == [None, None]
    assert source.read_audio() is None
    assert not source.push_video(PICTURE)


async def test_at_its_end_the_picture_stays_as_long_as_the_sound() -> None:
    source = both()
    source.push_video(PICTURE)
    assert source.read_audio() is not None
    await source.push_audio(np.ones(RATE // 4, np.int16))
    source.end()
    assert source.read_video() is not None
    waiting = asyncio.create_task(asyncio.to_thread(source.read_video))
    assert await waiting is not None, "the last one again"
    await read_sound(source, RATE // 4)
    assert source.read_audio() is None
    assert source.read_video() is None


async def test_a_picture_waits_for_its_sound() -> None:
    source = both()
    await source.push_audio(np.ones(RATE // 10, np.int16))
    assert source.push_video(PICTURE, with_sound=True)
    await source.push_audio(np.full(RATE // 10, 2, np.int16))
    reading = asyncio.create_task(asyncio.to_thread(source.read_video))
    chunks = [source.read_audio() for _ in range(4)]
    await asyncio.sleep(0.05)
    assert not reading.done()
    chunks.append(source.read_audio())
    shown = await reading
    assert shown is not None
    last = chunks[-1]
    assert last is not None
    assert shown.pts_s == pytest.approx(last.pts_s + 0.02)


async def test_pushes_into_an_ended_source_take_their_time() -> None:
    source = both()
    source.end()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    assert not await source.push_audio(np.ones(80, np.int16))
    ticking.cancel()
    assert ticks > 0, "the event loop went on meanwhile"


async def test_pictures_from_many_threads_are_shown_whole() -> None:
    source = LiveSource(video=VideoFormat(16, 16, 100))

    def push(number: int) -> None:
        for _ in range(50):
            source.push_video(np.full((24, 16), number, np.uint8))

    threads = [threading.Thread(target=push, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        frame = await asyncio.to_thread(source.read_video)
        assert frame is not None
        assert len(set(frame.data)) == 1
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "wrong",
    [
        LiveSource,
        lambda: LiveSource(video=VideoFormat(15, 16, 10)),
        lambda: LiveSource(audio=AudioFormat(22_050)),
        lambda: LiveSource(audio=AUDIO).push_video(PICTURE),
        lambda: LiveSource(video=VIDEO).push_video(PICTURE, with_sound=True),
        lambda: both().push_video(PICTURE[:, :8]),
    ],
)
def test_what_it_cannot_do_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(InvalidSettings):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LiveSource(video=VIDEO).push_audio(LONG),
        lambda: both().push_audio(LONG.astype(np.float32)),
        lambda: to_source(3, loop=False, pre_encoded=False),  # type: ignore[arg-type]  # what is tested
        lambda: to_source(both(), loop=False, pre_encoded=True),
    ],
)
async def test_what_cannot_be_sent_is_refused(wrong: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(InvalidSettings):
        await wrong()


async def test_it_is_taken_as_it_is_until_it_has_ended() -> None:
    source = both()
    assert isinstance(source, Source)
    assert await to_source(source, loop=True, pre_encoded=False) is source
    source.end()
    with pytest.raises(InvalidSettings, match="ended"):
        await to_source(source, loop=False, pre_encoded=False)

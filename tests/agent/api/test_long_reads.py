"""Long reads: few at a time, none that somebody gave up counts for good, and nothing else waits for them."""

import asyncio
import threading

import pytest

from agent.api.errors import ServiceUnavailable
from agent.api.long_reads import AT_ONCE, MOST_ASKED, LongReads


async def test_few_are_read_at_once_and_the_others_wait_their_turn() -> None:
    reads, go_on = LongReads(), threading.Event()
    under_way: list[int] = []

    def read(number: int) -> int:
        under_way.append(number)
        go_on.wait(10)
        return number

    def asked(number: int) -> asyncio.Task[int]:
        return asyncio.ensure_future(reads.run(lambda: read(number)))

    answers = [asked(number) for number in range(MOST_ASKED)]
    await asyncio.sleep(0.1)
    assert under_way == list(range(AT_ONCE))
    with pytest.raises(ServiceUnavailable):
        await reads.run(lambda: None)
    assert await asyncio.to_thread(lambda: "at once") == "at once"
    answers[0].cancel()  # who gave up has its thread go on
    answers[-1].cancel()
    await asyncio.sleep(0.05)
    assert len(under_way) == AT_ONCE
    go_on.set()
    done = await asyncio.gather(*answers, return_exceptions=True)
    assert done[1:-1] == list(range(1, MOST_ASKED - 1))
    assert await reads.run(lambda: "again") == "again"


async def test_what_a_read_raises_is_raised_where_it_is_awaited() -> None:
    reads = LongReads()

    def read() -> None:
        raise ValueError("odd")

    for _ in range(MOST_ASKED + 1):
        with pytest.raises(ValueError, match="odd"):
            await reads.run(read)

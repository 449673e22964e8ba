"""What must not be cut off is not, and who cancelled still learns of it."""

import asyncio

import pytest

from agent.room.uninterrupted import uninterrupted


async def test_the_result_comes_through() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await uninterrupted(work(), name="work") == 7


async def test_cancelled_twice_it_still_ends_and_then_cancels() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.set()

    caller = asyncio.create_task(uninterrupted(work(), name="work"))
    for _ in range(2):
        await asyncio.sleep(0.005)
        caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done.is_set()


async def test_its_own_error_wins() -> None:
    async def work() -> None:
        await asyncio.sleep(0.02)
        raise ValueError("broken")

    caller = asyncio.create_task(uninterrupted(work(), name="work"))
    await asyncio.sleep(0.005)
    caller.cancel()
    with pytest.raises(ValueError, match="broken"):
        await caller

"""Leaving a room, whatever happens on the way."""

import asyncio
from typing import Any, cast

import pytest

from agent.room.session import RoomSession
from agent.room.state import ConnectionState


class SdkRoom:
    """What a session leaves: a room of the SDK whose task somebody may have cancelled."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.fault = fault
        self.left = False

    async def disconnect(self) -> None:
        self.left = True
        if self.fault is not None:
            raise self.fault


def joined(room: SdkRoom) -> RoomSession:
    session = RoomSession("ws://127.0.0.1:1", "token")
    session._room = cast("Any", room)
    session._state = ConnectionState.CONNECTED
    session._ended = asyncio.get_running_loop().create_future()
    return session


@pytest.mark.parametrize("fault", [ValueError("broken"), asyncio.CancelledError()], ids=["error", "cancelled"])
async def test_each_step_of_leaving_is_done_whatever_another_raises(fault: BaseException) -> None:
    room = SdkRoom(fault)
    session = joined(room)
    done: list[str] = []

    async def last() -> None:
        done.append("last")

    async def first() -> None:
        done.append("first")
        raise fault

    session.before_leaving("last", last)
    session.before_leaving("first", first)
    await session.aclose()
    assert done == ["first", "last"]
    assert room.left
    assert session.connection is ConnectionState.DISCONNECTED
    assert (await session.wait_ended()).reason == "client_initiated"


async def test_leaving_that_is_cancelled_itself_ends() -> None:
    session = joined(SdkRoom())
    reached = asyncio.Event()

    async def hangs() -> None:
        reached.set()
        await asyncio.sleep(30)

    session.before_leaving("hangs", hangs)
    leaving = asyncio.create_task(session._leave())
    await reached.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

"""Leaving a room whatever happens on the way, and changing what it is told of us."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.errors import ConnectionLost, InvalidSettings
from agent.room import own_changes
from agent.room.session import RoomSession
from agent.room.state import ConnectionState


class LocalParticipant:
    """Ours, as the SDK shows it. `told`: a server takes what is changed. `returns_after_s`: when the SDK says so."""

    def __init__(self) -> None:
        self.permissions = SimpleNamespace(
            can_subscribe=True,
            can_publish=True,
            can_publish_data=True,
            can_update_metadata=True,
            hidden=False,
            can_publish_sources=(),
        )
        self.name, self.metadata, self.attributes = "", "", {"mood": "good"}
        self.told, self.returns_after_s = True, 0.0

    async def _change(self, take: Callable[[], None]) -> None:
        if self.told:
            asyncio.get_running_loop().call_later(0.01, take)
        await asyncio.sleep(self.returns_after_s)

    async def set_metadata(self, metadata: str) -> None:
        await self._change(lambda: setattr(self, "metadata", metadata))

    async def set_name(self, name: str) -> None:
        await self._change(lambda: setattr(self, "name", name))

    async def set_attributes(self, changes: dict[str, str]) -> None:
        after = {key: value for key, value in {**self.attributes, **changes}.items() if value}
        await self._change(lambda: setattr(self, "attributes", after))


class SdkRoom:
    """What a session leaves: a room of the SDK whose task somebody may have cancelled."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.fault = fault
        self.left = False
        self.local_participant = LocalParticipant()

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


CHANGES: list[Callable[[RoomSession], Any]] = [
    lambda session: session.set_metadata("new"),
    lambda session: session.set_name("new"),
    lambda session: session.set_attributes({"mood": "", "new": "yes"}),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_there_when_it_returns(change: Callable[[RoomSession], Any]) -> None:
    room = SdkRoom()
    room.local_participant.returns_after_s = 30  # as long as the SDK's own wait, where an attribute is removed
    session = joined(room)
    async with asyncio.timeout(2):
        await change(session)
    about = room.local_participant
    assert "new" in {about.name, about.metadata, *about.attributes}
    await session.aclose()


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_no_server_confirms_is_told(
    change: Callable[[RoomSession], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_changes, "TOLD_AFTER_S", 0.1)
    room = SdkRoom()
    room.local_participant.told = False
    session = joined(room)
    with pytest.raises(ConnectionLost, match="did not confirm"):
        await change(session)
    session._state = ConnectionState.RECONNECTING
    with pytest.raises(ConnectionLost, match="being restored"):
        await change(session)
    session._state = ConnectionState.DISCONNECTED
    with pytest.raises(ConnectionLost, match="not in the room"):
        await change(session)


async def test_changes_at_once_are_made_one_after_the_other() -> None:
    room = SdkRoom()
    session = joined(room)
    await asyncio.gather(*(session.set_metadata(str(number)) for number in range(4)))
    assert room.local_participant.metadata == "3"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda session: session.set_name("\xe9" * 200), "the name has 400 bytes"),
        (lambda session: session.set_metadata("\ud800"), "the metadata has half a character"),
        (lambda session: session.set_attributes({"a": 1}), "attribute 'a' is int"),
    ],
)
async def test_a_change_that_cannot_be_is_refused(change: Callable[[RoomSession], Any], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        await change(joined(SdkRoom()))


async def test_what_no_server_empties_is_refused() -> None:
    session = joined(SdkRoom())
    for change, what in ((session.set_metadata, "metadata"), (session.set_name, "name")):
        await change("")
        await change("new")
        with pytest.raises(InvalidSettings, match=f"empty our {what}"):
            await change("")

"""A connection of the SDK's that is resumed on a media path that does not answer: nothing is sent into the void."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit.rtc import SimulateScenarioKind

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.errors import ConnectionLost
from agent.room.events import ConnectionStateChanged, TextReceived
from agent.room.state import ConnectionState
from tests.faults.faulty_network import FaultyNetwork, faulty_network
from tests.integration.participants import room_name
from tests.integration.publishing import eventually

pytestmark = [pytest.mark.server, pytest.mark.faults]


class Talk:
    """A speaker behind a network that can be blocked, and what another heard of it."""

    def __init__(self, speaker: RoomAgent, network: FaultyNetwork) -> None:
        self.speaker = speaker
        self.network = network
        self.states: list[ConnectionState] = []
        self.sent: list[str] = []
        self.heard: list[str] = []

    async def says(self, count: int) -> None:
        """Texts, ten a second, each noted once `send_text` has returned."""
        for number in range(len(self.sent), len(self.sent) + count):
            await self.speaker.send_text(str(number))
            self.sent.append(str(number))
            await asyncio.sleep(0.1)

    async def resumes_blocked(self) -> None:
        """Lose the signalling, and the media path with it."""
        self.network.block_media(True)
        await self.speaker._session.simulate(SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
        await eventually(lambda: self.states[-1:] == [ConnectionState.RECONNECTING] or None)

    async def is_back(self) -> None:
        await eventually(lambda: self.states[-1:] == [ConnectionState.CONNECTED] or None, timeout_s=40)


@asynccontextmanager
async def talk(server: Credentials) -> AsyncIterator[Talk]:
    room, settings = room_name(), load_settings()
    async with faulty_network(server, relay_sdk=True) as network:
        speaker = RoomAgent(network.credentials, RoomRequest(room=room, identity="speaker"), settings)
        listener = RoomAgent(server, RoomRequest(room=room, identity="listener"), settings)
        made = Talk(speaker, network)
        async with speaker, listener:
            speaker.add_listener(
                lambda event: made.states.append(event.state) if isinstance(event, ConnectionStateChanged) else None
            )
            listener.add_listener(
                lambda event: made.heard.append(event.text) if isinstance(event, TextReceived) else None
            )
            await eventually(lambda: speaker.state().participants or None)
            await made.says(3)
            await eventually(lambda: made.heard == made.sent or None)
            assert network.carried
            yield made


@pytest.mark.parametrize("blocked_s", [8, 25])
async def test_what_is_sent_on_a_path_that_is_dead_after_a_resume_waits_for_one_that_is_not(
    livekit_server: Credentials, blocked_s: float
) -> None:
    async with talk(livekit_server) as spoken:
        speaker = spoken.speaker
        await spoken.resumes_blocked()
        speaking = asyncio.create_task(spoken.says(30))
        # The SDK says after some 3 s that it is back; the server gives the path up some 12 s later.
        await asyncio.sleep(blocked_s)
        assert spoken.states == [ConnectionState.RECONNECTING]
        assert len(spoken.sent) == 3
        with pytest.raises(ConnectionLost):
            await speaker.perform_rpc("listener", "echo", "")
        spoken.network.block_media(False)
        await spoken.is_back()
        await speaking
        await eventually(lambda: len(spoken.heard) == 33 or None)
        assert spoken.heard == spoken.sent
        assert spoken.states == [ConnectionState.RECONNECTING, ConnectionState.CONNECTED]


async def test_a_resumed_connection_whose_path_answers_sends_at_once(livekit_server: Credentials) -> None:
    async with talk(livekit_server) as spoken:
        for _ in range(3):
            await spoken.speaker._session.simulate(SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT)
            await eventually(lambda: spoken.states[-1:] == [ConnectionState.RECONNECTING] or None)
            await spoken.is_back()
            await spoken.says(5)
            await eventually(lambda: spoken.heard == spoken.sent or None)

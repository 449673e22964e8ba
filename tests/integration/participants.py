"""Participants made of agent/room alone, and what a test asks of them."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from agent.credentials import Credentials
from agent.room.consumer import ReceivedAudio, ReceivedVideoFrame
from agent.room.data import DataPublisher
from agent.room.events import RoomEvent
from agent.room.publisher import Publisher
from agent.room.session import RoomSession, SessionOptions
from agent.room.state import TrackState
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscribeAction, SubscriptionPolicy
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.sources.pattern import read_frame_number
from quality.stats import InboundRtp, TrackSnapshot
from tests.integration.publishing import eventually

E = TypeVar("E")

NOTHING = SubscriptionPolicy(default=SubscribeAction.IGNORE)


def room_name() -> str:
    """A name that no other test uses."""
    return f"room-{uuid.uuid4().hex[:12]}"


@dataclass
class Person:
    """A session with all its parts, and everything it was told."""

    session: RoomSession
    publisher: Publisher
    subscriber: Subscriber
    data: DataPublisher
    told: list[RoomEvent] = field(default_factory=list)

    def of(self, kind: type[E]) -> list[E]:
        """The events of that kind so far."""
        return [event for event in self.told if isinstance(event, kind)]

    async def hears(self, kind: type[E], which: Callable[[E], bool] = lambda _: True, *, timeout_s: float = 15) -> E:
        """The first event of that kind that `which` accepts, told already or soon."""
        return await eventually(
            lambda: next((event for event in self.of(kind) if which(event)), None), timeout_s=timeout_s
        )

    async def sees(self, name: str, identity: str, *, timeout_s: float = 15) -> TrackState:
        """The remote track of that name, once its media come."""

        def subscribed() -> TrackState | None:
            if self.session.connection != "connected":
                return None
            tracks = self.subscriber.subscribed()
            return next((t for t in tracks if (t.name, t.participant_identity) == (name, identity)), None)

        return await eventually(subscribed, timeout_s=timeout_s)


class Pictures:
    """A frame callback that reads the pattern's frame numbers."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.numbers: list[int | None] = []

    def __call__(self, frame: ReceivedVideoFrame | ReceivedAudio) -> None:
        assert isinstance(frame, ReceivedVideoFrame)
        luma = np.frombuffer(frame.data, np.uint8)[: frame.width * frame.height].reshape(frame.height, frame.width)
        self.sizes.append((frame.width, frame.height))
        self.numbers.append(read_frame_number(luma))

    async def more(self, count: int, *, timeout_s: float = 15) -> None:
        """Until `count` more pictures came."""
        wanted = len(self.sizes) + count
        await eventually(lambda: True if len(self.sizes) >= wanted else None, timeout_s=timeout_s)

    async def of_size(self, width: int, height: int, *, count: int = 5, timeout_s: float = 40) -> None:
        """Until the last `count` pictures all have that size.

        A layer that was gone for a moment counts as alive for the server only after 10 s of good cycles.
        """
        wanted = [(width, height)] * count
        await eventually(lambda: True if self.sizes[-count:] == wanted else None, timeout_s=timeout_s)


@asynccontextmanager
async def person(
    server: Credentials,
    room: str,
    identity: str,
    *,
    policy: SubscriptionPolicy | None = None,
    options: SessionOptions | None = None,
    **token: Any,
) -> AsyncIterator[Person]:
    """Joined at the start, gone at the end."""
    request = ParticipantTokenRequest(room, identity, **token)
    session = RoomSession(server.url, mint_participant_token(server, request), options)
    someone = Person(session, Publisher(session), Subscriber(session, policy), DataPublisher(session))
    session.add_listener(someone.told.append)
    try:
        await session.connect()
        yield someone
    finally:
        await session.aclose()


def one_second_later(snapshot: TrackSnapshot, *, freeze_count: int) -> TrackSnapshot:
    """A received video after one more second, half of which it stood."""
    stats = snapshot.stats
    assert isinstance(stats, InboundRtp)
    return replace(
        snapshot,
        timestamp=snapshot.timestamp + 1.0,
        stats=replace(
            stats,
            packets_received=stats.packets_received + 100,
            bytes_received=stats.bytes_received + 100_000,
            frames_decoded=(stats.frames_decoded or 0) + 12,
            freeze_count=freeze_count,
            total_freezes_duration=stats.total_freezes_duration + 0.5,
        ),
    )

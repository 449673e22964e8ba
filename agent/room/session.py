"""One participant's stay in a room: joining, what the room tells, leaving in order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import structlog
from livekit import rtc

from agent.errors import ConnectionLost, InvalidSettings, TrackNotFound
from agent.listeners import listen, tell_all
from agent.room import convert, wiring
from agent.room.data_limits import TEXT_TOPICS
from agent.room.encryption import RoomEncryption
from agent.room.events import ConnectionStateChanged, Disconnected, ParticipantConnected, RoomEvent
from agent.room.incoming import IncomingData
from agent.room.media_path import MediaPath
from agent.room.metadata import (
    JsonValue,
    check_attributes,
    check_metadata,
    encode_track_metadata,
    track_attribute,
)
from agent.room.own_changes import changed
from agent.room.permissions import Permissions
from agent.room.probe import check_admission
from agent.room.state import ConnectionState, ParticipantState, TrackState
from agent.room.uninterrupted import finish, uninterrupted
from agent.room.wire_text import wire_bytes
from agent.tasks import Tasks, asked_to_end
from media.clock import SteadyClock

log = structlog.get_logger(__name__)

Listener = Callable[[RoomEvent], None]
Step = Callable[[], Awaitable[None]]

# Sources, publications and room share the 5 s that a service manager's SIGTERM leaves.
STEP_TIMEOUT_S = 2.0
DISCONNECT_TIMEOUT_S = 2.0
# The native layer's tasks end shortly after a disconnect. A process that exits sooner, within a moment of
# having subscribed, was aborted in 11 of 120 runs without this wait and in none of 120 with one.
NATIVE_SETTLE_S = 0.2
MAX_NAME_BYTES = 256  # livekit-server's, once we are in the room
# The SDK says "disconnected" right after its state changes; where it does not, we do.
DISCONNECTED_GRACE_S = 1.0
_BACK = (ConnectionState.RECONNECTING, ConnectionState.CONNECTED)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How to be in the room.

    `dynacast` has layers that nobody watches not encoded. `text_topics` are the topics whose text streams
    are read (LiveKit's chat and live transcriptions by default). `data_tracks` are glob patterns over the
    names of data tracks to read. `encryption` encrypts what is published and decrypts what comes.
    """

    dynacast: bool = True
    text_topics: tuple[str, ...] = TEXT_TOPICS
    data_tracks: tuple[str, ...] = ()
    encryption: RoomEncryption | None = None


class RoomSession:
    """Joins once, tells listeners what happens, leaves once.

    Nothing is subscribed by itself: that is the Subscriber's. Use one session per process and room:
    the native layer keeps memory of each, and its crash ends the process.
    """

    def __init__(
        self, url: str, token: str, options: SessionOptions | None = None, *, clock: SteadyClock | None = None
    ) -> None:
        self._url = url
        self._token = token
        self._options = options or SessionOptions()
        self._encryption = self._options.encryption
        self._clock = clock or SteadyClock()
        self._tasks = Tasks("session")
        self._listeners: list[Listener] = []
        self._leaving_steps: list[tuple[str, Step]] = []
        self._room: rtc.Room | None = None
        self._incoming: IncomingData | None = None
        self._path: MediaPath | None = None
        self._state = ConnectionState.DISCONNECTED
        self._restored = asyncio.Event()  # not set while the connection is being restored
        self._restored.set()
        self._changes = asyncio.Lock()  # of ours: each is told from what was before
        self._ended: asyncio.Future[Disconnected] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def connection(self) -> ConnectionState:
        """Where the connection stands; after a loss `connected` again once the server answers on the media path."""
        return self._state

    async def restored(self) -> None:
        """Until the connection is not being restored: it stands, or the room is over."""
        await self._restored.wait()

    @property
    def decrypts(self) -> bool:
        """Whether what comes with end-to-end encryption is decrypted: there were keys when we joined."""
        return self._encryption is not None and self._encryption.participant_decrypts

    @property
    def sdk_room(self) -> rtc.Room:
        """The SDK's room, for this package only; ConnectionLost before joining and after the end."""
        if self._room is None or self._state in {ConnectionState.CONNECTING, ConnectionState.DISCONNECTED}:
            raise ConnectionLost("not in the room; join it first, or join again")
        return self._room

    @property
    def name(self) -> str:
        """The room's name."""
        return self.sdk_room.name

    @property
    def identity(self) -> str:
        """Our identity."""
        return self.sdk_room.local_participant.identity

    @property
    def sid(self) -> str:
        """Our participant SID; it changes on a full reconnect."""
        return self.sdk_room.local_participant.sid

    @property
    def permissions(self) -> Permissions:
        """What the server lets us do now."""
        return convert.permissions(self.sdk_room.local_participant)

    @property
    def participants(self) -> tuple[ParticipantState, ...]:
        """The remote participants."""
        return tuple(convert.participant_state(each) for each in self.sdk_room.remote_participants.values())

    @property
    def tracks(self) -> tuple[TrackState, ...]:
        """What the remote participants publish."""
        return tuple(
            convert.track_state(publication, participant)
            for participant in self.sdk_room.remote_participants.values()
            for publication in participant.track_publications.values()
        )

    def track(self, sid: str) -> TrackState:
        """A track that a remote participant publishes. Raises TrackNotFound."""
        for participant in self.sdk_room.remote_participants.values():
            if publication := participant.track_publications.get(sid):
                return convert.track_state(publication, participant)
        raise TrackNotFound(f"no track {sid!r} is published in this room")

    @property
    def room_metadata(self) -> str:
        """The room's own metadata."""
        return self.sdk_room.metadata or ""

    async def room_sid(self) -> str:
        """The room's SID, which the server may tell some time after we joined."""
        return await self.sdk_room.sid

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called, in the event loop, with each event from now on; call the result to stop."""
        return listen(self._listeners, listener)

    def before_leaving(self, name: str, step: Step) -> None:
        """Have `step` awaited before the room is left; steps run last added first, each for 2 s at most."""
        self._leaving_steps.append((name, step))

    def emit(self, event: RoomEvent) -> None:
        """Tell all listeners."""
        tell_all(self._listeners, event, fault="listener_failed", room_event=type(event).__name__)

    async def connect(self) -> None:
        """Join. A cancelled join is completed and undone: cutting it off would panic the native layer.

        Raises Unauthorized, TokenExpired, PermissionDenied, InvalidSettings or ServerUnreachable.
        """
        if self._ended is not None:
            raise ConnectionLost("a session joins only once; make a new one to join again")
        self._ended = asyncio.get_running_loop().create_future()
        self._state = ConnectionState.CONNECTING
        try:
            await check_admission(self._url, self._token, now=self._clock.now())
            await uninterrupted(self._join(), name="session.join")
        except BaseException:
            await self.aclose()
            raise

    async def _join(self) -> None:
        room = rtc.Room(asyncio.get_running_loop())
        self._incoming = IncomingData(
            room, self.emit, self._tasks, text_topics=self._options.text_topics, data_tracks=self._options.data_tracks
        )
        wiring.wire(room, self._on_event)
        options = rtc.RoomOptions(
            auto_subscribe=False,
            dynacast=self._options.dynacast,
            # With two connections a track that was unsubscribed and subscribed again never comes
            # (livekit 1.2.1 with server 1.13; tests/integration/test_participant.py).
            single_peer_connection=True,
            encryption=self._encryption.sdk_options() if self._encryption else None,
        )
        try:
            await room.connect(self._url, self._token, options)
        except rtc.ConnectError as error:
            # Not chained: the SDK's text quotes the token.
            raise convert.connect_error(error, urlsplit(self._url).netloc) from None
        self._room = room
        self._path = MediaPath(room, self._tasks)
        self._state = ConnectionState.CONNECTED
        if self._encryption is not None:
            self._encryption.joined(room)
        log.info("joined", room_name=room.name, identity=room.local_participant.identity)
        self.emit(ConnectionStateChanged(ConnectionState.CONNECTED))
        for event in wiring.existing(room):
            self.emit(event)

    def _on_event(self, event: RoomEvent) -> None:
        if isinstance(event, Disconnected):
            self._end(event)
            return
        if isinstance(event, ParticipantConnected) and self._encryption is not None:
            self._encryption.met(event.participant.identity)
        if isinstance(event, ConnectionStateChanged):
            self._connection_changed(event)
            return
        self.emit(event)

    def _connection_changed(self, event: ConnectionStateChanged) -> None:
        """What the SDK says; that it is back is believed once the server answers on the media path."""
        if self._path is not None and event.state is ConnectionState.RECONNECTING:
            self._path.lost()
        if self._path is not None and (self._state, event.state) == _BACK:
            self._path.resumed(partial(self._become, event))
        else:
            self._become(event)

    def _become(self, event: ConnectionStateChanged) -> None:
        if event.state is self._state:
            return
        self._enter(event.state)
        log.info("connection_state", state=event.state)
        if event.state is ConnectionState.DISCONNECTED:
            asyncio.get_running_loop().call_later(DISCONNECTED_GRACE_S, self._end, Disconnected("unknown_reason"))
        self.emit(event)

    def _enter(self, state: ConnectionState) -> None:
        self._state = state
        if state is ConnectionState.RECONNECTING:
            self._restored.clear()
            return
        self._restored.set()
        if self._path is not None:
            self._path.stop()

    def _end(self, event: Disconnected) -> None:
        if self._ended is None or self._ended.done():
            return
        self._ended.set_result(event)
        if self._state is not ConnectionState.DISCONNECTED:
            self._enter(ConnectionState.DISCONNECTED)
            self.emit(ConnectionStateChanged(ConnectionState.DISCONNECTED))
        log.info("room_ended", reason=event.reason)
        self.emit(event)

    async def wait_ended(self) -> Disconnected:
        """Until the room is over for us, however that came about."""
        if self._ended is None:
            raise ConnectionLost("not in the room; join it first")
        return await asyncio.shield(self._ended)

    async def set_metadata(self, metadata: str) -> None:
        """Change our metadata; the server has it when this returns.

        Raises InvalidSettings (too long, or empty where it was not), PermissionDenied or ConnectionLost.
        """
        check_metadata(metadata)
        local = self._changeable()
        _check_not_emptied("metadata", local.metadata, metadata)
        await self._change(partial(local.set_metadata, metadata), lambda: local.metadata == metadata)

    async def set_name(self, name: str) -> None:
        """Change our display name; as `set_metadata`."""
        if (size := len(wire_bytes("the name", name))) > MAX_NAME_BYTES:
            raise InvalidSettings(f"the name has {size} bytes; {MAX_NAME_BYTES} are allowed, give a shorter one")
        local = self._changeable()
        _check_not_emptied("name", local.name, name)
        await self._change(partial(local.set_name, name), lambda: local.name == name)

    async def set_attributes(self, changes: Mapping[str, str]) -> None:
        """Change some of our attributes (an empty value removes one); as `set_metadata`."""
        wanted = dict(changes)
        local = self._changeable()
        check_attributes(local.attributes, wanted)
        await self._change(
            partial(local.set_attributes, wanted),
            lambda: all(local.attributes.get(key, "") == value for key, value in wanted.items()),
        )

    def _changeable(self) -> rtc.LocalParticipant:
        self.permissions.require_update_metadata()
        return self.sdk_room.local_participant

    async def _change(self, change: Callable[[], Coroutine[Any, Any, None]], holds: Callable[[], bool]) -> None:
        async with self._changes:
            if self._state is not ConnectionState.CONNECTED:
                raise ConnectionLost("the connection is being restored; try again once it is")
            await changed(self._tasks, change, holds)

    async def set_track_metadata(self, track_name: str, values: dict[str, JsonValue] | None) -> None:
        """Say something of our track of that name, or with None no longer; see agent.room.metadata."""
        text = "" if values is None else encode_track_metadata(values)
        await self.set_attributes({track_attribute(track_name): text})

    async def simulate(self, scenario: rtc.SimulateScenarioKind.ValueType) -> None:
        """Have the SDK act out a failure, for tests."""
        await self.sdk_room.simulate_scenario(scenario)

    async def aclose(self) -> None:
        """Leave: steps (sources, then publications), then the room. Idempotent, and whole even if cancelled."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._leave(), name="session.leave")
        await finish(self._closing)

    async def _leave(self) -> None:
        for name, step in reversed(self._leaving_steps):
            await _within(STEP_TIMEOUT_S, step, name)
        if self._room is not None:
            await _within(DISCONNECT_TIMEOUT_S, self._room.disconnect, "disconnect")
            await asyncio.sleep(NATIVE_SETTLE_S)
            self._end(Disconnected("client_initiated"))
        self._enter(ConnectionState.DISCONNECTED)
        await self._tasks.aclose()
        self._room = None


def _check_not_emptied(what: str, now: str, wanted: str) -> None:
    """livekit-server takes an empty one for no change at all."""
    if now and not wanted:
        raise InvalidSettings(f"a server cannot be told to empty our {what}; give another {what}")


async def _within(limit_s: float, step: Step, name: str) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await step()
    except TimeoutError:
        log.warning("leaving_step_timed_out", step=name, limit_s=limit_s)
    except (Exception, asyncio.CancelledError) as error:
        # Leaving goes on whatever a step does: a room that is not left holds the process. A step that awaits what
        # others cancelled, as the SDK does its own task, cancels nobody here.
        if isinstance(error, asyncio.CancelledError) and asked_to_end():
            raise
        log.exception("leaving_step_failed", step=name)

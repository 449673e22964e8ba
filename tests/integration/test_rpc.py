"""Methods that agents answer and call: among themselves, and with a participant made of the SDK alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from livekit import api, rtc

from agent import RoomAgent, RoomRequest, RpcError, RpcInvocation, load_settings
from agent.credentials import Credentials
from agent.errors import ConnectionLost, InvalidSettings, ParticipantNotFound, PermissionDenied
from agent.room.events import ConnectionStateChanged, ParticipantConnected, PermissionsChanged
from agent.room.rpc_limits import MAX_PAYLOAD_BYTES
from agent.room.session import RoomSession
from agent.room.state import ConnectionState
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from tests.integration.participants import room_name
from tests.integration.publishing import eventually

pytestmark = pytest.mark.server

Code = rtc.RpcError.ErrorCode


def agent_in(server: Credentials, room: str, identity: str, **how: Any) -> RoomAgent:
    return RoomAgent(server, RoomRequest(room, identity, **how), load_settings())


def with_token(server: Credentials, room: str, identity: str, **grants: Any) -> RoomAgent:
    token = mint_participant_token(server, ParticipantTokenRequest(room, identity, **grants))
    return RoomAgent(server, RoomRequest("", token=token), load_settings())


async def sees(agent: RoomAgent, *identities: str) -> None:
    """Until these are in the room, and no others."""
    await eventually(lambda: {each.identity for each in agent.state().participants} == set(identities) or None)


@asynccontextmanager
async def two(server: Credentials, **how: Any) -> AsyncIterator[tuple[RoomAgent, RoomAgent]]:
    """A server and a client, who know each other."""
    room = room_name()
    async with agent_in(server, room, "server", **how) as callee, agent_in(server, room, "client", **how) as caller:
        await sees(callee, "client")
        await sees(caller, "server")
        yield callee, caller


@asynccontextmanager
async def sdk_room(server: Credentials, room: str, identity: str, **grants: Any) -> AsyncIterator[rtc.Room]:
    plain = rtc.Room()
    await plain.connect(server.url, mint_participant_token(server, ParticipantTokenRequest(room, identity, **grants)))
    try:
        yield plain
    finally:
        await plain.disconnect()


async def echo(invocation: RpcInvocation) -> str:
    return invocation.payload


async def fails(call: Any) -> RpcError:
    with pytest.raises(RpcError) as raised:
        await call
    return raised.value


@pytest.mark.parametrize("key", [None, "secret"])
async def test_a_method_is_told_who_calls_and_its_answer_comes_back(
    livekit_server: Credentials, key: str | None
) -> None:
    told: list[RpcInvocation] = []

    async def double(invocation: RpcInvocation) -> str:
        told.append(invocation)
        return str(2 * json.loads(invocation.payload))

    async with two(livekit_server, e2ee_key=key) as (callee, caller):
        callee.register_rpc_method("double", double)
        callee.register_rpc_method("echo", echo)
        assert await caller.perform_rpc("server", "double", "21", response_timeout=10) == "42"
        longest = "\u00e9" * (MAX_PAYLOAD_BYTES // 2)
        assert await caller.perform_rpc("server", "echo", longest) == longest
        assert await caller.perform_rpc("server", "echo") == ""
        answers = await asyncio.gather(*(caller.perform_rpc("server", "echo", str(n)) for n in range(20)))
        assert answers == [str(n) for n in range(20)]
    (invocation,) = told
    assert (invocation.caller_identity, invocation.method, invocation.payload) == ("client", "double", "21")
    assert invocation.response_timeout == 3  # LiveKit keeps 7 s for the way
    assert invocation.request_id


async def test_who_has_another_key_gets_no_answer(livekit_server: Credentials) -> None:
    payloads: list[str] = []

    async def note(invocation: RpcInvocation) -> str:
        payloads.append(invocation.payload)
        return "secret"

    async with two(livekit_server, e2ee_key="ours") as (callee, caller):
        room = callee.state().room
        async with (
            agent_in(livekit_server, room, "stranger", e2ee_key="another") as stranger,
            agent_in(livekit_server, room, "keyless") as keyless,
        ):
            callee.register_rpc_method("note", note)
            await sees(stranger, "server", "client", "keyless")
            await sees(keyless, "server", "client", "stranger")
            calls = (stranger.perform_rpc("server", "note", "a"), keyless.perform_rpc("server", "note", "b"))
            for error in await asyncio.gather(*map(fails, calls)):
                assert error.rpc_code == Code.CONNECTION_TIMEOUT
            assert await caller.perform_rpc("server", "note", "c") == "secret"
    assert payloads == ["b", "c"], "what comes in the clear is heard, like texts"


async def test_methods_come_and_go_before_joining_and_after(livekit_server: Credentials) -> None:
    room = room_name()
    callee, caller = agent_in(livekit_server, room, "server"), agent_in(livekit_server, room, "client")
    callee.register_rpc_method("early", echo)
    callee.register_rpc_method("changed", echo)
    callee.unregister_rpc_method("changed")
    async with callee, caller:
        await sees(caller, "server")
        assert await caller.perform_rpc("server", "early", "a") == "a"
        error = await fails(caller.perform_rpc("server", "changed", "a"))
        assert (error.rpc_code, error.code) == (Code.UNSUPPORTED_METHOD, "rpc_failed")
        assert str(error).startswith("'changed' of 'server': it answers no such method")
        callee.register_rpc_method("changed", echo)
        with pytest.raises(InvalidSettings, match="registered already"):
            callee.register_rpc_method("changed", echo)
        assert await caller.perform_rpc("server", "changed", "b") == "b"
        callee.unregister_rpc_method("changed")
        callee.unregister_rpc_method("changed")
        assert (await fails(caller.perform_rpc("server", "changed", "c"))).rpc_code == Code.UNSUPPORTED_METHOD
    callee.register_rpc_method("changed", echo)
    callee.unregister_rpc_method("early")
    with pytest.raises(ConnectionLost):
        await caller.perform_rpc("server", "early", "a")


async def test_who_is_told_of_the_agent_can_call_it_at_once(livekit_server: Credentials) -> None:
    room = room_name()
    async with agent_in(livekit_server, room, "client") as caller:
        joined: asyncio.Queue[str] = asyncio.Queue()
        caller.add_listener(
            lambda event: (
                joined.put_nowait(event.participant.identity) if isinstance(event, ParticipantConnected) else None
            )
        )
        callee = agent_in(livekit_server, room, "server")
        callee.register_rpc_method("echo", echo)
        starting = asyncio.create_task(callee.start())
        try:
            identity = await joined.get()
            assert await caller.perform_rpc(identity, "echo", "hello") == "hello"
        finally:
            await starting
            await callee.aclose()


async def test_what_a_handler_raises_is_told_or_logged(livekit_server: Credentials) -> None:
    async def ours(_: RpcInvocation) -> str:
        raise RpcError(42, "no soup " + "x" * 300, "for you")

    async def the_sdks(_: RpcInvocation) -> str:
        raise rtc.RpcError(43, "no bread")

    async def other(_: RpcInvocation) -> str:
        raise ValueError("secret")

    async def cancelled(_: RpcInvocation) -> str:
        raise asyncio.CancelledError

    async def number(_: RpcInvocation) -> str:
        return 7  # type: ignore[return-value]  # what becomes of it is what is tested

    async def surrogate(_: RpcInvocation) -> str:
        return "\ud800"

    async def wrong_error(_: RpcInvocation) -> str:
        raise RpcError(-1, "x")

    async def long(_: RpcInvocation) -> str:
        return "x" * (MAX_PAYLOAD_BYTES + 1)

    faulty = (other, cancelled, number, surrogate, wrong_error)
    async with two(livekit_server) as (callee, caller):
        for handler in (ours, the_sdks, long, *faulty):
            callee.register_rpc_method(handler.__name__, handler)
        told = await fails(caller.perform_rpc("server", "ours"))
        assert (told.rpc_code, told.message, told.data) == (42, ("no soup " + "x" * 300)[:256], "for you")
        told = await fails(caller.perform_rpc("server", "the_sdks"))
        assert (told.rpc_code, told.message, told.data) == (43, "no bread", "")
        with structlog.testing.capture_logs() as logs:
            for handler in faulty:
                told = await fails(caller.perform_rpc("server", handler.__name__))
                assert told.rpc_code == Code.APPLICATION_ERROR
                assert "secret" not in told.message
            told = await fails(caller.perform_rpc("server", "long"))
            assert told.rpc_code == Code.RESPONSE_PAYLOAD_TOO_LARGE
    failed = [each for each in logs if each["event"] == "rpc_handler_failed"]
    assert [each["method"] for each in failed] == [handler.__name__ for handler in (*faulty, long)]
    assert {each["participant_identity"] for each in failed} == {"client"}


async def test_who_takes_too_long_is_cancelled_and_the_caller_told(livekit_server: Credentials) -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def slow(_: RpcInvocation) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.set_result("cancelled")
            raise
        return "late"

    async with two(livekit_server) as (callee, caller):
        callee.register_rpc_method("slow", slow)
        error = await fails(caller.perform_rpc("server", "slow", response_timeout=2))
        assert error.rpc_code == Code.RESPONSE_TIMEOUT
        assert "longer response_timeout" in error.message
        assert await ended == "cancelled"


@pytest.mark.parametrize("stubborn", [False, True])
async def test_closing_ends_whatever_a_handler_does(livekit_server: Credentials, stubborn: bool) -> None:
    entered, let_go = asyncio.Event(), asyncio.Event()

    async def endless(_: RpcInvocation) -> str:
        entered.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise
        return "late"

    async with two(livekit_server) as (callee, caller):
        callee.register_rpc_method("endless", endless)
        call = asyncio.create_task(caller.perform_rpc("server", "endless", response_timeout=60))
        await entered.wait()
        async with asyncio.timeout(20):
            await callee.aclose()
        assert (await fails(call)).rpc_code == Code.RECIPIENT_DISCONNECTED
        await sees(caller)
        let_go.set()


async def test_a_call_ends_with_the_agent_that_makes_it(livekit_server: Credentials) -> None:
    entered = asyncio.Event()

    async def endless(_: RpcInvocation) -> str:
        entered.set()
        await asyncio.sleep(60)
        return "late"

    async with two(livekit_server) as (callee, caller):
        callee.register_rpc_method("endless", endless)
        call = asyncio.create_task(caller.perform_rpc("server", "endless", response_timeout=60))
        given_up = asyncio.create_task(caller.perform_rpc("server", "endless", response_timeout=60))
        await entered.wait()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await caller.aclose()
        with pytest.raises(ConnectionLost):
            await call


async def test_whoever_is_removed_has_no_calls_left(livekit_server: Credentials) -> None:
    entered = asyncio.Event()
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def endless(_: RpcInvocation) -> str:
        entered.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set_result("ended")
        return "late"

    async with (
        two(livekit_server) as (callee, caller),
        api.LiveKitAPI(livekit_server.http_url, livekit_server.api_key, livekit_server.api_secret) as server,
    ):
        callee.register_rpc_method("endless", endless)
        caller.register_rpc_method("echo", echo)
        call = asyncio.create_task(caller.perform_rpc("server", "endless", response_timeout=60))
        await entered.wait()
        room = caller.state().room
        for identity in ("client", "server"):
            await server.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))
        # The SDK may be faster to miss the other than to tell that the room is over.
        with pytest.raises((ConnectionLost, RpcError)) as raised:
            await call
        assert getattr(raised.value, "rpc_code", Code.RECIPIENT_DISCONNECTED) == Code.RECIPIENT_DISCONNECTED
        assert await ended == "ended"
        await eventually(lambda: caller.state().connection == "disconnected" or None)
        caller.unregister_rpc_method("echo")
        caller.register_rpc_method("echo", echo)
        with pytest.raises(ConnectionLost):
            await caller.perform_rpc("server", "endless")


async def test_what_a_moderator_forbids_is_refused_and_allowed_again_works(livekit_server: Credentials) -> None:
    ran: list[str] = []

    async def count(invocation: RpcInvocation) -> str:
        ran.append(invocation.payload)
        return ""

    async with (
        two(livekit_server) as (callee, caller),
        api.LiveKitAPI(livekit_server.http_url, livekit_server.api_key, livekit_server.api_secret) as server,
    ):
        told: list[bool] = []
        callee.add_listener(
            lambda event: (
                told.append(event.permissions.can_publish_data) if isinstance(event, PermissionsChanged) else None
            )
        )
        callee.register_rpc_method("count", count)
        caller.register_rpc_method("count", count)
        for allowed in (False, True):
            permission = api.ParticipantPermission(can_publish=True, can_subscribe=True, can_publish_data=allowed)
            await server.room.update_participant(
                api.UpdateParticipantRequest(room=caller.state().room, identity="server", permission=permission)
            )
            await eventually(lambda allowed=allowed: told[-1:] == [allowed] or None)  # type: ignore[misc]
            if not allowed:
                with pytest.raises(PermissionDenied):
                    await callee.perform_rpc("client", "count", "refused")
                await fails(caller.perform_rpc("server", "count", "unanswered"))
        assert await callee.perform_rpc("client", "count", "a") == ""
        assert await caller.perform_rpc("server", "count", "b") == ""
        assert ran == ["a", "b"]


async def test_a_method_may_close_its_agent(livekit_server: Credentials) -> None:
    async with two(livekit_server) as (callee, caller):

        async def leave(_: RpcInvocation) -> str:
            await callee.aclose()
            return "gone"

        callee.register_rpc_method("leave", leave)
        error = await fails(caller.perform_rpc("server", "leave", response_timeout=60))
        assert error.rpc_code == Code.RECIPIENT_DISCONNECTED
        await sees(caller)


@pytest.mark.parametrize(
    "scenario",
    [rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT, rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT],
)
async def test_both_ways_work_again_after_a_reconnect(
    livekit_server: Credentials, scenario: rtc.SimulateScenarioKind.ValueType
) -> None:
    async with two(livekit_server) as (callee, caller):
        callee.register_rpc_method("echo", echo)
        caller.register_rpc_method("echo", echo)
        states: list[ConnectionState] = []
        refused: list[asyncio.Task[str]] = []

        def watch(event: object) -> None:
            if isinstance(event, ConnectionStateChanged):
                states.append(event.state)
                if event.state is ConnectionState.RECONNECTING:
                    refused.append(asyncio.create_task(callee.perform_rpc("client", "echo", "x")))

        callee.add_listener(watch)
        # Who has sent nothing yet had no way of sending for some 12 s after a signal reconnect in some runs (1.2.1).
        assert await callee.perform_rpc("client", "echo", "before") == "before"
        session: RoomSession = callee._session
        await session.simulate(scenario)
        await eventually(lambda: states[-1:] == [ConnectionState.CONNECTED] or None, timeout_s=20)
        with pytest.raises(ConnectionLost):
            await refused[0]
        await sees(callee, "client")
        await sees(caller, "server")
        assert await caller.perform_rpc("server", "echo", "there") == "there"
        assert await callee.perform_rpc("client", "echo", "and back") == "and back"


async def test_what_cannot_arrive_is_refused_before_it_is_sent(livekit_server: Credentials) -> None:
    ran: list[str] = []

    async def count(invocation: RpcInvocation) -> str:
        ran.append(invocation.payload)
        return ""

    async with two(livekit_server) as (callee, caller):
        callee.register_rpc_method("count", count)
        with pytest.raises(ParticipantNotFound, match="'nobody'"):
            await caller.perform_rpc("nobody", "count")
        with pytest.raises(InvalidSettings, match="'client' are we"):
            await caller.perform_rpc("client", "count")
        with pytest.raises(InvalidSettings, match="15361 bytes is too long"):
            await caller.perform_rpc("server", "count", "x" * (MAX_PAYLOAD_BYTES + 1))
        room = callee.state().room
        async with (
            agent_in(livekit_server, room, "hidden", hidden=True) as hidden,
            with_token(livekit_server, room, "silent", can_publish_data=False) as silent,
        ):
            silent.register_rpc_method("count", count)
            await sees(caller, "server", "silent")
            with pytest.raises(PermissionDenied, match="hidden"):
                await hidden.perform_rpc("server", "count")
            with pytest.raises(PermissionDenied, match="canPublishData"):
                await silent.perform_rpc("server", "count")
            with pytest.raises(ParticipantNotFound, match="hidden"):
                await caller.perform_rpc("hidden", "count")
            error = await fails(caller.perform_rpc("silent", "count"))
            assert error.rpc_code == Code.CONNECTION_TIMEOUT
    assert ran == []


async def test_with_a_participant_of_the_sdk_alone(livekit_server: Credentials) -> None:
    room = room_name()
    async with agent_in(livekit_server, room, "agent") as agent, sdk_room(livekit_server, room, "plain") as plain:
        await sees(agent, "plain")
        callers: list[str] = []

        async def greet(invocation: RpcInvocation) -> str:
            callers.append(invocation.caller_identity)
            if invocation.payload == "rude":
                raise RpcError(7, "say please", '{"try": 1}')
            return f"hello {invocation.caller_identity}"

        async def answer(data: rtc.RpcInvocationData) -> str:
            if data.payload == "rude":
                raise rtc.RpcError(8, "no", "d")
            if data.payload == "broken":
                raise ValueError("broken")
            return f"{data.caller_identity} said {data.payload}"

        agent.register_rpc_method("greet", greet)
        plain.local_participant.register_rpc_method("answer", answer)

        async def call(payload: str, method: str = "greet") -> str:
            return await plain.local_participant.perform_rpc(
                destination_identity="agent", method=method, payload=payload
            )

        assert await call("hi") == "hello plain"
        with pytest.raises(rtc.RpcError, match="say please") as raised:
            await call("rude")
        assert (raised.value.code, raised.value.data) == (7, '{"try": 1}')
        with pytest.raises(rtc.RpcError, match="not supported"):
            await call("hi", "unknown")

        assert await agent.perform_rpc("plain", "answer", "hi") == "agent said hi"
        told = await fails(agent.perform_rpc("plain", "answer", "rude"))
        assert (told.rpc_code, told.message, told.data) == (8, "no", "d")
        told = await fails(agent.perform_rpc("plain", "answer", "broken"))
        assert (told.rpc_code, told.message) == (
            Code.APPLICATION_ERROR,
            "'answer' of 'plain': its handler failed; its log says why",
        )
        assert (await fails(agent.perform_rpc("plain", "unknown"))).rpc_code == Code.UNSUPPORTED_METHOD

        async with sdk_room(livekit_server, room, "ghost", hidden=True) as ghost:
            with pytest.raises(rtc.RpcError, match="Connection timeout"):
                await ghost.local_participant.perform_rpc(destination_identity="agent", method="greet", payload="boo")
        assert callers == ["plain", "plain"], "nobody could tell a hidden one what came of it"


async def test_a_call_of_one_who_leaves_meanwhile_ends(livekit_server: Credentials) -> None:
    room = room_name()
    entered = asyncio.Event()

    async def endless(_: rtc.RpcInvocationData) -> str:
        entered.set()
        await asyncio.sleep(60)
        return ""

    async with agent_in(livekit_server, room, "agent") as agent:
        async with sdk_room(livekit_server, room, "plain") as plain:
            await sees(agent, "plain")
            plain.local_participant.register_rpc_method("endless", endless)
            call = asyncio.create_task(agent.perform_rpc("plain", "endless", response_timeout=60))
            await entered.wait()
        assert (await fails(call)).rpc_code == Code.RECIPIENT_DISCONNECTED

"""What calls of methods are refused before they are sent, and what is no handler."""

import asyncio
import functools
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from livekit import rtc

from agent.errors import ConnectionLost, InvalidSettings, ParticipantNotFound, PermissionDenied, RpcError
from agent.room import rpc as module
from agent.room.permissions import Permissions
from agent.room.rpc import Rpc, RpcInvocation
from agent.room.rpc_limits import MAX_METHOD_BYTES, MAX_PAYLOAD_BYTES
from agent.room.state import ConnectionState


class LocalParticipant:
    """Ours, as the SDK shows it: it keeps what it is to send, and answers with it."""

    identity = "me"

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def perform_rpc(self, **call: Any) -> str:
        self.sent.append(call)
        return str(call["payload"])


class Session:
    """A room with one other participant."""

    def __init__(self) -> None:
        self.local = LocalParticipant()
        self.connection = ConnectionState.CONNECTED
        self.permissions = Permissions()
        self.sdk_room = SimpleNamespace(local_participant=self.local, remote_participants={"ada": None})

    def add_listener(self, _listener: object) -> None:
        """Nothing is told."""

    def before_leaving(self, _name: str, _step: object) -> None:
        """Nothing is left."""

    async def wait_ended(self) -> None:
        """Never, as far as these tests go."""
        await asyncio.sleep(60)


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def rpc(session: Session) -> Rpc:
    return Rpc(cast("Any", session))


async def echo(invocation: RpcInvocation) -> str:
    return invocation.payload


class Echo:
    """An object that is called like an async function."""

    async def __call__(self, invocation: RpcInvocation) -> str:
        """The payload."""
        return invocation.payload


def invocation(method: str = "echo", caller: str = "ada") -> rtc.RpcInvocationData:
    return rtc.RpcInvocationData("R_1", caller, "hello", 8.0, method)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("", "echo", ""), "destination_identity is empty"),
        ((None, "echo", ""), "destination_identity is NoneType; give a string"),
        (("a\ud800", "echo", ""), "destination_identity has half a character"),
        (("me", "echo", ""), "'me' are we"),
        (("ada", "", ""), "a method's name has 1 to 64 bytes, this one has 0"),
        (("ada", "\u00e9" * 33, ""), "this one has 66"),
        (("ada", 7, ""), "the method is int"),
        (("ada", "echo", b"x"), "the payload is bytes; give a string"),
        (("ada", "echo", "\u00e9" * 7681), "a payload of 15362 bytes is too long, 15360 are allowed"),
        (("ada", "echo", "a\ud800"), "the payload has half a character"),
    ],
)
async def test_a_call_that_fits_nobody_is_refused(rpc: Rpc, session: Session, call: Any, said: str) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(said)):
        await rpc.perform(*call, response_timeout=15)
    assert session.local.sent == []
    assert await rpc.perform("ada", "m" * MAX_METHOD_BYTES, "x" * MAX_PAYLOAD_BYTES, response_timeout=15)


@pytest.mark.parametrize("timeout", [0, -1, 0.0001, float("nan"), float("inf"), 86_401, True, "8", None])
async def test_a_timeout_is_some_seconds(rpc: Rpc, session: Session, timeout: Any) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(f"response_timeout is {timeout!r}")):
        await rpc.perform("ada", "echo", "", response_timeout=timeout)
    assert session.local.sent == []
    for seconds in (0.001, 8, 86_400):
        await rpc.perform("ada", "echo", "", response_timeout=seconds)
    assert [call["response_timeout"] for call in session.local.sent] == [0.001, 8.0, 86_400.0]


async def test_a_call_that_could_not_arrive_is_refused(rpc: Rpc, session: Session) -> None:
    with pytest.raises(ParticipantNotFound, match="'bob'"):
        await rpc.perform("bob", "echo", "", response_timeout=15)
    session.permissions = Permissions(can_publish_data=False)
    with pytest.raises(PermissionDenied, match="canPublishData"):
        await rpc.perform("ada", "echo", "", response_timeout=15)
    session.permissions = Permissions(hidden=True)
    with pytest.raises(PermissionDenied, match="hidden"):
        await rpc.perform("ada", "echo", "", response_timeout=15)
    session.permissions, session.connection = Permissions(), ConnectionState.RECONNECTING
    with pytest.raises(ConnectionLost, match="try again once it is"):
        await rpc.perform("ada", "echo", "", response_timeout=15)
    session.connection = ConnectionState.CONNECTED
    await rpc.aclose()
    with pytest.raises(ConnectionLost):
        await rpc.perform("ada", "echo", "", response_timeout=15)
    assert session.local.sent == []


def test_a_handler_is_an_async_function(rpc: Rpc) -> None:
    for wrong in (lambda _: "", print, None, "echo"):
        with pytest.raises(InvalidSettings, match="no async function"):
            rpc.register("echo", cast("Any", wrong))
    for name, handler in {"function": echo, "object": Echo(), "partial": functools.partial(echo)}.items():
        rpc.register(name, cast("Any", handler))
    with pytest.raises(InvalidSettings, match="registered already"):
        rpc.register("object", echo)
    for unfit in ("", "m" * (MAX_METHOD_BYTES + 1), None):
        with pytest.raises(InvalidSettings):
            rpc.register(cast("Any", unfit), echo)


async def test_more_calls_than_can_be_answered_are_refused_and_told_once(
    rpc: Rpc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RUNNING", 2)
    go_on = asyncio.Event()

    async def slow(_: RpcInvocation) -> str:
        await go_on.wait()
        return "done"

    rpc.register("slow", slow)
    rpc.register("echo", echo)
    running = [asyncio.create_task(rpc._on_invocation(invocation("slow"))) for _ in range(2)]
    await asyncio.sleep(0)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(rtc.RpcError, match="try again later") as raised:
                await rpc._on_invocation(invocation())
            assert raised.value.code == rtc.RpcError.ErrorCode.APPLICATION_ERROR
    assert [each["event"] for each in logs] == ["rpc_overloaded"]
    go_on.set()
    assert await asyncio.gather(*running) == ["done", "done"]
    assert await rpc._on_invocation(invocation()) == "hello"


async def test_nobody_is_answered_whom_no_answer_reaches(rpc: Rpc, session: Session) -> None:
    rpc.register("echo", echo)
    assert await rpc._on_invocation(invocation()) == "hello"
    with structlog.testing.capture_logs() as logs:
        with pytest.raises(rtc.RpcError):
            await rpc._on_invocation(invocation(caller=""))
        session.permissions = Permissions(can_publish_data=False)
        with pytest.raises(rtc.RpcError):
            await rpc._on_invocation(invocation())
    assert [each["reason"] for each in logs] == ["a hidden participant called", "we may not send data"]


async def test_an_agent_that_leaves_says_so(rpc: Rpc) -> None:
    rpc.register("echo", echo)
    await rpc.aclose()
    await rpc.aclose()
    with pytest.raises(rtc.RpcError) as raised:
        await rpc._on_invocation(invocation())
    assert raised.value.code == rtc.RpcError.ErrorCode.RECIPIENT_DISCONNECTED


def test_an_rpc_error_is_one_of_ours() -> None:
    error = RpcError(7, "say please", "data")
    assert (error.code, error.retryable, error.rpc_code, str(error), error.data) == (
        "rpc_failed",
        False,
        7,
        "say please",
        "data",
    )

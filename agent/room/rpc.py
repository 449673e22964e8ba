"""LiveKit RPC: methods that others call, and calls of theirs."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from livekit import rtc

from agent.errors import ConnectionLost, InvalidSettings, ParticipantNotFound, RpcError
from agent.listeners import makes_coroutines
from agent.room.events import ConnectionStateChanged
from agent.room.rpc_limits import (
    MAX_PAYLOAD_BYTES,
    check_method,
    check_payload,
    check_response_timeout,
    check_rpc_code,
)
from agent.room.session import RoomSession
from agent.room.state import ConnectionState
from agent.room.wire_text import wire_bytes
from agent.tasks import Tasks, asked_to_end

log = structlog.get_logger(__name__)

Code = rtc.RpcError.ErrorCode

# More than a program of one event loop answers in time; a caller beyond is told so at once.
MAX_RUNNING = 200

_WHAT_TO_DO = {
    Code.APPLICATION_ERROR: "its handler failed; its log says why",
    Code.CONNECTION_TIMEOUT: "not acknowledged; the other leaves, may not send data or has another encryption key",
    Code.RESPONSE_TIMEOUT: "no answer came in time; it may have been done nevertheless. Give a longer response_timeout",
    Code.RECIPIENT_DISCONNECTED: "the other, or our connection, was gone too soon; it may have been done nevertheless",
    Code.RESPONSE_PAYLOAD_TOO_LARGE: "the answer is longer than LiveKit carries; have it answer in parts",
    Code.SEND_FAILED: "the call could not be sent; try again",
    Code.UNSUPPORTED_METHOD: "it answers no such method; check the name, or try again once it is registered there",
}


@dataclass(frozen=True, slots=True)
class RpcInvocation:
    """A call of a method of ours. `response_timeout` is how many seconds the handler has; it is cancelled then.

    `request_id` is the same at both ends.
    """

    request_id: str
    caller_identity: str
    method: str
    payload: str
    response_timeout: float


RpcHandler = Callable[[RpcInvocation], Coroutine[Any, Any, str]]


class Rpc:
    """Answers calls in a session's room, and makes them. Handlers are cancelled before the room is left.

    Methods registered before joining are there once we have joined. The SDK keeps them over reconnects.
    """

    def __init__(self, session: RoomSession) -> None:
        self._session = session
        self._handlers: dict[str, RpcHandler] = {}
        self._tasks = Tasks("rpc")
        self._running = 0
        self._overloaded = False
        self._leaving = False
        self._room: rtc.Room | None = None
        session.add_listener(self._on_event)
        session.before_leaving("rpc", self.aclose)

    def register(self, method: str, handler: RpcHandler) -> None:
        """Answer calls of `method` from now on.

        Raises InvalidSettings (a name that is taken, empty or too long; a handler that is no async function).
        """
        check_method(method)
        if not makes_coroutines(handler):
            raise InvalidSettings(f"the handler of {method!r} is no async function; give one of one argument")
        if method in self._handlers:
            raise InvalidSettings(f"method {method!r} is registered already; unregister it first, or give another name")
        self._handlers[method] = handler
        if self._room is not None:
            self._offer(self._room, method)

    def unregister(self, method: str) -> None:
        """Answer calls of `method` no longer, nothing where none is; a handler that runs goes on."""
        check_method(method)
        if self._handlers.pop(method, None) is not None and self._room is not None:
            self._room.local_participant.unregister_rpc_method(method)

    def _on_event(self, event: object) -> None:
        # A method that is called before this moment, the first in which the SDK takes any, is told as unsupported.
        if self._room is not None or self._leaving:
            return
        if isinstance(event, ConnectionStateChanged) and event.state is ConnectionState.CONNECTED:
            self._room = self._session.sdk_room
            for method in self._handlers:
                self._offer(self._room, method)

    def _offer(self, room: rtc.Room, method: str) -> None:
        room.local_participant.register_rpc_method(method, self._on_invocation)

    async def _on_invocation(self, data: rtc.RpcInvocationData) -> str:
        handler = self._handlers.get(data.method)
        if handler is None:
            raise _built_in(Code.UNSUPPORTED_METHOD)
        self._check_answerable(data)
        invocation = RpcInvocation(
            data.request_id, data.caller_identity, data.method, data.payload, data.response_timeout
        )
        answering = self._tasks.start(_answer(handler, invocation), name=f"answer.{data.method}")
        self._running += 1
        answering.add_done_callback(self._answered)
        try:
            # Not awaited itself: a handler that ignores its cancellation would hold the SDK, and with it our leaving.
            await asyncio.wait({answering})
        finally:
            answering.cancel()
        if answering.cancelled():
            raise _built_in(Code.RECIPIENT_DISCONNECTED)
        if isinstance(answer := answering.result(), rtc.RpcError):
            raise answer
        return answer

    def _answered(self, _task: object) -> None:
        self._running -= 1

    def _check_answerable(self, data: rtc.RpcInvocationData) -> None:
        """The SDK's error where the handler had better not run: nobody would be told of what it did, or in time."""
        if self._leaving or self._session.connection is ConnectionState.DISCONNECTED:
            raise _built_in(Code.RECIPIENT_DISCONNECTED)
        if not data.caller_identity or not self._session.permissions.can_publish_data:
            why = "we may not send data" if data.caller_identity else "a hidden participant called"
            log.warning("rpc_unanswerable", method=data.method, participant_identity=data.caller_identity, reason=why)
            raise _built_in(Code.APPLICATION_ERROR)
        if self._running >= MAX_RUNNING:
            if not self._overloaded:
                log.warning("rpc_overloaded", method=data.method, running=self._running)
            self._overloaded = True
            raise rtc.RpcError(Code.APPLICATION_ERROR, f"{MAX_RUNNING} calls are being answered; try again later")
        self._overloaded = False

    async def perform(self, destination_identity: str, method: str, payload: str, *, response_timeout: float) -> str:
        """Call another's `method`; its answer.

        Raises InvalidSettings, PermissionDenied, ParticipantNotFound or ConnectionLost before anything is sent.
        ConnectionLost also where the room is over meanwhile, RpcError for all else that comes of the call.
        """
        check_method(method)
        check_payload(payload)
        check_response_timeout(response_timeout)
        self._check_destination(destination_identity)
        calling = self._tasks.start(
            self._session.sdk_room.local_participant.perform_rpc(
                destination_identity=destination_identity,
                method=method,
                payload=payload,
                response_timeout=float(response_timeout),
            ),
            name=f"call.{method}",
            expected=rtc.RpcError,
        )
        over = asyncio.ensure_future(self._session.wait_ended())
        try:
            await asyncio.wait({calling, over}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done() or calling.cancelled():
                raise ConnectionLost(
                    f"the room ended before {method!r} was answered; it may have been done nevertheless"
                )
            return calling.result()
        except rtc.RpcError as error:
            raise _failed(error, destination_identity, method) from error
        finally:
            over.cancel()
            calling.cancel()

    def _check_destination(self, identity: str) -> None:
        if not wire_bytes("destination_identity", identity):
            raise InvalidSettings("destination_identity is empty; give one participant's")
        room = self._session.sdk_room
        if self._leaving or self._session.connection is not ConnectionState.CONNECTED:
            raise ConnectionLost("the room is being left, or its connection restored; try again once it is")
        self._session.permissions.require_rpc()
        if identity == room.local_participant.identity:
            raise InvalidSettings(f"{identity!r} are we; call the function itself")
        if identity not in room.remote_participants:
            raise ParticipantNotFound(
                f"no participant {identity!r} is in the room, or it is hidden; wait until it joins"
            )

    async def aclose(self) -> None:
        """Cancel handlers and calls, and wait for them; idempotent. Who called or calls is told that we leave."""
        self._leaving = True
        self._room = None
        await self._tasks.aclose()


async def _answer(handler: RpcHandler, invocation: RpcInvocation) -> str | rtc.RpcError:
    """What to tell the caller. Faults are logged; what the SDK cannot send, and leaves unanswered, is one."""
    about = log.bind(method=invocation.method, participant_identity=invocation.caller_identity)
    try:
        answer = await handler(invocation)
    except (RpcError, rtc.RpcError) as error:
        return _told(error, about)
    except (Exception, asyncio.CancelledError) as error:
        # A cancellation that nobody asked for is the handler's own (the result of a cancelled future).
        if isinstance(error, asyncio.CancelledError) and asked_to_end():
            raise
        about.exception("rpc_handler_failed")
        return _built_in(Code.APPLICATION_ERROR)
    return _checked(answer, about)


def _checked(answer: object, about: structlog.typing.FilteringBoundLogger) -> str | rtc.RpcError:
    try:
        size = len(wire_bytes("the answer", answer))
    except InvalidSettings as error:
        about.error("rpc_handler_failed", error=str(error))
        return _built_in(Code.APPLICATION_ERROR)
    if size > MAX_PAYLOAD_BYTES:
        about.error("rpc_handler_failed", error=f"the answer has {size} bytes, {MAX_PAYLOAD_BYTES} are allowed")
        return _built_in(Code.RESPONSE_PAYLOAD_TOO_LARGE)
    return str(answer)


def _told(error: RpcError | rtc.RpcError, about: structlog.typing.FilteringBoundLogger) -> rtc.RpcError:
    code = error.rpc_code if isinstance(error, RpcError) else error.code
    try:
        wire_bytes("the error's message", error.message)
        wire_bytes("the error's data", error.data or "")
        check_rpc_code(code)
    except InvalidSettings as wrong:
        about.error("rpc_handler_failed", error=str(wrong), exc_info=error)
        return _built_in(Code.APPLICATION_ERROR)
    return rtc.RpcError(code, error.message, error.data)


def _built_in(code: Code) -> rtc.RpcError:
    return rtc.RpcError(code, rtc.RpcError.ErrorMessage[code])


def _failed(error: rtc.RpcError, identity: str, method: str) -> RpcError:
    """The SDK's own words are replaced by what to do; those of another's handler are passed on."""
    message = error.message
    for code, what in _WHAT_TO_DO.items():
        if (error.code, message) == (code, rtc.RpcError.ErrorMessage[code]):
            message = f"{method!r} of {identity!r}: {what}"
    return RpcError(error.code, message, error.data or "")

"""One running room process, seen from the supervisor: its pipe, its replies, its end."""

import asyncio
import contextlib
import itertools
import subprocess
from collections.abc import Callable, Mapping, Sequence

import structlog

from agent.errors import RoomhandError, RoomUnavailable
from agent.service.protocol import (
    MAX_LINE_BYTES,
    Command,
    Done,
    ProtocolError,
    Reply,
    Request,
    RoomEnded,
    RoomOptions,
    StartRoom,
    Up,
    decode_up,
    encode_down,
    error_from_report,
)
from agent.service.supervision import ProcessExited
from media.errors import MediaError

COMMAND_TIMEOUT_S = 30.0  # publishing waits for the server, which may take some seconds on a bad link

log = structlog.get_logger(__name__)


class RoomFault(Exception):
    """A room's process reported `error`: it is about the room, not about the caller's token."""

    def __init__(self, error: RoomhandError | MediaError) -> None:
        super().__init__(str(error))
        self.error = error


class RoomChild:
    """A process that runs one room. `on_message` gets all it says but replies, which go to their callers."""

    def __init__(self, process: asyncio.subprocess.Process, on_message: Callable[[Up], None]) -> None:
        self._process = process
        self._on_message = on_message
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._ended: RoomEnded | None = None
        self._over = False

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        options: RoomOptions,
        on_message: Callable[[Up], None],
    ) -> "RoomChild":
        """Start the process and tell it its room. Raises OSError when it cannot be started."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for the supervisor, which drains the rooms in order
        )
        child = cls(process, on_message)
        child._write(encode_down(StartRoom(options)))
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def call(self, command: Command) -> Done:
        """Have `command` carried out.

        Raises RoomFault with the error the room reported, or RoomUnavailable when it died or kept silent.
        """
        if self._over:
            raise _died()
        number = next(self._ids)
        waiting: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._write(encode_down(Request(number, command)))
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                return await waiting
        except TimeoutError as error:
            raise RoomUnavailable(
                f"the room's process did not answer within {COMMAND_TIMEOUT_S:.0f} s; look at its state and try again"
            ) from error
        finally:
            self._waiting.pop(number, None)

    def _write(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        if not stdin.is_closing():
            stdin.write(line)  # lines are small and answered one by one, so the pipe's buffer stays small

    async def run(self) -> ProcessExited:
        """Read what the process says until it ends; every caller that still waits is told."""
        try:
            await self._read()
            returncode = await self._process.wait()
        except asyncio.CancelledError:
            self.kill()
            await self._process.wait()
            raise
        finally:
            self._over = True
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(_died())
        return ProcessExited(returncode, self._ended)

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while True:
            try:
                line = await stdout.readline()
            except ValueError:  # longer than MAX_LINE_BYTES
                log.exception("room_line_too_long", pid=self.pid, limit_bytes=MAX_LINE_BYTES)
                self.kill()
                return
            if not line:
                return
            try:
                self._take(decode_up(line))
            except ProtocolError:
                log.exception("room_line_unreadable", pid=self.pid)

    def _take(self, message: Up) -> None:
        if isinstance(message, Reply):
            self._settle(message)
            return
        if isinstance(message, RoomEnded):
            self._ended = message
        self._on_message(message)

    def _settle(self, reply: Reply) -> None:
        waiting = self._waiting.get(reply.id)
        if waiting is None or waiting.done():
            return
        if reply.error is not None:
            waiting.set_exception(RoomFault(error_from_report(reply.error)))
        else:
            waiting.set_result(reply.done or Done())

    def terminate(self) -> None:
        """Ask it to drain; nothing when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it at once; nothing when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def _died() -> RoomUnavailable:
    return RoomUnavailable("the room's process died before it answered; it is being started again, so try again")

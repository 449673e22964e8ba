"""The other processes of a demo: a LiveKit server, a publisher and the service, each a `roomhand` command."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from agent.errors import ServerUnavailable
from agent.service.local_server import end_with_parent
from media.json_text import parse_json

STOP_TIMEOUT_S = 30.0  # the service drains its rooms for up to 20 s


class RoomhandProcess:
    """One `roomhand` command running beside us, with its log in a file."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log_file: Path) -> None:
        self._arguments = arguments
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self.log_file = log_file

    async def start(self) -> "RoomhandProcess":
        """Start it; its standard output stays readable line by line."""
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                "from agent.cli import main; main()",
                *self._arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                preexec_fn=end_with_parent,
                start_new_session=True,  # Ctrl-C is the demo's: it ends them in order
            )
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.returncode is None

    async def read_json(self, timeout_s: float) -> dict[str, object]:
        """Its next line of JSON; ServerUnavailable, with the end of its log, when none comes."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                while line := await self._process.stdout.readline():
                    if line.startswith(b"{"):
                        document = parse_json(line)
                        assert isinstance(document, dict)
                        return document
        except TimeoutError:
            reason = f"said nothing for {timeout_s:.0f} s"
        else:
            reason = f"ended with exit code {await self._process.wait()}"
        tail = self.log_file.read_text(errors="replace")[-1500:]
        raise ServerUnavailable(f"`roomhand {self._arguments[0]}` {reason}; its log {self.log_file} ends:\n{tail}")

    async def stop(self) -> int:
        """Ask it to end and wait; its exit code."""
        process = self._process
        assert process is not None
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
        assert process.returncode is not None
        return process.returncode


async def start_in(stack: AsyncExitStack, process: RoomhandProcess) -> RoomhandProcess:
    """Start `process` and have `stack` stop it."""
    await process.start()
    stack.push_async_callback(process.stop)
    return process

"""A publisher in a process of its own, behind a narrow link or short of CPU: what it decides."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.credentials import Credentials

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Sender:
    """A publisher's process: what it decided so far."""

    pid: int
    decisions: list[dict[str, object]] = field(default_factory=list)
    pre_encoded: dict[str, int] = field(default_factory=dict)

    def lines(self) -> object:
        """The lines that it sends now; None is as published."""
        return self.decisions[-1]["lines"] if self.decisions else None

    async def cores(self, seconds: float) -> float:
        """What it takes of a processor over so long."""
        before = self._cpu_s()
        await asyncio.sleep(seconds)
        return (self._cpu_s() - before) / seconds

    def _cpu_s(self) -> float:
        user, system = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / TICKS


@asynccontextmanager
async def watched_sender(
    inside: tuple[str, ...], server: Credentials, room: str, *more: str, source: str
) -> AsyncIterator[Sender]:
    """It publishes `source` until the block ends. `inside` are words before the command."""
    process = await asyncio.create_subprocess_exec(
        *(*inside, sys.executable, "-m", "tests.integration.publisher_behind_link", f"--room={room}"),
        *(f"--source={source}", f"--url={server.url}", f"--key={server.api_key}", f"--secret={server.api_secret}"),
        *more,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    sender = Sender(process.pid)
    reading = asyncio.create_task(_read(process, sender), name="sender.decisions")
    try:
        yield sender
    finally:
        process.terminate()
        await process.wait()
        await reading


async def _read(process: asyncio.subprocess.Process, sender: Sender) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        told = json.loads(line)
        if "pre_encoded" in told:
            sender.pre_encoded = told["pre_encoded"]
        else:
            sender.decisions.append(told)

"""`roomhand` as people type it: in a process of its own, in a folder of its own."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.credentials import Credentials
from agent.errors import EXIT_CODES

ROOMHAND = (sys.executable, "-c", "from agent.cli import main; main()")


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """Its last line of JSON."""
        return json.loads(self.out.strip().splitlines()[-1])


class CommandLine:
    """Runs `roomhand` in a folder of its own against a server."""

    def __init__(self, server: Credentials | None, folder: Path, **extra: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LIVEKIT_", "ROOMHAND_"))}
        livekit = {}
        if server:
            livekit = {
                "LIVEKIT_URL": server.url,
                "LIVEKIT_API_KEY": server.api_key,
                "LIVEKIT_API_SECRET": server.api_secret,
            }
        self.folder = folder
        self._environment = {
            **kept,
            **livekit,
            "ROOMHAND_STATE_DIR": str(folder / "state"),
            "ROOMHAND_SEGMENT_DURATION_S": "2",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **extra,
        }

    async def start(self, *arguments: str, behind: tuple[str, ...] = ()) -> asyncio.subprocess.Process:
        """Start it; `behind` are words to put before the command, as those of a network namespace."""
        return await asyncio.create_subprocess_exec(
            *behind,
            *ROOMHAND,
            *arguments,
            env=self._environment,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> Finished:
        """Run it to its end."""
        process = await self.start(*arguments)
        async with asyncio.timeout(90):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), err.decode())


def expect(finished: Finished, code: str, *words: str) -> None:
    """One clear line on standard error, the right exit code, and no traceback."""
    assert finished.code == EXIT_CODES[code], finished.err
    last = finished.err.strip().splitlines()[-1]
    assert last.startswith("roomhand: ")
    assert last.endswith(f"[{code}]")
    assert "Traceback" not in finished.err
    assert "eyJ" not in finished.err, "no token may be shown"
    for word in words:
        assert word in last


async def line_with(stream: asyncio.StreamReader, words: str, *, timeout_s: float = 60) -> None:
    """Once a line with `words` came; fails with the last lines after `timeout_s`, and where the stream ends before."""
    seen: list[str] = []
    try:
        async with asyncio.timeout(timeout_s):
            while words not in (seen or [""])[-1]:
                line = await stream.readline()
                assert line, seen[-40:]
                seen.append(line.decode())
    except TimeoutError as error:
        raise AssertionError(f"no line has {words!r}: {''.join(seen[-40:])}") from error

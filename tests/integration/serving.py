"""`roomhand serve` as people run it: the command, in a process of its own, over a real LiveKit server."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agent.credentials import Credentials
from agent.tokens import ServiceGrants, mint_service_token

ALL_GRANTS = ServiceGrants(room_admin=True, room_record=True, room_list=True, room_create=True)
WAIT_S = 60.0  # a room's process takes seconds to load on a machine that is busy with other tests
ROOMHAND = (sys.executable, "-c", "import sys; from agent.cli import main; sys.exit(main())")


@dataclass(frozen=True, slots=True)
class Serving:
    """A running service and a client that may do anything."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    log: Path

    async def room(self, name: str) -> dict[str, Any]:
        """The room as the API shows it."""
        answer = await self.client.get(f"/v1/rooms/{name}")
        shown: dict[str, Any] = answer.json()
        return shown

    async def until(self, name: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The room once `condition` holds."""
        async with asyncio.timeout(WAIT_S):
            while not condition(shown := await self.room(name)):  # noqa: ASYNC110 - it happens in other processes
                await asyncio.sleep(0.2)
        return shown


def service_environment(server: Credentials, folder: Path) -> dict[str, str]:
    """Settings of a service that keeps everything in `folder`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LIVEKIT_", "ROOMHAND_"))}
    return {
        **kept,
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": server.api_key,
        "LIVEKIT_API_SECRET": server.api_secret,
        "ROOMHAND_STATE_DIR": str(folder / "state"),
        "ROOMHAND_RECORDINGS_DIR": str(folder / "recordings"),
        "ROOMHAND_EXPORTS_DIR": str(folder / "exports"),
        "ROOMHAND_SOURCES_DIR": str(folder / "sources"),
        "ROOMHAND_SEGMENT_DURATION_S": "2",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }


@asynccontextmanager
async def serving(server: Credentials, folder: Path) -> AsyncIterator[Serving]:
    """A service on a free port, killed in the end if it still runs."""
    log = folder / "serve.log"
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            *ROOMHAND,
            "serve",
            "--port",
            "0",
            "--json",
            env=service_environment(server, folder),
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            cwd=folder,
        )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
        assert line, log.read_text()
        headers = {"Authorization": f"Bearer {mint_service_token(server, ALL_GRANTS)}"}
        async with httpx.AsyncClient(
            base_url=json.loads(line)["url"], headers=headers, trust_env=False, timeout=WAIT_S
        ) as client:
            yield Serving(process, client, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()

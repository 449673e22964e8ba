"""`roomhand server`: a local LiveKit server for trials and tests."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.config import load_settings
from agent.errors import ServerUnavailable

PARENT_POLL_S = 1.0  # where the kernel tells nothing of the parent's death


def server(
    json_output: JsonOption = False,
    prepare: Annotated[bool, typer.Option("--prepare", help="Find or build the server, then stop.")] = False,
    log_file: Annotated[Path | None, typer.Option(help="Where the server's own log goes.")] = None,
) -> None:
    """Run a LiveKit server on loopback with free ports and a random secret until stopped."""
    output = Output(as_json=json_output)
    settings = load_settings()
    if settings.has_server:
        credentials = settings.credentials()
        output.note(f"LIVEKIT_URL is set: using the server at {credentials.url}")
        if json_output and not prepare:
            output.document(
                {
                    "url": credentials.url,
                    "api_key": credentials.api_key,
                    "api_secret": credentials.api_secret,
                    "pid": None,
                }
            )
        return
    from agent.service.local_server import find_server

    binary = find_server(settings.cache_dir, output.note)
    if prepare:
        output.note(f"LiveKit server: {binary}")
        return
    asyncio.run(_run(binary, output, log_file))


async def _run(binary: Path, output: Output, log_file: Path | None) -> None:
    from agent.service.local_server import LocalServer, end_with_parent

    parent = os.getppid()
    end_with_parent()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    local = LocalServer(binary, log_file=log_file)
    async with local as running:
        if output.as_json:
            output.document(running.as_dict())
        else:
            output.text(f"LiveKit server at {running.credentials.url} (pid {running.pid}). In another terminal:")
            output.text(f"  export LIVEKIT_URL={running.credentials.url}")
            output.text(f"  export LIVEKIT_API_KEY={running.credentials.api_key}")
            output.text(f"  export LIVEKIT_API_SECRET={running.credentials.api_secret}")
        ended = asyncio.create_task(local.wait(), name="server.wait")
        orphaned = asyncio.create_task(_until_orphaned(parent), name="server.parent")
        stopped = asyncio.create_task(stop.wait(), name="server.stop")
        _done, pending = await asyncio.wait({ended, orphaned, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if not stop.is_set() and not orphaned.done():
            raise ServerUnavailable("the LiveKit server ended by itself; give --log-file to see what it says")


async def _until_orphaned(parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - there is nothing to wait on where prctl is missing
        await asyncio.sleep(PARENT_POLL_S)

"""`roomhand serve`: the supervisor with its control API."""

import asyncio
from typing import Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.config import load_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default ROOMHAND_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 for any; default ROOMHAND_PORT.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Run rooms, each in a process of its own, with an HTTP API, events and metrics, until stopped."""
    from agent.service.serve import run_service

    output = Output(as_json=json_output)

    def on_listening(url: str) -> None:
        if json_output:
            output.document({"url": url})
        else:
            output.note(f"roomhand serves at {url}")

    changes = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    asyncio.run(run_service(load_settings().model_copy(update=changes), on_listening=on_listening))

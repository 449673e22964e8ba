"""One real LiveKit server for all integration tests of a worker process."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import load_settings
from agent.credentials import Credentials
from agent.service.local_server import LocalServer, find_server


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The local server's binary, built if need be."""
    return find_server(load_settings().cache_dir, print)


@pytest.fixture(scope="session")
def livekit_server(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Credentials]:
    """Credentials of a server that runs while the tests do; LIVEKIT_URL and its fellows come first."""
    settings = load_settings()
    if settings.has_server:
        yield settings.credentials()
        return
    server = LocalServer(server_binary, log_file=tmp_path_factory.mktemp("livekit") / "server.log")
    with asyncio.Runner() as runner:
        yield runner.run(server.start()).credentials
        runner.run(server.aclose())

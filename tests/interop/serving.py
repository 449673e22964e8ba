"""The real API on loopback, over finished exports."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from agent.api.app import create_app
from agent.api.service import Exports
from agent.credentials import Credentials
from agent.service.http_server import HttpServer, address_of, bind
from agent.tokens import ServiceGrants, mint_service_token
from tests.agent.api.fake_service import CREDENTIALS, fake_service

_RECORDER = ServiceGrants(identity="viewer", room_record=True)


@dataclass(frozen=True)
class Served:
    """Where the API is."""

    url: str

    def token(
        self, grants: ServiceGrants = _RECORDER, *, ttl_s: float = 600, credentials: Credentials = CREDENTIALS
    ) -> str:
        """An access token; by default one that may see recordings."""
        return mint_service_token(credentials, grants, ttl_s=ttl_s)

    def player(self, export_id: str, token: str | None = None) -> str:
        """The address of the player page."""
        token = self.token() if token is None else token
        return f"{self.url}/player?export={export_id}#token={token}"


@contextlib.asynccontextmanager
async def serve(exports: Exports, folder: Path) -> AsyncIterator[Served]:
    """Serve the API over `exports`. The rooms are fakes; they have nothing to do with playback."""
    service = replace(fake_service(folder).service, exports=exports)
    listening = bind("127.0.0.1", 0)
    server = HttpServer(create_app(service), listening)
    await server.start()
    try:
        yield Served(address_of(listening))
    finally:
        await server.aclose()

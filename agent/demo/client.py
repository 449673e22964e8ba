"""The demo's way to the service: its control API, with a token like any other caller."""

from typing import Any

import httpx

from agent.errors import RoomhandError, ServerUnavailable
from media.json_text import parse_json

TIMEOUT_S = 60.0  # the service itself answers a start after 30 s


class ControlClient:
    """Calls the control API. Raises RoomhandError with the API's own message where it refuses.

    ServerUnavailable where it does not answer.
    """

    def __init__(self, base_url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, trust_env=False
        )

    async def __aenter__(self) -> "ControlClient":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return self._read(await self._send("GET", path))

    async def get_text(self, path: str) -> str:
        """The text at `path`."""
        response = await self._send("GET", path)
        if response.is_error:
            self._read(response)
        return response.text

    async def post(self, path: str, body: object = None) -> Any:
        """Post `body` as JSON."""
        return self._read(await self._send("POST", path, body))

    async def put(self, path: str, body: object) -> Any:
        """Put `body` as JSON."""
        return self._read(await self._send("PUT", path, body))

    async def delete(self, path: str) -> Any:
        """Delete what is at `path`."""
        return self._read(await self._send("DELETE", path))

    async def _send(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            return await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServerUnavailable(
                f"the service did not answer {method} {path} ({type(error).__name__}); its log is in the demo's folder"
            ) from error

    @staticmethod
    def _read(response: httpx.Response) -> Any:
        if response.is_error:
            try:
                message = parse_json(response.content)["error"]["message"]
            except (ValueError, KeyError, TypeError):
                message = response.text[:300]
            raise RoomhandError(f"{response.request.method} {response.url.path}: {response.status_code} {message}")
        return parse_json(response.content) if response.content else None

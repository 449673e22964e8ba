"""The demo's way to the service: its control API, with a token like any other caller."""

from typing import Any

import httpx

from agent.errors import RoomhandError


class ControlClient:
    """Calls the control API. Raises RoomhandError with the API's own message where it refuses."""

    def __init__(self, base_url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=30.0, trust_env=False
        )

    async def __aenter__(self) -> "ControlClient":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return self._read(await self._client.get(path))

    async def get_text(self, path: str) -> str:
        """The text at `path`."""
        response = await self._client.get(path)
        if response.is_error:
            self._read(response)
        return response.text

    async def post(self, path: str, body: object = None) -> Any:
        """Post `body` as JSON."""
        return self._read(await self._client.post(path, json=body))

    async def put(self, path: str, body: object) -> Any:
        """Put `body` as JSON."""
        return self._read(await self._client.put(path, json=body))

    async def delete(self, path: str) -> Any:
        """Delete what is at `path`."""
        return self._read(await self._client.delete(path))

    @staticmethod
    def _read(response: httpx.Response) -> Any:
        if response.is_error:
            try:
                message = response.json()["error"]["message"]
            except (ValueError, KeyError, TypeError):
                message = response.text[:300]
            raise RoomhandError(f"{response.request.method} {response.url.path}: {response.status_code} {message}")
        return response.json() if response.content else None

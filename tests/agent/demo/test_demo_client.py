"""The demo's way to the service: what it says of one that is not there."""

import pytest

from agent.demo.client import ControlClient
from agent.errors import ServerUnavailable


async def test_a_service_that_is_gone_is_a_clear_error() -> None:
    async with ControlClient("http://127.0.0.1:1", "token") as client:
        with pytest.raises(ServerUnavailable, match="did not answer POST /v1/rooms"):
            await client.post("/v1/rooms", {})

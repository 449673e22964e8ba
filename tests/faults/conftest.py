"""The real LiveKit server of the integration tests, for faults too, and a network that only the tests touch."""

import pytest
from aioice import ice

from tests.integration.conftest import livekit_server, server_binary

__all__ = ["livekit_server", "server_binary"]


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taps use loopback: interfaces that come and go on the machine would be faults that nobody planned."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda **_families: ["127.0.0.1"])

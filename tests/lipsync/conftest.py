"""The integration tests' server is used here too."""

from tests.integration.conftest import livekit_server, server_binary

__all__ = ["livekit_server", "server_binary"]

"""Where a LiveKit server is, and the key that signs tokens for it. Every command needs it: it loads no SDK."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from agent.errors import InvalidSettings


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a LiveKit server is and what signs tokens for it. `repr` keeps the secret out."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise InvalidSettings(
                f"LIVEKIT_URL is {self.url!r}; give a ws:// or wss:// address, like ws://127.0.0.1:7880"
            )
        if not self.api_key or not self.api_secret:
            raise InvalidSettings("set LIVEKIT_API_KEY and LIVEKIT_API_SECRET, both from your LiveKit server")

    @property
    def http_url(self) -> str:
        """The same server for HTTP calls."""
        parts = urlsplit(self.url)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        return urlunsplit((scheme, parts.netloc, parts.path, "", ""))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"ws", "wss", "http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half a pair of brackets, or a port that is none
        return False

"""Asking a server whether it would let us in, and saying clearly why not.

The SDK's own error text carries the whole token and does not tell a wrong key from an expired token;
livekit-server's `/rtc/validate` answers with a status and a short text (seen on 1.13: 401 for all
three of `invalid API key: …`, `invalid token: …` and `permissions denied`).
"""

import contextlib
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit

import httpx
import jwt

from agent.errors import InvalidSettings, PermissionDenied, RoomhandError, ServerUnreachable, TokenExpired, Unauthorized

PROBE_TIMEOUT_S = 5.0
PROBE_ATTEMPTS = 3  # a server that is there but slow to answer is asked again; one that refuses is not


def validate_url(url: str) -> str:
    """The HTTP address of `/rtc/validate` at the server of `url` (ws, wss, http or https)."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/rtc/validate", "", ""))


def refusal(status: int, text: str, token: str, *, server: str, now: float) -> RoomhandError | None:
    """The error that a server's answer means; None where it would let us in, or says nothing of use.

    `text` is looked at but never shown: it may quote the token.
    """
    if status < HTTPStatus.BAD_REQUEST or status == HTTPStatus.NOT_FOUND:
        return None
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        if "permission" in text.lower():
            return PermissionDenied("the access token does not allow joining this room; mint one with roomJoin for it")
        if _expired(token, now):
            return TokenExpired("the access token has expired; make a new one")
        return Unauthorized(
            f"{server} refused the access token; check that LIVEKIT_API_KEY and LIVEKIT_API_SECRET are this server's"
        )
    if status == HTTPStatus.BAD_REQUEST:
        return not_taken(server)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerUnreachable(f"{server} answers with HTTP status {status}; try again when it is well")
    return None


def not_taken(server: str) -> InvalidSettings:
    """What HTTP status 400 to a join means."""
    return InvalidSettings(
        f"{server} does not take what the access token says (HTTP status 400); "
        "give room and identity names that are not empty and not too long"
    )


def _expired(token: str, now: float) -> bool:
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return False
    expires_at = claims.get("exp")
    return isinstance(expires_at, int | float) and expires_at <= now


async def check_admission(url: str, token: str, *, now: float) -> None:
    """Raise what would keep `token` out of the server at `url`; return if nothing is known to.

    Raises Unauthorized, TokenExpired, PermissionDenied, InvalidSettings or ServerUnreachable.
    """
    server = urlsplit(url).netloc
    try:
        answer = await _ask(validate_url(url), token)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ServerUnreachable(
            f"{url!r} is no address of a LiveKit server; give one like ws://127.0.0.1:7880"
        ) from error
    except httpx.TransportError as error:
        if "certificate" in str(error).lower():
            # The SDK has certificate roots of its own; let it decide.
            return
        raise ServerUnreachable(
            f"no LiveKit server answers at {server} ({type(error).__name__}); check LIVEKIT_URL, or start one"
        ) from error
    error_found = refusal(answer.status_code, answer.text, token, server=server, now=now)
    if error_found is not None:
        raise error_found


async def _ask(url: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S, headers=headers) as client:
        for _ in range(PROBE_ATTEMPTS - 1):
            with contextlib.suppress(httpx.ReadTimeout):
                return await client.get(url)
        return await client.get(url)

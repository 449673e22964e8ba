"""Tokens that callers bring: what is said of those that are refused."""

import time

import jwt
import pytest

from agent.credentials import Credentials
from agent.errors import TokenExpired, Unauthorized
from agent.tokens import verify_service_token

CREDENTIALS = Credentials("ws://127.0.0.1:1", "APIkey", "a-secret-of-at-least-32-characters")


def token(secret: str = CREDENTIALS.api_secret, **claims: object) -> str:
    now = int(time.time())
    usual = {"iss": CREDENTIALS.api_key, "nbf": now, "exp": now + 600, "video": {"roomList": True}}
    kept = {name: value for name, value in {**usual, **claims}.items() if value != "left out"}
    return jwt.encode(kept, secret, algorithm="HS256")


def test_clocks_may_differ_by_a_minute() -> None:
    now = int(time.time())
    assert verify_service_token(CREDENTIALS, token(nbf=now + 30)).room_list
    assert verify_service_token(CREDENTIALS, token(exp=now - 30)).room_list
    with pytest.raises(TokenExpired):
        verify_service_token(CREDENTIALS, token(exp=now - 90))


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"nbf": int(time.time()) + 3600}, "not valid yet; set the clocks"),
        ({"exp": "left out"}, "has no exp"),
        ({"video": None}, "grants cannot be read"),
        ({"secret": "another-secret-of-at-least-32-chars"}, "was not signed with"),
    ],
)
def test_who_is_refused_is_told_why(claims: dict[str, object], said: str) -> None:
    with pytest.raises(Unauthorized, match=said):
        verify_service_token(CREDENTIALS, token(**claims))  # type: ignore[arg-type]  # the secret is a string

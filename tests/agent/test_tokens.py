"""Tokens that callers bring: what is said of those that are refused."""

import time

import jwt
import pytest

from agent import RoomRequest
from agent.credentials import Credentials
from agent.errors import InvalidSettings, PermissionDenied, RoomhandError, TokenExpired, Unauthorized
from agent.room_tokens import tap_identity, tap_token
from agent.tokens import (
    MAX_IDENTITY_BYTES,
    ParticipantTokenRequest,
    check_join_token,
    mint_participant_token,
    verify_service_token,
)

CREDENTIALS = Credentials("ws://127.0.0.1:1", "APIkey", "a-secret-of-at-least-32-characters")

LATER = 4_000_000_000


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


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (ParticipantTokenRequest("r" * 257, "x"), "room's name has 257 bytes"),
        (ParticipantTokenRequest("r", "\xe9" * 200), "identity has 400 bytes; 256 are allowed"),
        (ParticipantTokenRequest("r", "\ud800"), "identity has half a character"),
        (ParticipantTokenRequest("r", "x", name="n" * 257), "name has 257 characters"),
        (ParticipantTokenRequest("r", "x", metadata="m" * 600_000), "metadata of 600000 bytes"),
        (ParticipantTokenRequest("r", "x", attributes={"a": "x" * 70_000}), "attributes would take 70001 bytes"),
        (ParticipantTokenRequest("r", "x", attributes={"a": 1}), "attribute 'a' is int"),  # type: ignore[dict-item]
    ],
)
def test_what_no_server_takes_is_not_minted(request_: ParticipantTokenRequest, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        mint_participant_token(CREDENTIALS, request_)


@pytest.mark.parametrize("identity", ["x" * 252, "x" * 253, "x" * 256, "\xe9" * 128])
def test_a_recorder_beside_a_long_identity_has_one_that_fits(identity: str) -> None:
    _, told = check_join_token(tap_token(CREDENTIALS, RoomRequest("r", identity)), now=0)
    assert told == tap_identity(identity) != tap_identity(identity[:-1] + "y")
    assert told.endswith("-tap")
    assert len(told.encode()) <= MAX_IDENTITY_BYTES


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({}, None),
        ({"exp": LATER - 30}, None),  # clocks differ: the server decides
        ({"exp": LATER - 90}, TokenExpired),
        ({"video": {"room": "r"}}, PermissionDenied),
        ({"video": "all"}, PermissionDenied),
        ({"video": {"roomJoin": True}}, PermissionDenied),
        ({"sub": ""}, PermissionDenied),
    ],
)
def test_what_a_token_to_join_with_says(claims: dict[str, object], error: type[RoomhandError] | None) -> None:
    usual = {"sub": "ada", "exp": LATER, "video": {"roomJoin": True, "room": "r"}}
    brought = token(**{**usual, **claims})  # type: ignore[arg-type]  # the secret is the usual one
    if error is None:
        assert check_join_token(brought, now=LATER) == ("r", "ada")
        return
    with pytest.raises(error):
        check_join_token(brought, now=LATER)

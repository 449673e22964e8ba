"""What a server's answer to a join means, and what we may do once inside."""

import asyncio
import contextlib

import jwt
import pytest
from livekit import rtc

from agent.errors import InvalidSettings, PermissionDenied, RoomhandError, ServerUnreachable, TokenExpired, Unauthorized
from agent.room.convert import connect_error
from agent.room.permissions import Permissions
from agent.room.probe import PROBE_ATTEMPTS, check_admission, refusal, validate_url
from quality.stats import TrackSource

NOW = 1_800_000_000.0


def token(expires_at: float) -> str:
    return jwt.encode({"exp": int(expires_at), "sub": "someone"}, "x" * 32, algorithm="HS256")


VALID, EXPIRED = token(NOW + 60), token(NOW - 60)


@pytest.mark.parametrize(
    ("status", "text", "used", "expected"),
    [
        (200, "success", VALID, None),
        (404, "404 page not found", VALID, None),
        (401, "invalid API key: APIx", VALID, Unauthorized),
        (401, "invalid token: {token}, error: signature", VALID, Unauthorized),
        (401, "invalid token: {token}, error: expired", EXPIRED, TokenExpired),
        (401, "invalid authorization token", "garbage", Unauthorized),
        (401, "permissions denied", VALID, PermissionDenied),
        (403, "", VALID, Unauthorized),
        (400, "participant identity length exceeds limits: max length 256", VALID, InvalidSettings),
        (503, "", VALID, ServerUnreachable),
        (429, "", VALID, None),
    ],
)
def test_answers(status: int, text: str, used: str, expected: type[RoomhandError] | None) -> None:
    error = refusal(status, text.replace("{token}", used), used, server="127.0.0.1:7880", now=NOW)
    assert (type(error) if error else None) is expected
    assert used not in str(error)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://host:7880", "http://host:7880/rtc/validate"),
        ("wss://host/", "https://host/rtc/validate"),
        ("https://host/path", "https://host/path/rtc/validate"),
    ],
)
def test_where_to_ask(url: str, expected: str) -> None:
    assert validate_url(url) == expected


@pytest.mark.parametrize(("silent", "error"), [(1, None), (PROBE_ATTEMPTS, ServerUnreachable)])
async def test_a_server_that_is_slow_to_answer_is_asked_again(
    silent: int, error: type[RoomhandError] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.room.probe.PROBE_TIMEOUT_S", 0.2)
    asked: list[bytes] = []
    answering: list[asyncio.Task[object] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.current_task())
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if len(asked) > silent:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nsuccess")
        await reader.read()  # until the client has gone
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with contextlib.ExitStack() as stack:
            if error is not None:
                stack.enter_context(pytest.raises(error, match="ReadTimeout"))
            await check_admission(f"ws://127.0.0.1:{port}", VALID, now=NOW)
        await asyncio.gather(*filter(None, answering))
    assert len(asked) == min(silent + 1, PROBE_ATTEMPTS)
    assert all(f"Bearer {VALID}".encode() in item for item in asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"engine: signal failure: client error: 401 Unauthorized - invalid token: {VALID}", Unauthorized),
        ("engine: signal failure: client error: 401 Unauthorized - permissions denied", PermissionDenied),
        ("engine: signal failure: client error: 400 Bad Request - room name length exceeds limits", InvalidSettings),
        ("engine: signal failure: transport connection error: Connection refused", ServerUnreachable),
    ],
)
def test_errors_of_the_sdk_are_translated_without_their_text(text: str, expected: type[RoomhandError]) -> None:
    error = connect_error(rtc.ConnectError(text), "host:7880")
    assert type(error) is expected
    assert VALID not in str(error)


def test_permissions_name_the_grant_that_is_missing() -> None:
    everything = Permissions(can_update_metadata=True)
    everything.require_publish(TrackSource.CAMERA)
    everything.require_publish_data()
    everything.require_subscribe()
    everything.require_update_metadata()
    nothing = Permissions(can_subscribe=False, can_publish=False, can_publish_data=False)
    with pytest.raises(PermissionDenied, match="canPublish"):
        nothing.require_publish(TrackSource.CAMERA)
    with pytest.raises(PermissionDenied, match="canPublishData"):
        nothing.require_publish_data()
    with pytest.raises(PermissionDenied, match="canSubscribe"):
        nothing.require_subscribe()
    with pytest.raises(PermissionDenied, match="canUpdateOwnMetadata"):
        nothing.require_update_metadata()


def test_only_some_sources_may_be_published() -> None:
    only_sound = Permissions(can_publish_sources=(TrackSource.MICROPHONE,))
    only_sound.require_publish(TrackSource.MICROPHONE)
    with pytest.raises(PermissionDenied, match="only microphone, not camera"):
        only_sound.require_publish(TrackSource.CAMERA)


def test_who_is_hidden_publishes_no_tracks_that_nobody_would_see() -> None:
    hidden = Permissions(hidden=True)
    hidden.require_publish_data()
    with pytest.raises(PermissionDenied, match="join without hidden"):
        hidden.require_publish(TrackSource.CAMERA)
    with pytest.raises(PermissionDenied, match="join without hidden"):
        hidden.require_publish_data_track()


def test_the_clock_decides_what_is_expired() -> None:
    assert isinstance(refusal(401, "invalid token", VALID, server="s", now=NOW + 61), TokenExpired)

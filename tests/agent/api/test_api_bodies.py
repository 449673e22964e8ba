"""Bodies that are no JSON, sent over a real connection: one answer, whatever is wrong with them."""

import base64
from collections.abc import AsyncIterator

import httpx
import pytest

from agent.service.http_server import HttpServer, address_of, bind
from tests.agent.api.fake_service import FakeService, bearer

DEEP = b"[" * 100_000


@pytest.fixture
async def client(api: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    listening = bind("127.0.0.1", 0)
    http = HttpServer(api.app, listening)
    await http.start()
    async with httpx.AsyncClient(
        base_url=address_of(listening), headers=bearer(), timeout=30.0, trust_env=False
    ) as found:
        yield found
    api.service.events.close()
    await http.aclose()


@pytest.mark.parametrize("path", ["/v1/rooms", "/v1/rooms/lobby/recording", "/v1/exports"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "Expecting property name enclosed in double quotes"),
        (b'{"room":"\xff"}', "it is no utf-8 text"),
        (DEEP, "arrays and objects are nested too deeply"),
        (b'{"room":' + DEEP + b"]" * len(DEEP) + b"}", "arrays and objects are nested too deeply"),
        (b'{"room":' + b"9" * 5000 + b"}", "a number has too many digits"),
    ],
)
async def test_what_is_no_json_is_invalid(client: httpx.AsyncClient, path: str, body: bytes, said: str) -> None:
    answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_settings")
    assert f": JSON decode error: {said}; see /openapi.json" in error["message"]


@pytest.mark.parametrize("depth", [150, 300, 900, 950, 980])
async def test_what_is_nested_less_deeply_is_invalid_as_well(client: httpx.AsyncClient, depth: int) -> None:
    body = b'{"room":"new","attributes":' + b"[" * depth + b"]" * depth + b"}"
    answer = await client.post("/v1/rooms", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_settings")


async def test_a_token_whose_json_cannot_be_read_is_none(client: httpx.AsyncClient) -> None:
    token = base64.urlsafe_b64encode(DEEP[:9_000]).decode()
    answer = await client.get("/v1/rooms", headers={"Authorization": f"Bearer {token}.{token}.{token}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")

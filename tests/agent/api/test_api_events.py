"""Events as SSE, over a real connection: what happened, in order, what was missed, and how streams end."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import httpx
import pytest

from agent.service.http_server import HttpServer, address_of, bind
from tests.agent.api.fake_service import ALL_GRANTS, FakeService, bearer

WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One event as a client sees it."""

    event: str
    id: str
    data: dict[str, object]


@pytest.fixture
async def server(api: FakeService) -> AsyncIterator[tuple[FakeService, str]]:
    listening = bind("127.0.0.1", 0)
    http = HttpServer(api.app, listening)
    await http.start()
    yield api, address_of(listening)
    api.service.events.close()
    await http.aclose()


async def read(response: httpx.Response, count: int) -> list[Sent]:
    """The next `count` events."""
    found: list[Sent] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(WAIT_S):
        async for line in response.aiter_lines():
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            found.append(Sent(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])))
            fields = {}
            if len(found) == count:
                break
    return found


def stream(address: str, headers: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address, headers=headers, timeout=WAIT_S, trust_env=False)


async def opened(api: FakeService) -> None:
    """Wait until a client listens: what comes after is for it."""
    async with asyncio.timeout(WAIT_S):
        while not api.service.events._listeners:  # noqa: ASYNC110 - the stream has no other sign of being there
            await asyncio.sleep(0.01)


async def test_events_come_as_they_happen(server: tuple[FakeService, str]) -> None:
    api, address = server
    api.service.events.append("before", "lobby", 1.0)
    async with stream(address, bearer()) as client, client.stream("GET", "/v1/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        await opened(api)
        api.service.events.append("track_published", "lobby", 2.0, {"text": "line\nbreak ☕"})
        api.service.events.append("room_ended", "other", 3.0)
        events = await read(response, 2)
    assert events == [
        Sent("track_published", "boot-2", {"room": "lobby", "at": 2.0, "text": "line\nbreak ☕"}),
        Sent("room_ended", "boot-3", {"room": "other", "at": 3.0}),
    ]


@pytest.mark.parametrize("by_token", [True, False])
async def test_one_room_is_told_of_alone(server: tuple[FakeService, str], by_token: bool) -> None:
    api, address = server
    for number in range(4):
        api.service.events.append(f"e{number}", "lobby" if number % 2 else "other", 1.0)
    headers = bearer(replace(ALL_GRANTS, room="lobby")) if by_token else bearer()
    path = "/v1/events" if by_token else "/v1/events?room=lobby"
    async with (
        stream(address, {**headers, "Last-Event-ID": "boot-0"}) as client,
        client.stream("GET", path) as response,
    ):
        assert [item.event for item in await read(response, 2)] == ["e1", "e3"]


async def test_a_client_goes_on_where_it_was(server: tuple[FakeService, str]) -> None:
    api, address = server
    for number in range(1, 6):
        api.service.events.append(f"e{number}", "lobby", 1.0)
    headers = {**bearer(), "Last-Event-ID": "boot-3"}
    async with stream(address, headers) as client, client.stream("GET", "/v1/events") as response:
        assert [item.event for item in await read(response, 2)] == ["e4", "e5"]


async def test_a_client_that_comes_too_late_is_told_what_it_missed(server: tuple[FakeService, str]) -> None:
    api, address = server
    for number in range(1, 81):
        api.service.events.append(f"e{number}", "lobby", 1.0)
    late = {**bearer(), "Last-Event-ID": "boot-3"}
    async with stream(address, late) as client, client.stream("GET", "/v1/events") as response:
        gap, first = await read(response, 2)
    assert (gap.event, gap.data, first.event) == ("gap", {"missed": 27}, "e31")
    stranger = {**bearer(), "Last-Event-ID": "earlier-run-7"}
    async with stream(address, stranger) as client, client.stream("GET", "/v1/events") as response:
        unknown, counted = await read(response, 2)
    assert (unknown.event, unknown.data, counted.data) == ("gap", {"missed": None}, {"missed": 30})


async def test_streams_end_with_the_service(server: tuple[FakeService, str]) -> None:
    api, address = server
    async with stream(address, bearer()) as client, client.stream("GET", "/v1/events") as response:
        await opened(api)
        api.service.events.append("last", "lobby", 1.0)
        api.service.events.close()
        text = (await asyncio.wait_for(response.aread(), WAIT_S)).decode()
    assert "event: last" in text
    assert api.service.events._listeners == []


async def test_a_client_that_leaves_leaves_nothing_behind(server: tuple[FakeService, str]) -> None:
    api, address = server
    async with stream(address, bearer()) as client, client.stream("GET", "/v1/events"):
        await opened(api)
    async with asyncio.timeout(WAIT_S):
        while api.service.events._listeners:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    assert api.service.events._listeners == []

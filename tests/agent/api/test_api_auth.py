"""Who may call what: every route, with every kind of token that does not fit."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI

from agent.api.auth import GRANT_KEY
from agent.credentials import Credentials
from agent.tokens import ServiceGrants
from tests.agent.api.fake_service import ALL_GRANTS, CREDENTIALS, EXPORT_ID, FakeService, bearer

OPEN = {"/healthz", "/readyz", "/player", "/player/{name}"}
FIELD_OF_GRANT = {
    "roomList": "room_list",
    "roomAdmin": "room_admin",
    "roomCreate": "room_create",
    "roomRecord": "room_record",
}
FILLED = {
    "room": "lobby",
    "sid": "TR_1",
    "recording_id": "rec-1",
    "export_id": EXPORT_ID,
    "path": "a.m3u8",
    "track": 1,
    "name": "000001.m4s",
}


def guarded_routes() -> Iterator[tuple[str, str, str]]:
    """Method, path template and grant of each route that wants a token."""
    from pathlib import Path

    from tests.agent.api.fake_service import fake_service

    paths = fake_service(Path("unused")).app.openapi()["paths"]
    for template, methods in sorted(paths.items()):
        for method, described in methods.items():
            if template not in OPEN:
                yield method.upper(), template, described[GRANT_KEY]
    yield "GET", "/openapi.json", "any"


ROUTES = list(guarded_routes())
IDS = [f"{method} {template}" for method, template, _ in ROUTES]


async def call(api: FakeService, method: str, template: str, headers: dict[str, str]) -> httpx.Response:
    """The route's answer to an empty body."""
    async with api.client(headers) as client:
        return await client.request(method, template.format(**FILLED))


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    if answer.request.method != "HEAD":
        error = answer.json()["error"]
        assert set(error) == {"code", "message"}
        assert error["code"] == code
        assert len(error["message"]) > 20
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


def test_the_routes_are_the_documented_ones() -> None:
    assert len(ROUTES) == 42
    assert {grant for _, _, grant in ROUTES} == {*FIELD_OF_GRANT, "any"}


@pytest.mark.parametrize(("method", "template", "grant"), ROUTES, ids=IDS)
async def test_every_route_wants_a_fitting_token(api: FakeService, method: str, template: str, grant: str) -> None:
    other_key = Credentials(CREDENTIALS.url, CREDENTIALS.api_key, "another-secret-of-32-characters!!")
    other_name = Credentials(CREDENTIALS.url, "APIother", CREDENTIALS.api_secret)
    for headers in (
        {},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer x.y.z"},
    ):
        assert_refused(await call(api, method, template, headers), 401, "unauthorized")
    for credentials in (other_key, other_name):
        assert_refused(await call(api, method, template, bearer(credentials=credentials)), 401, "unauthorized")
    assert_refused(await call(api, method, template, bearer(ttl_s=-90)), 401, "token_expired")
    if grant != "any":
        lacking = with_flag(ALL_GRANTS, FIELD_OF_GRANT[grant], value=False)
        assert_refused(await call(api, method, template, bearer(lacking)), 403, "permission_denied")
    if "{room}" in template:
        elsewhere = bearer(replace(ALL_GRANTS, room="other"))
        assert_refused(await call(api, method, template, elsewhere), 403, "permission_denied")
    if template == "/v1/events":
        return  # it would stream for ever; test_api_events.py reads it
    only = ServiceGrants() if grant == "any" else with_flag(ServiceGrants(), FIELD_OF_GRANT[grant], value=True)
    for grants in (only, replace(only, room="lobby")):
        answer = await call(api, method, template, bearer(grants))
        assert answer.status_code not in {401, 403, 500}, answer.text


async def test_the_token_is_checked_before_the_body_is_read(api: FakeService) -> None:
    async with api.client() as client:
        for body in (b"{not json", b"[" * 5000, b"x" * (3 << 20)):
            answer = await client.post("/v1/rooms", content=body, headers={"Content-Type": "application/json"})
            assert_refused(answer, 401, "unauthorized")


def all_paths(app: FastAPI) -> set[str]:
    described = set(app.openapi()["paths"])
    return described | {"/player", "/player/{name}", "/openapi.json"}


async def test_what_is_open_tells_nothing(api: FakeService) -> None:
    async with api.client() as client:
        health = await client.get("/healthz")
        ready = await client.get("/readyz")
        assert (health.status_code, health.text, ready.status_code, ready.text) == (200, "ok", 200, "ready")
        heads = [await client.head(path) for path in ("/healthz", "/readyz")]
        assert [(head.status_code, head.text) for head in heads] == [(200, "")] * 2
        api.rooms.draining = True
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "draining")
    assert all_paths(api.app) >= OPEN


async def test_a_token_in_the_query_opens_files_only(api: FakeService) -> None:
    token = bearer()["Authorization"].removeprefix("Bearer ")
    async with api.client() as client:
        answer = await client.get(f"/v1/rooms?access_token={token}")
        assert_refused(answer, 401, "unauthorized")
        answer = await client.get(f"/v1/exports/{EXPORT_ID}/files/x?access_token={token}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "export_not_found")


async def test_lists_show_only_the_rooms_that_the_token_is_for(api: FakeService) -> None:
    from tests.agent.api.fake_service import make_recording

    make_recording(api, "rec-1", "lobby")
    make_recording(api, "rec-2", "other")
    async with api.client(bearer(replace(ALL_GRANTS, room="other"))) as client:
        assert (await client.get("/v1/rooms")).json() == []
        assert [item["recording_id"] for item in (await client.get("/v1/recordings")).json()] == ["rec-2"]
        assert_refused(await client.post("/v1/rooms", json={"room": "lobby"}), 403, "permission_denied")
        assert_refused(await client.get("/v1/events?room=lobby"), 403, "permission_denied")
        submitted = await client.post("/v1/exports", json={"recording_id": "rec-2"})
        assert submitted.status_code == 202
    path = f"/v1/exports/{submitted.json()['export_id']}"
    async with api.client(bearer(replace(ALL_GRANTS, room="lobby"))) as client:
        assert (await client.get("/v1/exports")).json() == []
        for answer in (await client.get(path), await client.delete(path)):
            assert_refused(answer, 404, "export_not_found")


async def test_requests_are_counted_by_route_and_never_by_path(api: FakeService) -> None:
    async with api.client(bearer()) as client:
        await client.get("/v1/rooms/lobby")
        await client.get("/v1/rooms/nowhere")
        await client.get("/no/such/path")
        await client.request("BREW", "/v1/rooms")
        text = (await client.get("/metrics")).text
    assert 'roomhand_api_requests_total{method="GET",route="/v1/rooms/{room}",status="200"} 1.0' in text
    assert 'roomhand_api_requests_total{method="GET",route="/v1/rooms/{room}",status="404"} 1.0' in text
    assert 'roomhand_api_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert "nowhere" not in text
    assert "BREW" not in text
    assert 'roomhand_rooms{state="running"} 1.0' in text


def with_flag(grants: ServiceGrants, name: str, *, value: bool) -> ServiceGrants:
    """`grants` with the one flag of that name set or cleared."""
    flags = {flag: getattr(grants, flag) for flag in ("room_admin", "room_record", "room_list", "room_create")}
    flags[name] = value
    return ServiceGrants(grants.identity, grants.room, **flags)

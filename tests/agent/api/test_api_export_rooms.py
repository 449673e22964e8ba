"""Of which room an export is, told to tokens of one room over a real connection and from a real queue's file."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agent.api.app import create_app
from agent.service.http_server import HttpServer, address_of, bind
from media.export.job import Completed, ExportResult
from media.export.queue import ExportQueue
from media.export.store import ExportStore
from media.process.output import ExportOutput, OutputFile
from tests.agent.api.fake_service import ALL_GRANTS, FakeService, bearer, make_recording


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ExportQueue]:
    found = ExportQueue(tmp_path / "state" / "exports.sqlite")
    yield found
    found.close()


@asynccontextmanager
async def served(api: FakeService, queue: ExportQueue) -> AsyncIterator[httpx.AsyncClient]:
    """The API over `queue`, as after a start of the service."""
    service = replace(api.service, exports=queue)
    listening = bind("127.0.0.1", 0)
    http = HttpServer(create_app(service), listening)
    await http.start()
    try:
        async with httpx.AsyncClient(base_url=address_of(listening), timeout=30.0, trust_env=False) as client:
            yield client
    finally:
        await http.aclose()


def complete(queue: ExportQueue, database: Path, export_id: str) -> None:
    """As a worker leaves it: with a file."""
    file = queue.status(export_id).request.out_dir / "alice.mp4"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 100)
    output = ExportOutput(
        "alice", "camera", "mp4", str(file), 0.0, 1.0, (), (OutputFile(str(file), 100, "0" * 64),), ()
    )
    ExportStore(database).apply(export_id, Completed(ExportResult((output,))))


async def seen(client: httpx.AsyncClient, room: str, url: str) -> tuple[list[str], list[int]]:
    """The ids that a token of `room` is listed, and how it is answered for the export at `url` and its file."""
    headers = bearer(replace(ALL_GRANTS, room=room))
    listed = [item["export_id"] for item in (await client.get("/v1/exports", headers=headers)).json()]
    answers = [await client.get(path, headers=headers) for path in (url, f"{url}/files/alice.mp4")]
    return listed, [answer.status_code for answer in answers]


@pytest.mark.parametrize("deleted", ["by the API", "by hand", "damaged", "replaced by one of another room"])
async def test_an_export_stays_its_rooms_whatever_becomes_of_the_recording(
    api: FakeService, queue: ExportQueue, tmp_path: Path, deleted: str
) -> None:
    path = make_recording(api, "rec-1", "lobby")
    own = bearer(replace(ALL_GRANTS, room="lobby"))
    async with served(api, queue) as client:
        url = (await client.post("/v1/exports", json={"recording_id": "rec-1"}, headers=own)).headers["location"]
        export_id = url.rpartition("/")[2]
        complete(queue, tmp_path / "state" / "exports.sqlite", export_id)
        assert await seen(client, "lobby", url) == ([export_id], [200, 200])
        match deleted:
            case "by the API":
                assert (await client.delete("/v1/recordings/rec-1", headers=own)).status_code == 204
                assert not path.exists()
            case "damaged":
                (path / "journal.jsonl").write_bytes(b"noise\n")
            case _:
                shutil.rmtree(path)
        if deleted.startswith("replaced"):
            make_recording(api, "rec-1", "other")
    async with served(api, queue) as client:
        assert await seen(client, "lobby", url) == ([export_id], [200, 200])
        assert await seen(client, "", url) == ([export_id], [200, 200])
        assert await seen(client, "other", url) == ([], [404, 404])
        stranger = bearer(replace(ALL_GRANTS, room="other"))
        assert (await client.delete(url, headers=stranger)).status_code == 404
        assert (await client.delete(url, headers=own)).status_code == 204
        assert await seen(client, "lobby", url) == ([], [404, 404])

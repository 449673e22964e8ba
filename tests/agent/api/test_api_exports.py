"""Exports through the API: requested, followed, cancelled, and their files fetched, and nothing but those."""

from pathlib import Path

import pytest

from agent.api import player
from media.export.job import ExportFormat, ExportRequest
from tests.agent.api.fake_service import EXPORT_ID, FakeService, bearer, make_recording

FILES = f"/v1/exports/{EXPORT_ID}/files"


@pytest.fixture
def complete(api: FakeService) -> Path:
    """A complete HLS export; the folder it is in."""
    recording = make_recording(api, "rec-1", "lobby")
    out_dir = api.folder / "exports" / "rec-1-abc"
    names = ("alice camera/index.m3u8", "alice camera/init.mp4", "alice camera/0001.m4s")
    for name in names:
        (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (out_dir / name).write_bytes(bytes(range(256)) * 8)
    (out_dir / "not-ours.txt").write_text("left here by somebody")
    (api.folder / "secret.txt").write_text("secret")
    request = ExportRequest(recording, ExportFormat.HLS, out_dir)
    api.exports.complete(request, *(out_dir / name for name in names))
    return out_dir


async def test_an_export_is_requested_followed_and_cancelled(api: FakeService) -> None:
    make_recording(api, "rec-1", "lobby")
    async with api.client(bearer()) as client:
        body = {"recording_id": "rec-1", "format": "hls", "participant_identity": "alice"}
        submitted = await client.post("/v1/exports", json=body)
        assert (submitted.status_code, submitted.json()["state"]) == (202, "queued")
        path = submitted.headers["location"]
        assert (await client.get(path)).json() == submitted.json()
        assert (await client.get("/v1/exports")).json() == [submitted.json()]
        assert (await client.delete(path)).json()["state"] == "aborted"
        missing = await client.post("/v1/exports", json={"recording_id": "rec-2"})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "recording_not_found")
        unknown = await client.get("/v1/exports/EX_none")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "export_not_found")
        again = await client.post("/v1/exports", json=body)
    first, second = (api.exports.status(item.json()["export_id"]).request for item in (submitted, again))
    assert first.recording_path == api.folder / "recordings" / "rec-1"
    assert first.out_dir.parent == (api.folder / "exports").absolute()
    assert first.out_dir != second.out_dir


async def test_a_complete_export_lists_urls_that_work(api: FakeService, complete: Path) -> None:
    async with api.client(bearer()) as client:
        shown = (await client.get(f"/v1/exports/{EXPORT_ID}")).json()
        (output,) = shown["outputs"]
        assert (output["entry_url"], output["duration_s"]) == (f"{FILES}/alice%20camera/index.m3u8", 12.5)
        assert str(complete) not in str(shown)
        for file in output["files"]:
            answer = await client.get(file["url"])
            assert (answer.status_code, len(answer.content)) == (200, file["size_bytes"])
        entry = await client.get(output["entry_url"])
        assert entry.headers["content-type"] == "application/vnd.apple.mpegurl"


async def test_files_come_by_ranges_and_head(api: FakeService, complete: Path) -> None:
    url = f"{FILES}/alice camera/0001.m4s"
    token = bearer()["Authorization"].removeprefix("Bearer ")
    async with api.client() as client:
        part = await client.get(url, params={"access_token": token}, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
        assert part.headers["content-range"] == "bytes 10-19/2048"
        head = await client.head(url, params={"access_token": token})
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "2048", b"")
        past = await client.get(url, params={"access_token": token}, headers={"Range": "bytes=9999-"})
        assert past.status_code == 416


@pytest.mark.parametrize(
    "path",
    [
        "../../secret.txt",
        "..%2F..%2Fsecret.txt",
        "%2e%2e/%2e%2e/secret.txt",
        "alice%20camera/..%2F..%2F..%2Fsecret.txt",
        "..%5C..%5Csecret.txt",
        "%2Fetc%2Fpasswd",
        "/etc/passwd",
        "not-ours.txt",
        "alice%20camera",
        "alice%20camera/./index.m3u8%00",
        "",
    ],
)
async def test_nothing_but_the_exports_own_files_can_be_named(api: FakeService, complete: Path, path: str) -> None:
    async with api.client(bearer()) as client:
        answer = await client.get(f"{FILES}/{path}")
    assert answer.status_code in {404, 422}
    assert "secret" not in answer.text.replace("secret.txt", "")


async def test_a_file_that_became_a_link_to_elsewhere_is_not_served(api: FakeService, complete: Path) -> None:
    file = complete / "alice camera" / "0001.m4s"
    file.unlink()
    file.symlink_to(api.folder / "secret.txt")
    async with api.client(bearer()) as client:
        assert (await client.get(f"{FILES}/alice camera/0001.m4s")).status_code == 404


async def test_the_player_page_comes_with_a_strict_policy(api: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    library = api.folder / "hls.min.js"
    library.write_text("var Hls;")
    monkeypatch.setitem(player.FILES, "hls.min.js", (library, "text/javascript"))
    async with api.client() as client:
        page = await client.get("/player", params={"export": EXPORT_ID})
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["referrer-policy"] == "no-referrer"
        for name in ("live.js", "live_edge.js", "player.js", "player.css", "hls.min.js"):
            assert f"/player/{name}" in page.text
            assert (await client.get(f"/player/{name}")).status_code == 200
        for name in ("package.json", "..%2Fapp.py", "vendor"):
            assert (await client.get(f"/player/{name}")).status_code == 404


async def test_a_missing_library_is_said_in_clear_words(api: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(player.FILES, "hls.min.js", (api.folder / "none.js", "text/javascript"))
    async with api.client() as client:
        for path in ("/player", "/player/hls.min.js"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "player_missing")
            assert "make setup" in answer.json()["error"]["message"]

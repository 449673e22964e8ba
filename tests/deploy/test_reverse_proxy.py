"""The nginx configuration of docs/api.md: what it must say, and, where nginx is installed, what it does."""

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from agent.api.auth import MAX_BODY_BYTES
from agent.api.live import HELD_TARGETS
from agent.api.live_recordings import LiveSettings
from agent.service.http_server import HttpServer, address_of, bind
from media.export.job import ExportFormat, ExportRequest
from tests.agent.api.fake_service import EXPORT_ID, FakeService, bearer, fake_service, make_recording

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
(SNIPPET,) = re.findall(r"^```nginx\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
LONGEST_SEGMENT_S = 60.0  # the most that the setting takes
WAIT_S = 10.0

needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


def value(directive: str) -> str:
    (found,) = re.findall(rf"^\s*{directive}\s+(.*?);$", SNIPPET, re.MULTILINE)
    return str(found)


def test_it_has_what_the_text_asks_for() -> None:
    assert value("proxy_buffering") == "off"
    held_s = HELD_TARGETS * LiveSettings(segment_duration_s=LONGEST_SEGMENT_S).target_duration_s
    assert float(value("proxy_read_timeout").removesuffix("s")) > held_s
    assert value("client_max_body_size") == f"{MAX_BODY_BYTES >> 20}m"
    assert not re.search(r"\$(request|request_uri|args|query_string|http_referer)\b", SNIPPET)
    assert value("access_log").endswith("roomhand")
    assert value("error_log").split()[1] == "crit"


@contextlib.contextmanager
def running(folder: Path, service: str, port: int) -> Iterator[None]:
    """nginx with the document's configuration, but for its places and its ports."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-days", "1", "-newkey", "rsa:2048", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", *subject, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    configuration = SNIPPET
    for before, after in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/roomhand.pem", str(certificate)),
        ("/etc/ssl/roomhand.key", str(key)),
        ("/var/log/nginx/", f"{folder}/"),
        ("http://127.0.0.1:8080", service),
    ):
        assert before in configuration
        configuration = configuration.replace(before, after)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/main.log;\n"
        f"events {{}}\nhttp {{\n{temporary}{configuration}\n}}\n"
    )
    command = ["nginx", "-p", str(folder), "-e", str(folder / "start.log"), "-c", str(file)]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[tuple[FakeService, httpx.AsyncClient, Path]]:
    """A service behind nginx, and a client of that."""
    api = fake_service(tmp_path)
    listening, free = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    http = HttpServer(api.app, listening)
    await http.start()
    folder = tmp_path / "nginx"
    folder.mkdir()
    with running(folder, address_of(listening), port):
        async with httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{port}",
            verify=False,
            headers=bearer(),
            timeout=WAIT_S,
            trust_env=False,
        ) as client:
            async with asyncio.timeout(WAIT_S):
                while True:
                    with contextlib.suppress(httpx.ConnectError):
                        if (await client.get("/healthz")).status_code == 200:
                            break
                    await asyncio.sleep(0.05)
            yield api, client, folder
    api.service.events.close()
    await http.aclose()


@needs_nginx
async def test_events_pass_at_once(behind: tuple[FakeService, httpx.AsyncClient, Path]) -> None:
    api, client, _ = behind
    async with client.stream("GET", "/v1/events") as response, asyncio.timeout(WAIT_S):
        lines = response.aiter_lines()
        while not api.service.events._listeners:  # noqa: ASYNC110 - the stream has no other sign of being there
            await asyncio.sleep(0.01)
        for number in range(3):
            api.service.events.append(f"e{number}", "lobby", 1.0)
            while (line := await anext(lines)) != f"event: e{number}":
                assert not line.startswith("event:")


@needs_nginx
async def test_ranges_pass_and_no_log_has_a_token(behind: tuple[FakeService, httpx.AsyncClient, Path]) -> None:
    api, client, folder = behind
    out = api.folder / "exports" / "a"
    out.mkdir(parents=True)
    (out / "a.mp4").write_bytes(bytes(range(256)) * 4096)
    request = ExportRequest(make_recording(api, "rec-1", "lobby"), ExportFormat.MP4, out)
    api.exports.complete(request, out / "a.mp4")
    token = client.headers.pop("authorization").removeprefix("Bearer ")
    url = f"/v1/exports/{EXPORT_ID}/files/a.mp4?access_token={token}"
    part = await client.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["content-range"] == f"bytes 10-19/{256 * 4096}"
    assert len((await client.get(url)).content) == 256 * 4096
    large = await client.post(f"/v1/rooms?access_token={token}", content=b"x" * (MAX_BODY_BYTES + 1))
    assert large.status_code == 413
    logs = {path.name: path.read_text() for path in folder.glob("*.log")}
    assert f"GET /v1/exports/{EXPORT_ID}/files/a.mp4" in logs["roomhand.log"]
    assert [name for name, text in logs.items() if token in text] == []

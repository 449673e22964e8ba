"""`serve` as a process, over HTTP, with fake rooms: its start, its faults, its ends."""

import asyncio
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.config import Settings, load_settings
from agent.credentials import Credentials
from agent.errors import InvalidSettings, PortInUse
from agent.service.http_server import address_of, bind
from agent.service.serve import EXPORT_COMMAND, ROOM_COMMAND, SAME_SIGNAL_S, run_service
from agent.tokens import ServiceGrants, mint_service_token
from media.record.reader import read_recording
from tests.media.export.recordings import Track, encode_audio, killed_recording

PROGRAM = Path(__file__).with_name("fake_serve.py")
CREDENTIALS = Credentials("ws://127.0.0.1:1", "APIkey", "a-secret-of-at-least-32-characters")
GRANTS = ServiceGrants(room_admin=True, room_record=True, room_list=True, room_create=True)
WAIT_S = 30.0
NATIVE = {"a native library prints this", "and this past Python"}


@dataclass(frozen=True, slots=True)
class Serving:
    """A running service."""

    process: asyncio.subprocess.Process
    url: str
    client: httpx.AsyncClient
    log: Path

    def logged(self, event: str) -> list[dict[str, object]]:
        """Its log lines of that event."""
        return [line for line in log_lines(self.log) if line["event"] == event]

    async def until(self, condition: Callable[[httpx.Response], bool], path: str) -> httpx.Response:
        async with asyncio.timeout(WAIT_S):
            while not condition(answer := await self.client.get(path)):  # noqa: ASYNC110 - it happens elsewhere
                await asyncio.sleep(0.05)
        return answer


def log_lines(log: Path) -> list[dict[str, object]]:
    """All it wrote, which is JSON, but for what the fake's native library prints."""
    return [json.loads(line) for line in log.read_text().splitlines() if line not in NATIVE]


def environment(folder: Path) -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("LIVEKIT_", "ROOMHAND_"))},
        "LIVEKIT_URL": CREDENTIALS.url,
        "LIVEKIT_API_KEY": CREDENTIALS.api_key,
        "LIVEKIT_API_SECRET": CREDENTIALS.api_secret,
        "ROOMHAND_STATE_DIR": str(folder / "state"),
        "ROOMHAND_RECORDINGS_DIR": str(folder / "recordings"),
        "ROOMHAND_EXPORTS_DIR": str(folder / "exports"),
        "ROOMHAND_PORT": "0",
        "ROOMHAND_DRAIN_TIMEOUT_S": "10",
    }


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Serving]:
    """A service with its state in `folder`."""
    log = folder / "serve.log"
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            env=environment(folder),
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
            cwd=folder,
        )
    assert process.stdout is not None
    url = (await asyncio.wait_for(process.stdout.readline(), WAIT_S)).decode().strip()
    assert url, log.read_text()
    headers = {"Authorization": f"Bearer {mint_service_token(CREDENTIALS, GRANTS)}"}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=WAIT_S) as client:
            yield Serving(process, url, client, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def recorded(folder: Path, recording_id: str) -> list[str]:
    lines = (folder / "recordings" / recording_id / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["what"] for line in lines]


async def test_what_a_killed_writer_left_open_is_finished_at_the_start(tmp_path: Path) -> None:
    path = killed_recording(tmp_path / "recordings" / "killed", [Track("microphone", encode_audio(0.0, 1.2))])
    async with serving(tmp_path) as service:
        await service.until(lambda _: bool(service.logged("interrupted_finished")), "/healthz")
    assert len(read_recording(path).tracks[0].segments) == 1


async def test_rooms_survive_their_crash_and_the_services_and_sigterm_drains(tmp_path: Path) -> None:
    async with serving(tmp_path) as first:
        assert (await first.client.get("/readyz")).text == "ready"
        started = (await first.client.post("/v1/rooms", json={"room": "one", "record": True})).json()
        recording_id = started["recording_id"]
        os.kill(started["process_id"], signal.SIGKILL)
        again = await first.until(
            lambda answer: answer.json()["restarts"] == 1 and answer.json()["phase"] == "running", "/v1/rooms/one"
        )
        assert again.json()["recording_id"] == recording_id
        metrics = (await first.client.get("/metrics")).text
        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
        }
        assert samples["roomhand_room_restarts_total",] == 1
        assert samples["roomhand_rooms", "running"] == 1
        assert samples["roomhand_recordings", "recording"] == 1
        assert samples["roomhand_room_connections_total", "connected"] == 2
        assert not re.search(r"\bone\b", metrics), "no room is named"
        first.process.kill()  # no drain this time
        await first.process.wait()
    async with serving(tmp_path) as second:
        resumed = await second.until(lambda answer: answer.json()["phase"] == "running", "/v1/rooms/one")
        assert resumed.json()["recording_id"] == recording_id
        second.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(second.process.wait(), WAIT_S) == 0
        assert recorded(tmp_path, recording_id)[-2:] == ["start", "complete"]
        assert len(second.logged("ended")) == 1
    text = (tmp_path / "serve.log").read_text()
    assert CREDENTIALS.api_secret not in text
    assert "Traceback" not in text
    assert {line["level"] for line in log_lines(tmp_path / "serve.log")} <= {"info", "warning"}


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        started = (await service.client.post("/v1/rooms", json={"room": "slow-drain"})).json()
        service.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(WAIT_S):
            while not service.logged("draining"):  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.02)
        ready = await service.client.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "draining")
        refused = await service.client.post("/v1/rooms", json={"room": "another"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "room_unavailable")
        assert (await service.client.get("/metrics")).is_success
        service.process.send_signal(signal.SIGTERM)  # the same Ctrl-C, passed on by who started us
        await asyncio.sleep(SAME_SIGNAL_S + 0.2)
        assert not service.logged("drain_cut_short")
        service.process.send_signal(signal.SIGTERM)
        # Well before the room's minute; the drain timeout of 10 s would end it too, but says so.
        assert await asyncio.wait_for(service.process.wait(), WAIT_S) == 0
        assert service.logged("drain_cut_short")
        assert not service.logged("room_process_killed")
    with pytest.raises(ProcessLookupError):
        os.kill(started["process_id"], 0)


@pytest.mark.parametrize("command", [ROOM_COMMAND, EXPORT_COMMAND])
def test_a_program_of_that_name_in_the_current_folder_is_not_taken_for_ours(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    for name in ("agent.py", "media.py"):
        (tmp_path / name).write_text("raise SystemExit('somebody else was run')")
    settings = {**environment(tmp_path), "LIVEKIT_URL": ""}  # it ends for want of one, or for want of anything to do
    with subprocess.Popen(
        command, cwd=tmp_path, env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            said = process.communicate(timeout=5)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1]
    assert b"somebody else" not in said
    assert b"not a package" not in said


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    for key, value in environment(tmp_path).items():
        monkeypatch.setenv(key, value)
    return load_settings()


async def test_a_taken_port_is_one_clear_error_before_anything_starts(plain: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"port {port} on 127.0.0.1 is taken"):
            await run_service(plain.model_copy(update={"port": port}))
    assert not (tmp_path / "state").exists()


async def test_a_second_service_over_the_same_state_is_refused(plain: Settings, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "serve.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InvalidSettings, match="ROOMHAND_STATE_DIR"):
            await run_service(plain)


async def test_missing_credentials_and_odd_hosts_are_clear_errors(plain: Settings) -> None:
    with pytest.raises(InvalidSettings, match="LIVEKIT_API_KEY"):
        await run_service(plain.model_copy(update={"livekit_api_key": ""}))
    for host in ("no.such.host.invalid", "192.0.2.1"):
        with pytest.raises(InvalidSettings, match=r"ROOMHAND_HOST|--host"):
            await run_service(plain.model_copy(update={"host": host}))


def test_addresses_are_urls_that_work_from_here() -> None:
    for host, expected in (
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
    ):
        try:
            listening = bind(host, 0)
        except InvalidSettings:
            assert host == "::1"  # a machine without IPv6
            continue
        with listening:
            assert address_of(listening).startswith(expected)

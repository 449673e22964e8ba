"""`roomhand server` as programs use it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from agent.errors import ServerUnavailable
from agent.service.local_server import LocalServer, find_server

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
ROOMHAND = [sys.executable, "-c", "from agent.cli import main; main()"]


def environment(**extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LIVEKIT_", "ROOMHAND_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **extra}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(*pids: int) -> bool:
    deadline = time.monotonic() + 15
    while any(alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.usefixtures("server_binary")
def test_it_answers_on_loopback_only_with_a_secret_of_its_own_until_it_is_stopped() -> None:
    with subprocess.Popen([*ROOMHAND, "server", "--json"], env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert set(told) == {"url", "api_key", "api_secret", "pid"}
        assert told["url"].startswith("ws://127.0.0.1:")
        assert len(told["api_secret"]) >= 32
        assert httpx.get(told["url"].replace("ws://", "http://"), trust_env=False).text == "OK"
        listening = subprocess.run(["cat", f"/proc/{told['pid']}/net/tcp"], capture_output=True, text=True, check=True)
        port = f"{int(told['url'].rsplit(':', 1)[1]):04X}"
        addresses = [line.split()[1] for line in listening.stdout.splitlines()[1:]]
        assert next(item.split(":")[0] for item in addresses if item.endswith(f":{port}")) == "0100007F"
        process.terminate()
        assert process.wait(15) == 0
    assert gone(told["pid"])


@pytest.mark.usefixtures("server_binary")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_stops_when_whoever_started_it_dies() -> None:
    starter = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'from agent.cli import main; main()', 'server', '--json'],"
        " stdout=subprocess.PIPE)\n"
        "sys.stdout.write(child.stdout.readline().decode()); print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", starter], env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        server_pid = json.loads(process.stdout.readline())["pid"]
        command_pid = int(process.stdout.readline())
        assert alive(server_pid)
        process.send_signal(signal.SIGKILL)
    assert gone(command_pid, server_pid)


def test_a_server_that_is_set_comes_first() -> None:
    values = {"LIVEKIT_URL": "wss://example.test", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 32}
    run = subprocess.run(
        [*ROOMHAND, "server", "--json"], env=environment(**values), capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == {"url": "wss://example.test", "api_key": "k", "api_secret": "s" * 32, "pid": None}


def test_a_server_on_path_comes_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "livekit-server"
    own.write_text("#!/bin/sh\nexit 1\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server(tmp_path / "cache", print) == own


def test_without_server_and_go_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ServerUnavailable, match="make setup"):
        find_server(tmp_path / "cache", print)


async def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "livekit-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(ServerUnavailable, match="did not start"):
        await LocalServer(broken, log_file=tmp_path / "log").start()
    with pytest.raises(ServerUnavailable, match="cannot be run"):
        await LocalServer(tmp_path / "nothing").start()

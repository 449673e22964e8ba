"""A LiveKit server on this machine: found on PATH, taken from the cache, or built from the pinned module.

It listens on loopback only (or one other address of this machine), on free ports, with a random
secret, and ends when the process that started it ends.
"""

import asyncio
import ctypes
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from agent.credentials import Credentials
from agent.errors import ServerUnavailable

MODULE_DIR = Path(__file__).resolve().parents[2] / "deploy" / "livekit-server"
SERVER_PACKAGE = "github.com/livekit/livekit-server/cmd/server"
START_TIMEOUT_S = 20.0  # a cold start takes about 1 s; the rest is for a loaded machine
START_ATTEMPTS = 3  # another process may take a port between our look and the server's bind
STOP_TIMEOUT_S = 10.0
_PR_SET_PDEATHSIG = 1
_GO_VERSION = re.compile(r"go(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    credentials: Credentials
    pid: int

    def as_dict(self) -> dict[str, str | int]:
        """What programs that start us need, to be printed as JSON."""
        return {
            "url": self.credentials.url,
            "api_key": self.credentials.api_key,
            "api_secret": self.credentials.api_secret,
            "pid": self.pid,
        }


def end_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent dies (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def find_server(cache_dir: Path, report: Callable[[str], None]) -> Path:
    """The server's binary: on PATH, cached, or built now; ServerUnavailable says what is missing.

    `report` is told what takes long.
    """
    on_path = shutil.which("livekit-server")
    if on_path:
        return Path(on_path)
    if not (MODULE_DIR / "go.sum").exists():
        raise ServerUnavailable(
            "no livekit-server on PATH, and this installation has no deploy/livekit-server to build one from; "
            "install livekit-server, set LIVEKIT_URL, or work from a checkout"
        )
    pins = hashlib.sha256((MODULE_DIR / "go.mod").read_bytes() + (MODULE_DIR / "go.sum").read_bytes())
    cached = cache_dir / "livekit-server" / pins.hexdigest()[:16] / "livekit-server"
    if not cached.exists():
        _build(_find_go(), cached, report)
    return cached


def _find_go() -> str:
    wanted = _go_version((MODULE_DIR / "go.mod").read_text().replace("\ngo ", "\ngo"))
    for candidate in (shutil.which("go"), shutil.which("go", path=str(Path(sys.executable).parent))):
        if candidate is None:
            continue
        printed = subprocess.run([candidate, "env", "GOVERSION"], capture_output=True, text=True, check=False)
        if printed.returncode == 0 and _go_version(printed.stdout) >= wanted:
            return candidate
    raise ServerUnavailable(
        f"building the local LiveKit server needs Go {wanted[0]}.{wanted[1]} or newer; run `make setup`, "
        "which installs one into .venv, or set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
    )


def _go_version(text: str) -> tuple[int, int]:
    match = _GO_VERSION.search(text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _build(go: str, target: Path, report: Callable[[str], None]) -> None:
    report("building the LiveKit server (once; about 3 minutes)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / "livekit-server"
        result = subprocess.run(
            [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), SERVER_PACKAGE],
            cwd=MODULE_DIR,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ServerUnavailable(
                f"building the LiveKit server failed:\n{result.stderr.strip()[-2000:]}\n"
                "mend that, or set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
            )
        built.rename(target)
    report("the LiveKit server is built")


def _free_port(kind: socket.SocketKind, address: str) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class LocalServer:
    """Runs one server; `async with` gives a RunningServer and stops it at the end."""

    def __init__(
        self,
        binary: Path,
        *,
        log_file: Path | None = None,
        address: str = "127.0.0.1",
        rtc: Mapping[str, object] | None = None,
    ) -> None:
        """`address` is an IPv4 address of this machine; `rtc` is further configuration of that section."""
        self._binary = binary
        self._address = address
        self._rtc = dict(rtc or {})
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> RunningServer:
        return await self.start()

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def start(self, credentials: Credentials | None = None) -> RunningServer:
        """Start and wait until it answers. With `credentials`, at their port with their key again."""
        attempts = 1 if credentials else START_ATTEMPTS
        for attempt in range(1, attempts + 1):
            wanted = credentials or Credentials(
                f"ws://{self._address}:{_free_port(socket.SOCK_STREAM, self._address)}",
                f"API{secrets.token_hex(6)}",
                secrets.token_hex(24),
            )
            process = await self._spawn(wanted)
            self._process = process
            if await _answers(wanted, process):
                return RunningServer(wanted, process.pid)
            await self.aclose()
            if attempt == attempts:
                break
        why = f"its log is {self._log_file}" if self._log_file else "run `roomhand server --log-file FILE` to see why"
        raise ServerUnavailable(f"{self._binary} did not start; {why}")

    async def _spawn(self, credentials: Credentials) -> asyncio.subprocess.Process:
        port = int(credentials.url.rsplit(":", 1)[1])
        config = {
            "port": port,
            "bind_addresses": [self._address],
            "keys": {credentials.api_key: credentials.api_secret},
            "logging": {"level": "info", "json": True},
            "rtc": {
                "tcp_port": _free_port(socket.SOCK_STREAM, self._address),
                "udp_port": _free_port(socket.SOCK_DGRAM, self._address),
                # Without any it would tell clients of public ones. Nobody answers at this one: libwebrtc takes all
                # that comes from a STUN server's address for its answers, so the media port would carry no media.
                "stun_servers": [f"{self._address}:{port}"],
                "node_ip": self._address,
                "use_external_ip": False,
                "enable_loopback_candidate": True,
                "ips": {"includes": [f"{self._address}/32"]},
                **self._rtc,
            },
        }
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LIVEKIT_")}
        environment["LIVEKIT_CONFIG"] = json.dumps(config)
        sink = self._log_file.open("ab") if self._log_file else None
        try:
            return await asyncio.create_subprocess_exec(
                str(self._binary),
                "--node-ip",
                self._address,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink or subprocess.DEVNULL,
                stderr=sink or subprocess.DEVNULL,
                preexec_fn=end_with_parent,
            )
        except OSError as error:
            raise ServerUnavailable(f"{self._binary} cannot be run: {error.strerror}") from error
        finally:
            if sink:
                sink.close()

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None

    async def wait(self) -> int:
        """Until it ends by itself; its exit status."""
        if self._process is None:
            raise ServerUnavailable("the local server is not running; start it first")
        return await self._process.wait()

    async def aclose(self) -> None:
        """Stop it; idempotent."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _answers(credentials: Credentials, process: asyncio.subprocess.Process) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(int(START_TIMEOUT_S / 0.1)):
            if process.returncode is not None:
                return False
            try:
                if (await client.get(credentials.http_url)).status_code == httpx.codes.OK:
                    return True
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            await asyncio.sleep(0.1)
    return False

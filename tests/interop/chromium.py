"""A headless Chromium, driven over the DevTools protocol. It lives as long as `chromium()` is entered.

The protocol: https://chromedevtools.github.io/devtools-protocol/ (JSON messages over one WebSocket; each page is a
session of it).
"""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import signal
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect

Json: TypeAlias = dict[str, Any]

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests also run as root and in containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # containers often have a /dev/shm of 64 MB
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--remote-debugging-port=0",
    "--window-size=1100,900",
)
_PATIENCE_S = 30.0
_POLL_S = 0.05


class PageTimeout(AssertionError):
    """A page did not come to what a test waits for."""


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine."""
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


class _DevTools:
    """The connection: numbered commands, their answers, and events by session."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self._pages: dict[str, Page] = {}

    async def send(self, method: str, session: str | None = None, **params: Any) -> Json:
        """Send a command and return its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        await self._connection.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return await asyncio.wait_for(answer, _PATIENCE_S)

    def route(self, page: "Page") -> None:
        """Tell `page` the events of its session from now on."""
        self._pages[page.session] = page

    async def pump(self) -> None:
        """Read until the connection ends."""
        async for text in self._connection:
            message = json.loads(text)
            answer = self._answers.pop(message.get("id", 0), None)
            if answer is not None and not answer.done():
                if "error" in message:
                    answer.set_exception(RuntimeError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
            elif (page := self._pages.get(message.get("sessionId", ""))) is not None:
                page.on_event(message["method"], message["params"])


class Page:
    """One page. `problems` are its uncaught exceptions, and console and log lines that are errors, in order."""

    def __init__(self, tools: _DevTools, session: str) -> None:
        self._tools = tools
        self.session = session
        self.problems: list[str] = []

    def on_event(self, method: str, params: Json) -> None:
        """Note what a developer would see in red."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "assert"}:
            parts = (item.get("value", item.get("description")) for item in params["args"])
            self.problems.append(" ".join(str(part) for part in parts))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            entry = params["entry"]
            self.problems.append(f"{entry['text']} {entry.get('url', '')}".strip())

    async def open(self, url: str) -> None:
        """Go to `url`. The page has a body when this returns, and may still be loading."""
        result = await self._send("Page.navigate", url=url)
        if result.get("errorText"):
            raise RuntimeError(f"cannot open {url}: {result['errorText']}")
        await self.until("document.body !== null")

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression; promises are awaited. Raises RuntimeError when it throws."""
        result = await self._send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", expression))
        return result["result"].get("value")

    async def until(self, condition: str, *, patience_s: float = _PATIENCE_S) -> Any:
        """The value of the JavaScript `condition` once it is truthy. Raises PageTimeout, which shows the page."""
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            value = await self.evaluate(condition)
            if value:
                return value
            if asyncio.get_running_loop().time() > deadline:
                text = await self.evaluate("document.body?.innerText")
                raise PageTimeout(f"never: {condition}\nproblems: {self.problems}\npage:\n{text}")
            await asyncio.sleep(_POLL_S)

    async def resize(self, width: int, height: int) -> None:
        """Show the page as on a screen of this size."""
        await self._send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def prefer(self, color_scheme: str) -> None:
        """Show the page as to somebody who prefers "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": color_scheme}]
        await self._send("Emulation.setEmulatedMedia", features=features)

    async def cut_off(self, *, offline: bool) -> None:
        """Take the page's network away, or give it back."""
        await self._send("Network.enable")
        await self._send(
            "Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    async def screenshot(self, path: Path) -> None:
        """Write what is seen to the PNG file `path`."""
        result = await self._send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(result["data"]))

    async def _send(self, method: str, **params: Any) -> Json:
        return await self._tools.send(method, self.session, **params)


class Chromium:
    """A running browser."""

    def __init__(self, tools: _DevTools) -> None:
        self._tools = tools

    async def page(self) -> Page:
        """A new, empty page."""
        target = await self._tools.send("Target.createTarget", url="about:blank")
        attached = await self._tools.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self._tools, attached["sessionId"])
        self._tools.route(page)
        for domain in ("Page", "Runtime", "Log"):
            await self._tools.send(f"{domain}.enable", page.session)
        return page


@contextlib.asynccontextmanager
async def chromium(binary: str, folder: Path) -> AsyncIterator[Chromium]:
    """A browser with a new profile in `folder`, ended with the context."""
    profile = folder / "chromium"
    profile.mkdir()
    process = await create_subprocess_exec(
        binary, *_FLAGS, f"--user-data-dir={profile}", "about:blank", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        address = await _address(process, profile / "DevToolsActivePort")
        # Screenshots are large; a proxy from the environment is not for loopback.
        async with connect(address, max_size=None, proxy=None) as connection:
            tools = _DevTools(connection)
            pump = asyncio.create_task(tools.pump(), name="chromium.pump")
            try:
                yield Chromium(tools)
                await tools.send("Browser.close")
            finally:
                pump.cancel()
                await asyncio.wait({pump})
    finally:
        await _end(process)


async def _address(process: Process, port_file: Path) -> str:
    """Where the browser listens: it writes the port and the path into a file of its profile."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            lines = await asyncio.to_thread(_lines, port_file)
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            assert process.returncode is None, f"Chromium ended with status {process.returncode}"
            await asyncio.sleep(_POLL_S)


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


async def _end(process: Process) -> None:
    """Wait for the end of a process that was asked to end, less and less patiently."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), timeout=5)
            return

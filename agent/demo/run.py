"""The demo's course: server, publisher and service up, record while layers switch, export, check, tell."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from agent.commands.output import Output, StepReporter
from agent.commands.track_table import TRACK_COLUMNS, track_row
from agent.config import Settings
from agent.credentials import Credentials
from agent.demo.checks import (
    Verdict,
    check_events,
    check_export,
    check_layers,
    check_metrics,
    check_nothing_lost,
    check_recording,
)
from agent.demo.client import ControlClient
from agent.demo.processes import RoomhandProcess, start_in
from agent.errors import InvalidSettings, RoomhandError
from agent.room.state import TrackState
from agent.service.local_server import LocalServer, find_server
from agent.tokens import ServiceGrants, mint_service_token
from media.frames import MediaKind
from media.record.reader import RecordingView, read_events, read_recording
from media.record.verify import verify_recording
from media.sources.open import open_source

T = TypeVar("T")

_TRACK: TypeAdapter[TrackState] = TypeAdapter(TrackState)

START_TIMEOUT_S = 30.0
EXPORT_TIMEOUT_S = 300.0
POLL_INTERVAL_S = 0.25
LAYERS = {"low": (0.0, 0.3), "medium": (0.3, 0.7), "high": (0.7, 1.1)}  # with their shares of the full height
LAYER_TIMEOUT_S = 20.0  # the server counts a layer as alive after up to 10 s of good cycles
OPUS_FPS = 50.0
API_GRANTS = ServiceGrants(identity="demo", room_admin=True, room_record=True, room_list=True, room_create=True)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`clip` None is the built-in pattern; `work_dir` holds recordings, exports, state and logs."""

    duration_s: float
    clip: Path | None
    keep: bool
    work_dir: Path


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a run found."""

    verdicts: tuple[Verdict, ...]
    recording: RecordingView
    tracks: tuple[dict[str, Any], ...]
    exports: tuple[dict[str, Any], ...]
    player_url: str
    metrics_url: str


class Demo:
    """One run. `run` raises RoomhandError where the line breaks; checks that fail are in the result."""

    def __init__(self, settings: Settings, options: DemoOptions, output: Output) -> None:
        self._settings = settings
        self._options = options
        self._output = output
        self._room = f"demo-{secrets.token_hex(3)}"
        self._rates: dict[MediaKind, float] = {}
        self.finished = False

    async def run(self, *, stop: asyncio.Event) -> DemoResult:
        """The whole course; with `keep`, everything stays up until `stop` is set."""
        source = str(self._options.clip) if self._options.clip else "pattern"
        self._rates = _frame_rates(source)
        async with AsyncExitStack() as stack:
            with self._output.progress("demo") as report:
                credentials = await self._server(stack, report)
                environment = self._environment(credentials)
                report("starting the publisher, a process of its own")
                publisher = await start_in(stack, self._publisher(source, environment))
                await publisher.read_json(START_TIMEOUT_S)
                report("starting the service")
                service = await start_in(stack, self._service(environment))
                base_url = str((await service.read_json(START_TIMEOUT_S))["url"])
                token = mint_service_token(credentials, API_GRANTS, ttl_s=24 * 3600)
                client = await stack.enter_async_context(ControlClient(base_url, token))
                stack.push_async_callback(self._leave, client)
                result = await self._main_job(client, base_url, token, report)
            self.finished = True
            self._tell(result)
            if self._options.keep:
                self._output.text("server, publisher and service stay up until Ctrl-C")
                await stop.wait()
            return result

    async def _server(self, stack: AsyncExitStack, report: StepReporter) -> Credentials:
        if self._settings.has_server:
            report("using the server that LIVEKIT_URL names")
            return self._settings.credentials()
        report("starting a local LiveKit server")
        binary = await asyncio.to_thread(find_server, self._settings.cache_dir, report)
        log_file = self._options.work_dir / "livekit-server.log"
        running = await stack.enter_async_context(LocalServer(binary, log_file=log_file))
        return running.credentials

    def _environment(self, credentials: Credentials) -> dict[str, str]:
        work = self._options.work_dir
        return {
            "LIVEKIT_URL": credentials.url,
            "LIVEKIT_API_KEY": credentials.api_key,
            "LIVEKIT_API_SECRET": credentials.api_secret,
            "ROOMHAND_RECORDINGS_DIR": str(work / "recordings"),
            "ROOMHAND_EXPORTS_DIR": str(work / "exports"),
            "ROOMHAND_STATE_DIR": str(work / "state"),
            "ROOMHAND_LOG_FORMAT": "json",
        }

    def _publisher(self, source: str, environment: dict[str, str]) -> RoomhandProcess:
        arguments = ["join", self._room, "--publish", source, "--identity", "publisher", "--codec", "h264"]
        arguments += ["--chat", "hello from the demo", "--data", "tick", "--data-track", "telemetry", "--json"]
        return RoomhandProcess(arguments, environment, self._options.work_dir / "publisher.log")

    def _service(self, environment: dict[str, str]) -> RoomhandProcess:
        return RoomhandProcess(["serve", "--port", "0", "--json"], environment, self._options.work_dir / "service.log")

    async def _main_job(self, client: ControlClient, base_url: str, token: str, report: StepReporter) -> DemoResult:
        room = f"/v1/rooms/{self._room}"
        report("the agent joins and subscribes")
        await client.post("/v1/rooms", {"room": self._room, "identity": "roomhand", "record": True})
        video = await _until("the publisher's video is received", START_TIMEOUT_S, lambda: self._received(client))
        recording = (await self._state(client))["recording"]
        started = time.monotonic()
        simulcast = bool(video["simulcasted"])
        for index, layer in enumerate(LAYERS):
            report(f"recording, layer {layer}", index / len(LAYERS))
            if simulcast:
                await client.put(f"{room}/tracks/{video['sid']}/layer", {"quality": layer, "target": "tap"})
            await asyncio.sleep(self._options.duration_s / len(LAYERS))
            if simulcast:
                await self._layer_arrives(client, video, layer)
        recorded_s = time.monotonic() - started
        tracks = tuple((await self._state(client))["tracks"])
        metrics = await client.get_text("/metrics")
        report("closing the recording")
        await client.delete(f"{room}/recording")
        exports = [await self._export(client, recording["recording_id"], kind, report) for kind in ("mp4", "hls")]
        path = self._options.work_dir / "recordings" / recording["recording_id"]
        view, verification = read_recording(path), verify_recording(path)
        layers = next((item["tap"]["layers_seen"] for item in tracks if item["sid"] == video["sid"]), ())
        verdicts = [
            check_layers(layers, simulcast=simulcast),
            *check_recording(view, verification, recorded_s, self._rates),
            check_nothing_lost(view, tracks),
            *check_events(read_events(path)),
            *(check_export(item) for item in exports),
            check_metrics(metrics),
            await self._check_player(client, exports[-1]),
        ]
        return DemoResult(
            verdicts=tuple(verdicts),
            recording=view,
            tracks=tracks,
            exports=tuple(exports),
            player_url=f"{base_url}/player?export={exports[-1]['export_id']}#token={token}",
            metrics_url=f"{base_url}/metrics",
        )

    async def _leave(self, client: ControlClient) -> None:
        """Whoever runs the demo in the same folder again is not to find this room in it."""
        try:
            await client.delete(f"/v1/rooms/{self._room}")
        except RoomhandError as error:
            self._output.note(f"the demo's room was not left: {error}")

    async def _state(self, client: ControlClient) -> dict[str, Any]:
        return (await client.get(f"/v1/rooms/{self._room}"))["state"] or {}

    async def _layer_arrives(self, client: ControlClient, video: dict[str, Any], layer: str) -> None:
        """Wait for the picture of `layer`; where it does not come, the check at the end tells."""
        least, most = LAYERS[layer]
        deadline = time.monotonic() + LAYER_TIMEOUT_S
        while time.monotonic() < deadline:
            tracks = (await self._state(client)).get("tracks", ())
            heights = [item["tap"]["frame_height"] for item in tracks if item["sid"] == video["sid"] and item["tap"]]
            if heights and least <= heights[0] / max(1, video["height"]) <= most:
                return
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _received(self, client: ControlClient) -> dict[str, Any] | None:
        tracks = (await self._state(client)).get("tracks", ())
        kinds = {item["kind"] for item in tracks if item["tap"] and item["tap"]["frames_received"]}
        video = (item for item in tracks if item["kind"] == "video")
        return next(video, None) if kinds == {kind.value for kind in self._rates} else None

    async def _export(
        self, client: ControlClient, recording_id: str, kind: str, report: StepReporter
    ) -> dict[str, Any]:
        status = await client.post("/v1/exports", {"recording_id": recording_id, "format": kind})
        export_id = status["export_id"]

        async def done() -> dict[str, Any] | None:
            current: dict[str, Any] = await client.get(f"/v1/exports/{export_id}")
            report(f"exporting {kind}: {current['step'] or current['state']}", current["progress"])
            return current if current["state"] in {"complete", "failed", "aborted"} else None

        return await _until(f"the {kind} export is done", EXPORT_TIMEOUT_S, done)

    async def _check_player(self, client: ControlClient, export: dict[str, Any]) -> Verdict:
        page = await client.get_text("/player")
        if not export["outputs"]:
            return Verdict("player page", ok=False, detail="no HLS to play")
        entry_url = export["outputs"][0]["entry_url"]
        playlist = await client.get_text(entry_url)
        ok = "<video" in page and playlist.startswith("#EXTM3U")
        return Verdict("player page", ok, f"page and {Path(entry_url).name} are served")

    def _tell(self, result: DemoResult) -> None:
        rows = [track_row(_TRACK.validate_python(track)) for track in result.tracks]
        self._output.table(f"room {self._room}", TRACK_COLUMNS, rows)
        self._output.text(f"recording  {result.recording.path}  {result.recording.duration_s:.2f} s")
        for export in result.exports:
            for item in export["outputs"]:
                kinds = ", ".join(f"{track['codec']} {track['handling']}" for track in item["tracks"])
                name = item["entry_url"].partition("/files/")[2]
                file = next((self._options.work_dir / "exports").glob(f"*/{name}"), name)
                self._output.text(f"{export['format']:<10} {file}  {item['duration_s']:.2f} s, {kinds}")
                for check in item["checks"]:
                    mark = "ok " if check["ok"] else "BAD"
                    self._output.text(
                        f"           {mark} {check['name']}: {check['actual']} (expected {check['expected']})"
                    )
        gone = "" if self._options.keep else "  (KEEP=1 leaves it up)"
        self._output.text(f"player     {result.player_url}{gone}")
        self._output.text(f"metrics    {result.metrics_url}{gone}")
        for verdict in result.verdicts:
            self._output.text(f"{'passed' if verdict.ok else 'FAILED':<10} {verdict.name}: {verdict.detail}")


def _frame_rates(source: str) -> dict[MediaKind, float]:
    """Frames a second, as sent, of each kind of media that there is."""
    opened = open_source(source)
    try:
        if opened.video is None:
            raise InvalidSettings(f"{source} holds no video; the demo shows its layers, so give a clip with one")
        rates = {MediaKind.VIDEO: opened.video.fps}
        return rates if opened.audio is None else rates | {MediaKind.AUDIO: OPUS_FPS}
    finally:
        opened.close()


async def _until(what: str, timeout_s: float, probe: Callable[[], Awaitable[T | None]]) -> T:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = await probe()
        if found is not None:
            return found
        await asyncio.sleep(POLL_INTERVAL_S)
    raise RoomhandError(f"gave up after {timeout_s:.0f} s: {what} did not happen; the logs are in the demo's folder")


def default_work_dir() -> Path:
    """A new folder for one run."""
    return Path(tempfile.mkdtemp(prefix="roomhand-demo-"))

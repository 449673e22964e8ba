"""`roomhand join`: one room in the foreground."""

import asyncio
import json
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from agent.bot import EVERYTHING, NOTHING, RoomAgent, RoomRequest
from agent.commands.output import JsonOption, Output
from agent.config import Settings, load_settings
from agent.errors import ConnectionLost, InvalidSettings
from agent.logs import bind_context
from agent.room.publish_options import PublishOptions, VideoCodec
from agent.room.state import RoomState, TrackState
from agent.tasks import Tasks
from media.export.queue import ExportQueue
from quality.stats import TrackSource

DATA_INTERVAL_S = 1.0
DATA_TRACK_INTERVAL_S = 0.1
ENDED_WELL = {"client_initiated", "room_deleted", "room_closed", "participant_removed"}


def join(
    room: Annotated[str, typer.Argument(help="The room's name.")],
    publish: Annotated[str | None, typer.Option(help="pattern, pattern:WIDTHxHEIGHT@FPS, or a media file.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Record the room, without transcoding.")] = False,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="Leave after so many seconds.")] = None,
    out: Annotated[Path | None, typer.Option(help="Recordings folder; default ROOMHAND_RECORDINGS_DIR.")] = None,
    recording_id: Annotated[
        str | None, typer.Option(help="Go on with this recording, or give a new one its id.")
    ] = None,
    identity: Annotated[str, typer.Option(help="Participant identity.")] = "roomhand",
    name: Annotated[str, typer.Option(help="Display name.")] = "",
    metadata: Annotated[str, typer.Option(help="Participant metadata.")] = "",
    attribute: Annotated[list[str] | None, typer.Option(help="Participant attribute, KEY=VALUE.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Stay out of the participant list.")] = False,
    token: Annotated[str | None, typer.Option(help="Join with this access token.", envvar="ROOMHAND_TOKEN")] = None,
    subscribe: Annotated[
        bool, typer.Option("--subscribe", help="Subscribe to all tracks as a participant too.")
    ] = False,
    codec: Annotated[VideoCodec, typer.Option(help="Video codec to publish.")] = VideoCodec.VP8,
    bitrate: Annotated[int | None, typer.Option(help="Bits per second of the highest layer.")] = None,
    fps: Annotated[float | None, typer.Option(help="Most frames per second to publish.")] = None,
    simulcast: Annotated[bool, typer.Option(help="Publish simulcast layers.")] = True,
    loop: Annotated[bool, typer.Option(help="Play a file again and again.")] = True,
    screen: Annotated[bool, typer.Option("--screen", help="Publish as a screen share.")] = False,
    chat: Annotated[str | None, typer.Option(help="Say this in the chat, each second.")] = None,
    data: Annotated[str | None, typer.Option(help="Send this as a data packet, each second.")] = None,
    data_track: Annotated[
        str | None, typer.Option(help="Publish a data track of that name, ten frames a second.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Join a room; publish and record what is asked for; leave on Ctrl-C, SIGTERM or after --for seconds."""
    settings = load_settings()
    request = RoomRequest(
        room=room,
        identity=identity,
        name=name,
        metadata=metadata,
        attributes=dict(_parse_attribute(item) for item in attribute or []),
        hidden=hidden,
        token=token,
        publish=publish,
        publish_options=PublishOptions(
            source=TrackSource.SCREEN_SHARE if screen else TrackSource.CAMERA,
            simulcast=simulcast,
            video_codec=codec,
            max_bitrate_bps=bitrate,
            max_fps=fps,
        ),
        loop=loop,
        record=record,
        recording_id=recording_id,
        recordings_dir=out,
        policy=EVERYTHING if subscribe else NOTHING,
    )
    visit = _Visit(settings, request, Output(as_json=json_output), _Chatter(chat, data, data_track))
    asyncio.run(visit.run(seconds))


def _parse_attribute(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidSettings(f"{text!r} is no attribute; write KEY=VALUE")
    return key, value


class _Chatter:
    """What to say again and again while in the room."""

    def __init__(self, chat: str | None, data: str | None, data_track: str | None) -> None:
        self._chat = chat
        self._data = data
        self._data_track = data_track

    async def start(self, agent: RoomAgent, tasks: Tasks) -> None:
        if self._chat or self._data:
            tasks.start(self._talk(agent), name="talk")
        if self._data_track:
            await agent.publish_data_track(self._data_track)
            tasks.start(self._push(agent, self._data_track), name="push")

    async def _talk(self, agent: RoomAgent) -> None:
        while True:
            # While the connection is being restored there is nobody to talk to; it is tried again.
            with suppress(ConnectionLost):
                if self._chat:
                    await agent.send_text(self._chat)
                if self._data:
                    await agent.send_data(self._data.encode(), topic="roomhand")
            await asyncio.sleep(DATA_INTERVAL_S)

    async def _push(self, agent: RoomAgent, name: str) -> None:
        sequence = 0
        while True:
            sequence += 1
            payload = json.dumps({"sequence": sequence, "at": time.time()}).encode()
            agent.push_data(name, payload, user_timestamp=time.time_ns() // 1000)
            await asyncio.sleep(DATA_TRACK_INTERVAL_S)


class _Visit:
    """One stay in a room, told to whoever watches."""

    def __init__(self, settings: Settings, request: RoomRequest, output: Output, chatter: _Chatter) -> None:
        self._settings = settings
        self._request = request
        self._output = output
        self._chatter = chatter

    async def run(self, seconds: float | None) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        bind_context(room=self._request.room)
        credentials = self._settings.credentials()
        queue = ExportQueue(self._settings.export_database) if self._records else None
        agent = RoomAgent(credentials, self._request, self._settings, export_queue=queue)
        tasks = Tasks("join")
        try:
            await agent.start()
            self._tell_joined(agent.state())
            await self._chatter.start(agent, tasks)
            reason = await self._stay(agent, stop, seconds, tasks)
            final = agent.state()
        finally:
            await tasks.aclose()
            await agent.aclose()
        self._tell_left(reason, final, agent.state())
        if reason not in ENDED_WELL | {"asked to", "time is up"}:
            raise ConnectionLost(f"the room ended for us: {reason}; what was recorded is safe, join again to go on")

    @property
    def _records(self) -> bool:
        return self._request.record or self._request.recording_id is not None

    async def _stay(self, agent: RoomAgent, stop: asyncio.Event, seconds: float | None, tasks: Tasks) -> str:
        ended = tasks.start(agent.wait_closed(), name="ended")
        stopped = tasks.start(stop.wait(), name="stopped")
        started = time.monotonic()
        with self._output.progress(f"room {self._request.room}") as report:
            while True:
                left = None if seconds is None else started + seconds - time.monotonic()
                if left is not None and left <= 0:
                    return "time is up"
                await asyncio.wait({ended, stopped}, timeout=min(1.0, left or 1.0), return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    return "asked to"
                if ended.done():
                    return ended.result()
                fraction = None if seconds is None else (time.monotonic() - started) / seconds
                report(_doing(agent.state()), fraction)

    def _tell_joined(self, state: RoomState) -> None:
        if self._output.as_json:
            self._output.document({"event": "joined", "state": state})
            return
        self._output.note(f"joined {state.room} as {state.identity}")
        for publication in state.publications:
            self._output.note(f"publishing {publication.kind} {publication.name} ({publication.sid})")
        if state.recording:
            self._output.note(f"recording to {state.recording.path}")

    def _tell_left(self, reason: str, before: RoomState, after: RoomState) -> None:
        if self._output.as_json:
            document = {"event": "left", "reason": reason, "state": before, "recording": after.recording}
            self._output.document(document)
            return
        if before.tracks:
            columns = ("track", "participant", "codec", "layers seen", "packets", "lost", "frames", "score")
            self._output.table(f"room {before.room}", columns, [_row(track) for track in before.tracks])
        if after.recording:
            recording = after.recording
            self._output.text(
                f"{recording.recording_id}: {recording.state}, {recording.tracks} tracks, "
                f"{recording.segments} segments, {recording.frames} frames, "
                f"{recording.bytes / 1e6:.1f} MB in {recording.path}"
            )
        self._output.note(f"left {before.room}: {reason}")


def _doing(state: RoomState) -> str:
    parts = [state.connection.value, f"{len(state.participants)} others", f"{len(state.tracks)} tracks"]
    if state.recording:
        parts.append(f"recording {state.recording.tracks} tracks")
    return ", ".join(parts)


def _row(track: TrackState) -> tuple[object, ...]:
    received = track.tap or track.subscription
    if received is None:
        return track.name, track.participant_identity, track.mime_type, "-", "-", "-", "-", "-"
    return (
        f"{track.name} ({track.kind})",
        track.participant_identity,
        track.mime_type.partition("/")[2],
        " ".join(received.layers_seen) or "-",
        received.packets_received,
        received.packets_lost,
        received.frames_received,
        "-" if received.score is None else f"{received.score:.0f}",
    )

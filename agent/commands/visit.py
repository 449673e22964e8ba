"""One stay in a room in the foreground, told to whoever watches: what `roomhand join` does."""

import asyncio
import json
import signal
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.bot import RoomAgent
from agent.commands.output import Output
from agent.commands.track_table import TRACK_COLUMNS, track_row
from agent.config import Settings
from agent.errors import ConnectionLost, RecordingConflict
from agent.logs import bind_context
from agent.printable import printable
from agent.request import RoomRequest
from agent.room.state import RoomState
from agent.room.undecryptable import ADVICE
from agent.room_recordings import RECORDING_ENDED
from agent.service.protocol import ErrorReport, error_from_report
from agent.tasks import Tasks
from media.record.recording_id import new_recording_id

if TYPE_CHECKING:
    from media.export.queue import ExportQueue

DATA_INTERVAL_S = 1.0
DATA_TRACK_INTERVAL_S = 0.1
ENDED_WELL = {RECORDING_ENDED, "client_initiated", "room_deleted", "room_closed", "participant_removed"}


class Chatter:
    """What to say again and again while in the room."""

    def __init__(self, chat: str | None = None, data: str | None = None, data_track: str | None = None) -> None:
        self._chat = chat
        self._data = data
        self._data_track = data_track

    async def start(self, agent: RoomAgent, tasks: Tasks) -> None:
        """Begin to talk; the data track is open when this returns."""
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


class Visit:
    """One stay in a room, told to whoever watches."""

    def __init__(self, settings: Settings, request: RoomRequest, output: Output, chatter: Chatter) -> None:
        self._settings = settings
        self._request = _with_recording_id(request)
        self._output = output
        self._chatter = chatter

    async def run(self, seconds: float | None) -> None:
        """Join, stay until a signal, the end of the room or of `seconds`, and leave in order."""
        stop, pauses = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        # All of them first: by itself each would end the process.
        for number, asked in ((signal.SIGINT, stop), (signal.SIGTERM, stop), (signal.SIGUSR1, pauses)):
            loop.add_signal_handler(number, asked.set)
        bind_context(room=self._request.room)
        if self._request.recording_id:
            bind_context(recording=self._request.recording_id)
        credentials = self._settings.credentials()
        queue = await asyncio.to_thread(_open_queue, self._settings) if self._request.recording_id else None
        agent = RoomAgent(credentials, self._request, self._settings, export_queue=queue)
        tasks = Tasks("join")
        try:
            await agent.start()
            tasks.start(self._toggle_pauses(agent, pauses), name="pauses")
            self._tell_joined(agent.state())
            await self._chatter.start(agent, tasks)
            reason = await self._stay(agent, stop, seconds, tasks)
            final = agent.state()
        finally:
            await tasks.aclose()
            await agent.aclose()
        recording = agent.state().recording
        self._tell_left(reason, final, agent.state())
        if recording and recording.error_code and (recording.frames_lost or recording.state != "complete"):
            lost = f"{recording.frames_lost} frames were lost, what was recorded before is safe in {recording.path}"
            raise error_from_report(ErrorReport(recording.error_code, f"{recording.error}; {lost}"))
        if reason not in ENDED_WELL | {"asked to", "time is up"}:
            raise ConnectionLost(f"the room ended for us: {reason}; what was recorded is safe, join again to go on")

    async def _toggle_pauses(self, agent: RoomAgent, asked: asyncio.Event) -> None:
        """Each time it is asked for, pause the recording or have it go on."""
        while True:
            await asked.wait()
            asked.clear()
            recording = agent.state().recording
            try:
                if recording is not None and recording.paused:
                    status = await agent.resume_recording()
                else:
                    status = await agent.pause_recording()
            except RecordingConflict as error:
                self._output.note(str(error))
            else:
                self._output.note(f"{status.recording_id}: {status.state}")

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
            self._output.table(f"room {before.room}", TRACK_COLUMNS, [track_row(track) for track in before.tracks])
        if after.recording:
            recording = after.recording
            self._output.text(
                f"{recording.recording_id}: {recording.state}, {recording.tracks} tracks, "
                f"{recording.segments} segments, {recording.frames} frames, "
                f"{recording.bytes / 1e6:.1f} MB in {recording.path} (ended: {recording.ended_reason or 'not yet'})"
            )
            for track in recording.undecryptable:
                whose = printable(f"{track.kind} {track.name} of {track.participant_identity}")
                self._output.note(f"{whose}: {ADVICE[track.reason]}")
        self._output.note(f"left {before.room}: {reason}")


def _with_recording_id(request: RoomRequest) -> RoomRequest:
    """Known beforehand, the recording's id is on every line of the log."""
    if not request.record or request.recording_id:
        return request
    return replace(request, recording_id=new_recording_id(request.room, time.time()))


def _open_queue(settings: Settings) -> "ExportQueue":
    from media.export.queue import ExportQueue

    return ExportQueue(settings.export_database)


def _doing(state: RoomState) -> str:
    parts = [state.connection.value, f"{len(state.participants)} others", f"{len(state.tracks)} tracks"]
    if state.recording:
        parts.append(f"recording {state.recording.tracks} tracks")
    return ", ".join(parts)

"""A room process with a small fake in place of the RoomAgent; run as a program, as the real one is.

It joins no server. What it does is steered by the room's name and by files in its state folder:
"bad-key…" is refused, "crash-at-start…" dies of SIGKILL before it is joined, "slow-drain…" takes a minute to leave.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.config import load_settings
from agent.errors import RecordingConflict, ServerUnreachable, TrackNotFound, Unauthorized
from agent.room.counters import RoomCounters
from agent.room.publish_options import PublishOptions
from agent.room.recording_plan import RecordingPlan
from agent.room.state import (
    ConnectionState,
    ParticipantState,
    PublicationState,
    ReceiveState,
    RecordingStatus,
    RoomState,
    TrackState,
)
from agent.room.subscription import SubscribeAction, SubscriptionPolicy
from agent.service.protocol import RoomOptions
from agent.service.room_shell import run_room_process


@dataclass(frozen=True, slots=True)
class TrackSubscribed:
    """As the agent's event of that name."""

    track_sid: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """As the agent's event of that name."""

    status: RecordingStatus


class FakeRoomAgent:
    """Keeps what it is told, and writes a line per start and end of a recording into the recording's folder."""

    def __init__(self, options: RoomOptions) -> None:
        self._options = options
        self._recordings_dir = load_settings().recordings_dir
        self._connection = ConnectionState.CONNECTING
        self._publications: dict[str, PublicationState] = {}
        self._recording: RecordingStatus | None = None
        self._quality: str | None = None
        self._subscribed = True
        self._packets = 0
        self._listeners: list[Callable[[object], None]] = []
        self._over = asyncio.Event()

    async def start(self) -> None:
        """Be joined, or fail as the room's name says."""
        name = self._options.room
        if name.startswith("bad-key"):
            raise Unauthorized("the server refused the key; check LIVEKIT_API_KEY")
        if name.startswith("unreachable"):
            raise ServerUnreachable("no server answers; check LIVEKIT_URL")
        if name.startswith("crash-at-start"):
            os.kill(os.getpid(), signal.SIGKILL)
        sys.stdout.write("a native library prints this\n")
        sys.stdout.flush()
        os.write(1, b"and this past Python\n")
        self._connection = ConnectionState.CONNECTED
        if self._options.publish:
            await self.publish(self._options.publish, PublishOptions())
        if self._options.recording_id:
            await self.start_recording(self._options.recording_id)

    async def aclose(self) -> None:
        """Leave."""
        if self._options.room.startswith("slow-drain"):
            await asyncio.sleep(60)
        if self._recording is not None and self._recording.state == "recording":
            await self.stop_recording()
        self._connection = ConnectionState.DISCONNECTED

    async def wait_closed(self) -> str:
        """Until the room is gone."""
        await self._over.wait()
        return "room_deleted"

    async def publish(self, spec: str, options: PublishOptions) -> tuple[PublicationState, ...]:
        """One video publication."""
        sid = f"TR_{len(self._publications)}"
        self._publications[sid] = PublicationState(sid, options.name or spec, "video", "camera", "live", False)
        return (self._publications[sid],)

    async def unpublish(self, sid: str) -> None:
        """End it."""
        self._publications.pop(self._known(sid))

    async def set_muted(self, sid: str, muted: bool) -> None:
        """Mute it."""
        self._publications[self._known(sid)] = replace(self._publications[sid], muted=muted)

    def _known(self, sid: str) -> str:
        if sid not in self._publications:
            raise TrackNotFound(f"nothing is published as {sid!r}; look at the room's publications")
        return sid

    async def set_policy(self, policy: SubscriptionPolicy) -> None:
        """Its default decides."""
        self._subscribed = policy.default is SubscribeAction.SUBSCRIBE

    async def set_subscribed(self, track_sid: str, subscribed: bool | None) -> None:
        """Subscribe."""
        self._remote(track_sid)
        self._subscribed = subscribed is not False
        for listener in self._listeners:
            listener(TrackSubscribed(track_sid, b"\x00\xff"))

    async def set_layer(self, track_sid: str, quality: str | None, target: str) -> None:
        """Pin a layer."""
        self._remote(track_sid)
        self._quality = quality

    def _remote(self, track_sid: str) -> None:
        if track_sid != "TR_remote":
            raise TrackNotFound(f"no track {track_sid!r} in the room; list its tracks")

    async def send_data(
        self, payload: bytes, topic: str, reliable: bool, destination_identities: Sequence[str]
    ) -> None:
        """To "crash": a native crash. To "fault": a bug. To "lose": the connection is being restored from then on."""
        if topic == "crash":
            os.kill(os.getpid(), signal.SIGABRT)
        if topic == "fault":
            raise ValueError("a bug")
        if topic == "lose":
            self._connection = ConnectionState.RECONNECTING
        if topic == "end":
            self._over.set()

    async def send_text(self, text: str, topic: str, destination_identities: Sequence[str]) -> None:
        """Nothing comes of it."""

    async def set_e2ee_key(self, key: str, *, participant_identity: str | None, key_index: int) -> None:
        """Known from then on."""
        self._options = replace(self._options, e2ee_key=key)

    async def start_recording(
        self,
        recording_id: str,
        *,
        policy: SubscriptionPolicy | None = None,
        plan: RecordingPlan | None = None,
        paused: bool = False,
    ) -> RecordingStatus:
        """A folder with a log of its own. "overtaken": the plan began one just before; "refused": it cannot be had."""
        if recording_id == "overtaken":
            await self.start_recording("by-the-plan")
            self._tell_recording()
        if recording_id in {"overtaken", "refused"}:
            raise RecordingConflict("the room is being recorded already; stop that recording first")
        folder = self._recordings_dir / recording_id
        await asyncio.to_thread(_note, folder, "start")
        await asyncio.to_thread((folder / "e2ee_key").write_text, self._options.e2ee_key or "")
        self._recording = RecordingStatus(recording_id, str(folder), "recording", 0.0, 1, 0, 0, 0, 0)
        return await self.pause_recording() if paused else self._recording

    async def pause_recording(self) -> RecordingStatus:
        """Say so."""
        return self._moved("paused")

    async def resume_recording(self) -> RecordingStatus:
        """Say so."""
        return self._moved("recording")

    def _moved(self, state: str) -> RecordingStatus:
        if self._recording is None:
            raise RecordingConflict("the room is not being recorded; start a recording first")
        self._recording = replace(self._recording, state=state)
        return self._recording

    async def change_recording(
        self, *, policy: SubscriptionPolicy | None = None, plan: RecordingPlan | None = None
    ) -> None:
        """A duration ends the recording at once; a size has one begin by itself; nothing comes of the rest."""
        if plan is not None and plan.stop.duration_s is not None and self._recording is not None:
            self._recording = replace(self._recording, state="complete", ended_reason="duration")
            self._tell_recording()
        if plan is not None and plan.stop.size_bytes is not None:
            await self.start_recording("by-itself")
            self._tell_recording()

    def _tell_recording(self) -> None:
        for listener in self._listeners:
            assert self._recording is not None
            listener(RecordingChanged(self._recording))

    async def stop_recording(self) -> RecordingStatus:
        """Close it."""
        assert self._recording is not None
        await asyncio.to_thread(_note, Path(self._recording.path), "complete")
        self._recording = replace(self._recording, state="complete")
        return self._recording

    def state(self) -> RoomState:
        """One participant with one track."""
        self._packets += 10
        receive = ReceiveState(packets_received=self._packets, bytes_received=self._packets * 1000, score=90.0)
        track = TrackState(
            sid="TR_remote",
            name="camera",
            kind="video",
            source="camera",
            participant_identity="alice",
            mime_type="video/VP8",
            muted=False,
            simulcasted=True,
            width=1280,
            height=720,
            quality=self._quality,
            quality_pinned=self._quality is not None,
            subscription=receive if self._subscribed else None,
        )
        return RoomState(
            room=self._options.room,
            sid="RM_fake",
            identity=self._options.identity,
            connection=self._connection,
            at=0.0,
            participants=(ParticipantState("alice", "PA_1", "Alice", "", {}),),
            tracks=(track,),
            publications=tuple(self._publications.values()),
            recording=self._recording,
        )

    def counters(self) -> RoomCounters:
        """Few."""
        return RoomCounters(connection_events={"connected": 1}, recording_segments=2)

    def add_listener(self, listener: Callable[[object], None]) -> None:
        """Tell `listener`."""
        self._listeners.append(listener)


def _note(folder: Path, what: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps({"what": what, "pid": os.getpid()}) + "\n")


async def _make(options: RoomOptions) -> FakeRoomAgent:
    return FakeRoomAgent(options)


if __name__ == "__main__":
    run_room_process(_make)

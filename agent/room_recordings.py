"""The recordings of one room agent, one after the other: what people ask, and what its plan has it do by itself."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import Settings
from agent.errors import ConnectionLost, RecordingConflict, TrackNotFound
from agent.export_queue import QueueSink
from agent.request import RoomRequest
from agent.room.counters import RoomCounters
from agent.room.decoded_tracks import DecodedTracks
from agent.room.events import DataReceived, DataTrackFrame, ParticipantConnected, TrackPublished
from agent.room.quality_monitor import QualityTick
from agent.room.recorder_options import RecorderOptions
from agent.room.recording import RoomRecorder
from agent.room.recording_control import RecordingControl, RoomMetadata, cut_off, snapshot
from agent.room.recording_plan import EndedReason, RecordingPlan, RecordWhen
from agent.room.recording_policy import Begin, End, Pause, PolicyAction, RecordingSnapshot
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, ReceiveState, RecordingStatus
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscriptionPolicy
from media.clock import SteadyClock
from media.errors import RecordingNotFound
from media.record.entries import RecordingState
from media.record.reader import read_recording
from media.record.recording_id import new_recording_id
from media.tap.tap import TapOptions
from quality.stats import VideoQuality

if TYPE_CHECKING:
    # Loading the export engine takes over a second; a room that exports nothing does without.
    from media.export.queue import ExportQueue

RECORDING_ENDED = "recording_ended"
LEAVING = "the room is being left, so no recording begins any more; join it again to record it"


class RoomRecordings:
    """At most one recording at a time. `ended` is set when the plan has the agent leave with its recording."""

    def __init__(
        self,
        request: RoomRequest,
        settings: Settings,
        session: RoomSession,
        subscriber: Subscriber,
        tap: TapOptions,
        clock: SteadyClock,
        queue: "ExportQueue | None",
        tell: Callable[[object], None],
    ) -> None:
        self._request = request
        self._settings = settings
        self._session = session
        self._subscriber = subscriber
        self._tap = tap
        self._clock = clock
        self._queue = queue
        self._tell = tell
        self._policy = request.record_policy
        self._next_id = request.recording_id
        self._recorder: RoomRecorder | None = None
        self._last: RecordingStatus | None = None
        self._past = RoomCounters()
        self._left: dict[str, int] = {}
        self._lock = asyncio.Lock()
        self._metadata = RoomMetadata()
        self._control = RecordingControl(_plan_of(request), self._look, self._act, clock)
        self._starting: asyncio.Task[None] | None = None
        self._closed = False
        self.ended = asyncio.Event()

    @property
    def folder(self) -> Path:
        """Where recordings are."""
        return self._request.recordings_dir or self._settings.recordings_dir

    @property
    def recorder(self) -> RoomRecorder | None:
        """The recorder at work."""
        return self._recorder

    def status(self) -> RecordingStatus | None:
        """The recording in progress, or the last one."""
        return self._recorder.status() if self._recorder else self._last

    def receive_state(self, track_sid: str) -> ReceiveState | None:
        """What is received of a track for the recording."""
        return self._recorder.receive_state(track_sid) if self._recorder else None

    def counters(self) -> RoomCounters:
        """Totals of all recordings, and what waits now; segments that one had left are its own until it goes on."""
        total = self._past + (self._recorder.counters() if self._recorder else RoomCounters())
        return replace(total, handoff_pending=total.handoff_pending + sum(self._left.values()))

    async def begin(self) -> None:
        """Record from now on if that is asked for; later recordings begin as the plan says."""
        at_once = await self._records_at_once()
        if at_once:
            await self.start(self._next_id)
            self._next_id = None
        self._control.start(decided=at_once or self._request.recording_stopped)

    async def aclose(self) -> None:
        """Close the recording, also one that begins just now; none begins any more. Idempotent."""
        self._closed = True
        await self._control.aclose()
        if self._starting is not None:
            self._starting.cancel()
        async with self._lock:
            if self._recorder is not None:
                await self._stop(EndedReason.LEFT)

    async def start(
        self,
        recording_id: str | None = None,
        *,
        policy: SubscriptionPolicy | None = None,
        plan: RecordingPlan | None = None,
        paused: bool = False,
    ) -> RecordingStatus:
        """As `RoomAgent.start_recording`."""
        async with self._lock:
            if self._closed:
                raise RecordingConflict(LEAVING)
            if self._session.connection not in {ConnectionState.CONNECTED, ConnectionState.RECONNECTING}:
                raise ConnectionLost("not in the room, so there is nothing to record; join it first, or join again")
            if self._recorder is not None:
                running = self._recorder.status().recording_id
                raise RecordingConflict(f"the room is being recorded already, as {running}; stop that recording first")
            self._change(policy, plan)
            options = RecorderOptions(
                room=self._request.room,
                recording_id=recording_id or new_recording_id(self._request.room, self._clock.now()),
                recordings_dir=await asyncio.to_thread(self.folder.resolve),
                segment_duration_s=self._settings.segment_duration_s,
                part_duration_s=self._settings.part_duration_s,
                policy=self._policy,
                sink=QueueSink(self._queue) if self._queue else None,
                layers=self._control.plan.layers,
                paused=paused,
                decoded=self._decoded_tracks() if self._control.plan.decoded else None,
                mux_participants=self._request.mux,
            )
            recorder = RoomRecorder(options, self._tap, self._clock, self._tell)
            await self._started(recorder)
            self._recorder = recorder
            self._left.pop(options.recording_id, None)
            self._tell_present(recorder)
            return recorder.status()

    async def _started(self, recorder: RoomRecorder) -> None:
        self._starting = asyncio.create_task(recorder.start(), name="recording.start")
        try:
            await self._starting
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._closed and current is not None and not current.cancelling():
                raise RecordingConflict(LEAVING) from None
            raise
        finally:
            self._starting = None

    def _decoded_tracks(self) -> DecodedTracks:
        return DecodedTracks(self._subscriber, self._clock, decrypts=self._session.decrypts)

    def _tell_present(self, recorder: RoomRecorder) -> None:
        """Who and what was there before the recording began belongs on its timeline too."""
        participants = {participant.identity: participant for participant in self._session.participants}
        for participant in participants.values():
            recorder.on_room_event(ParticipantConnected(participant))
        for track in self._session.tracks:
            recorder.on_room_event(TrackPublished(participants[track.participant_identity], track))

    async def stop(self, reason: EndedReason = EndedReason.REQUESTED) -> RecordingStatus:
        """Close the recording; all of it is on disk when this returns. RecordingConflict where there is none."""
        async with self._lock:
            return await self._stop(reason)

    async def _stop(self, reason: EndedReason) -> RecordingStatus:
        recorder = self._running()
        await recorder.aclose(reason)
        self._recorder = None
        counters, self._last = recorder.counters(), recorder.status()
        if counters.handoff_pending:
            self._left[self._last.recording_id] = counters.handoff_pending
        self._past = self._past + replace(counters, handoff_pending=0, recording_write_queue_bytes=0)
        return self._last

    async def set_paused(self, *, paused: bool) -> RecordingStatus:
        """Pause the recording, or go on with it. RecordingConflict where there is none."""
        async with self._lock:
            recorder = self._running()
            (recorder.pause if paused else recorder.unpause)()
            return recorder.status()

    async def change(self, policy: SubscriptionPolicy | None, plan: RecordingPlan | None) -> None:
        """Change what is recorded and how; None leaves it as it is."""
        async with self._lock:
            self._change(policy, plan)

    def _change(self, policy: SubscriptionPolicy | None, plan: RecordingPlan | None) -> None:
        if policy is not None:
            self._policy = policy
        if plan is not None:
            self._control.plan = replace(plan, when=self._control.plan.when)
        if self._recorder is not None:
            self._recorder.set_policy(self._policy)
            self._recorder.set_layers(self._control.plan.layers)

    def pin_layer(self, track_sid: str, quality: VideoQuality | None) -> None:
        """Take this layer of a recorded video; None leaves it to the plan. RecordingConflict or TrackNotFound."""
        if self._recorder is None:
            raise RecordingConflict("the room is not being recorded, so there is no tap; start a recording first")
        if self._recorder.tap.quality(track_sid) is None:
            raise TrackNotFound(f"no track {track_sid!r} is being recorded in this room")
        self._recorder.pin_layer(track_sid, quality)

    def on_keys(self) -> None:
        """Keys for end-to-end encryption were added."""
        if self._recorder is not None:
            self._recorder.on_keys()

    def on_room_event(self, event: object) -> None:
        """Put the event on the recording's timeline; it may begin or end a recording too."""
        if self._recorder is not None:
            self._recorder.on_room_event(event)
        if not isinstance(event, DataReceived | DataTrackFrame):
            self._control.nudge()

    def on_quality(self, tick: QualityTick) -> None:
        """What the participant's connection receives and sends, judged."""
        if self._recorder is not None:
            self._recorder.on_participant_quality(tick)

    def _running(self) -> RoomRecorder:
        if self._recorder is None:
            raise RecordingConflict("the room is not being recorded; start a recording first")
        return self._recorder

    async def _records_at_once(self) -> bool:
        """Whether a recording begins with the agent: one is asked for, or was cut off and goes on."""
        if not (self._request.record or self._next_id):
            return False
        if not self._control.plan.when.begins_by_itself:
            return True
        return self._next_id is not None and await asyncio.to_thread(_goes_on, self.folder / self._next_id)

    def _look(self) -> RecordingSnapshot:
        """How things are, for the plan."""
        activity = self._recorder.activity() if self._recorder else None
        if self._session.connection is not ConnectionState.CONNECTED:
            return cut_off(activity)
        wish = self._metadata.wish(self._session.room_metadata)
        return snapshot(
            self._session.participants,
            self._session.tracks,
            self._policy,
            activity,
            wish,
            any_codec=self._control.plan.decoded,
        )

    async def _act(self, action: PolicyAction) -> None:
        """Do what the plan says; what somebody did by hand in the meantime stands."""
        if isinstance(action, Begin):
            if self._recorder is None:
                await self._begin(action)
        elif self._recorder is None:
            return
        elif isinstance(action, End):
            await self.stop(action.reason)
            if self._control.plan.leave_when_stopped:
                self.ended.set()
        else:
            await self.set_paused(paused=isinstance(action, Pause))

    async def _begin(self, action: Begin) -> None:
        # Kept until it has begun: each attempt that failed may have left a folder, and the next one goes on in it.
        if self._next_id is None:
            self._next_id = new_recording_id(self._request.room, self._clock.now())
        status = await self.start(self._next_id, paused=action.paused)
        self._next_id = None  # recordings that follow are others
        if status.state == RecordingState.PAUSED and not action.paused:
            await self.set_paused(paused=False)  # the attempt before was to begin paused


def _goes_on(path: Path) -> bool:
    """Whether nobody ended the recording in the folder `path`: its writer died, or left with the room. Blocking."""
    try:
        view = read_recording(path)
    except RecordingNotFound:
        return False
    return view.state is RecordingState.INTERRUPTED or view.ended_reason == EndedReason.LEFT


def _plan_of(request: RoomRequest) -> RecordingPlan:
    """Where no recording is asked for, none begins by itself."""
    plan = request.recording_plan
    return plan if request.record or request.recording_id else replace(plan, when=RecordWhen.NOW)

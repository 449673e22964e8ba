"""One room's composition root: a participant and, when asked, a recorder, wired together. No decisions here."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from agent.config import Settings
from agent.credentials import Credentials
from agent.errors import InvalidSettings
from agent.export_queue import submit_export
from agent.listeners import listen, tell_all
from agent.request import RoomRequest
from agent.room.counters import RoomCounters
from agent.room.cpu_waiting import CpuWaiting
from agent.room.data import DataPublisher
from agent.room.data_limits import strings
from agent.room.encryption import RoomEncryption, RoomKeys
from agent.room.events import ConnectionStateChanged, LayerChanged, LocalTrackPublished
from agent.room.frame_readers import FrameReaders
from agent.room.frames import AudioFrame, VideoFrame
from agent.room.layers import LayerAdapter
from agent.room.publish_adapter import PublishAdapter
from agent.room.publish_options import PublishOptions
from agent.room.publisher import Publisher
from agent.room.quality_monitor import QualityMonitor
from agent.room.quality_surroundings import ParticipantSurroundings
from agent.room.recording_plan import RecordingPlan
from agent.room.restart_hands import ParticipantHands
from agent.room.restarts import TrackRestarter
from agent.room.rpc import Rpc, RpcHandler
from agent.room.rpc_limits import DEFAULT_RESPONSE_TIMEOUT_S
from agent.room.session import RoomSession, SessionOptions
from agent.room.sources import to_source
from agent.room.state import ConnectionState, PublicationState, RecordingStatus, RoomState, TrackState
from agent.room.stats import StatsPoller
from agent.room.subscriber import Subscriber
from agent.room.subscription import SubscribeAction, SubscriptionPolicy
from agent.room_recordings import RECORDING_ENDED, RoomRecordings
from agent.room_tokens import as_the_token_says, participant_token, tap_token
from agent.tasks import Tasks, to_the_end
from media.clock import SteadyClock
from media.export.job import ExportFormat, ExportRequest
from media.sources.source import Source
from media.tap.tap import TapOptions
from quality.layer_steps import height
from quality.stats import VideoQuality

if TYPE_CHECKING:
    # Loading the export engine takes over a second; a room that exports nothing does without.
    from media.export.queue import ExportQueue

log = structlog.get_logger(__name__)

Listener = Callable[[object], None]


class RoomAgent:
    """A hand in one room. `async with` joins and leaves; one agent joins once.

    Raises the errors of `agent.errors` and `media.errors`. Use one agent per process where you can:
    a fault in the SDK's native code ends its process.
    """

    def __init__(
        self,
        credentials: Credentials,
        request: RoomRequest,
        settings: Settings,
        *,
        clock: SteadyClock | None = None,
        export_queue: "ExportQueue | None" = None,
    ) -> None:
        self._clock = clock or SteadyClock()
        self._request = request = as_the_token_says(request, now=self._clock.now())
        self._settings = settings
        self._queue = export_queue
        self._listeners: list[Listener] = []
        key = settings.e2ee_key.get_secret_value() if request.e2ee_key is None else request.e2ee_key
        self._encryption = RoomEncryption(RoomKeys.parse(key, request.e2ee_participant_keys))
        options = SessionOptions(
            text_topics=tuple(strings("text_topics", request.text_topics)),
            data_tracks=tuple(strings("data_tracks", request.data_tracks)),
            encryption=self._encryption,
        )
        self._session = RoomSession(
            credentials.url, participant_token(credentials, request), options, clock=self._clock
        )
        self._publisher = Publisher(self._session)
        self._subscriber = Subscriber(self._session, request.policy)
        self._readers = FrameReaders(self._session, self._subscriber, self._clock)
        self._data = DataPublisher(self._session)
        self._rpc = Rpc(self._session)
        self._stats = StatsPoller(self._session, self._subscriber, self._publisher, clock=self._clock)
        self._layers = LayerAdapter(self._session, self._subscriber, cpu_times=CpuWaiting().take)
        surroundings = ParticipantSurroundings(self._session, self._publisher)
        self._quality = QualityMonitor("participant", surroundings, self._tell)
        hands = ParticipantHands(self._session, self._subscriber, self._publisher)
        self._restarter = TrackRestarter("participant", hands, self._tell)
        self._publishing = PublishAdapter(self._publisher, self._tell)
        tap = TapOptions(credentials.url, partial(tap_token, credentials, request), self._encryption.keys)
        self._recordings = RoomRecordings(
            request, settings, self._session, self._subscriber, tap, self._clock, export_queue, self._tell
        )
        self._counted: Counter[str] = Counter()
        self._switches: Counter[str] = Counter()
        self._connected_before = False
        self._room_sid = ""
        self._tasks = Tasks("agent")
        self._session.add_listener(self._on_room_event)
        self._stats.add_listener(self._quality.take)
        self._quality.add_listener(self._recordings.on_quality)
        self._quality.add_listener(self._restarter.on_tick)
        self._quality.add_listener(self._layers.on_tick)
        self._quality.add_listener(self._publishing.on_tick)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Join, then publish and record what the request says. Leaves again where that fails."""
        try:
            await self._encryption.prepare()
            await self._session.connect()
            self._stats.start()
            self._tasks.start(self._learn_room_sid(), name="room_sid")
            await self._recordings.begin()
            if self._request.publish:
                await self.publish(self._request.publish, self._request.publish_options)
        except BaseException:
            await self.aclose()
            raise

    async def _learn_room_sid(self) -> None:
        self._room_sid = await self._session.room_sid()

    async def aclose(self) -> None:
        """Close the recording, then sources, publications and the room; idempotent.

        Whole even if cancelled, and whatever a step raises: the cancellation, or the error, is raised at the end.
        """
        await to_the_end(self._leave())

    async def _leave(self) -> None:
        async with AsyncExitStack() as steps:  # taken from the last to the first, each whatever the others raise
            steps.push_async_callback(self._session.aclose)
            steps.push_async_callback(self._publishing.aclose)
            steps.push_async_callback(self._restarter.aclose)
            steps.push_async_callback(self._tasks.aclose)
            steps.push_async_callback(self._recordings.aclose)

    async def wait_closed(self) -> str:
        """Until the room is over for us; LiveKit's DisconnectReason in lower case.

        Or "recording_ended", where the plan has us leave then: whoever waits closes the agent.
        """
        room = asyncio.ensure_future(self._session.wait_ended())
        recording = asyncio.ensure_future(self._recordings.ended.wait())
        try:
            await asyncio.wait({room, recording}, return_when=asyncio.FIRST_COMPLETED)
            return room.result().reason if room.done() else RECORDING_ENDED
        finally:
            room.cancel()
            recording.cancel()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called with every event of room and recording; call the result to stop.

        It is a plain function, called in the event loop, and should return soon. InvalidSettings for an async one.
        """
        return listen(self._listeners, listener)

    # Publishing

    async def publish(
        self, source: str | os.PathLike[str] | Source, options: PublishOptions | None = None
    ) -> tuple[PublicationState, ...]:
        """Publish "pattern", "sync", a media file or a `LiveSource`: one publication each for video and audio.

        Or another object that is like one (`media.sources.source.Source`).
        """
        options = options or PublishOptions()
        opened = await to_source(source, loop=self._request.loop, pre_encoded=options.pre_encoded)
        return await self._publisher.publish(opened, options)

    async def unpublish(self, sid: str) -> None:
        """End a publication, by SID or name."""
        await self._publisher.unpublish(sid)

    async def set_muted(self, sid: str, muted: bool) -> None:
        """Mute or unmute a publication, by SID or name."""
        (self._publisher.mute if muted else self._publisher.unmute)(sid)

    async def send_data(
        self,
        payload: bytes,
        topic: str = "",
        reliable: bool = True,
        destination_identities: Sequence[str] = (),
    ) -> None:
        """Send a data packet to all, or to those in the list, once the connection stands. InvalidSettings if too long.

        Payload, topic and destination identities (4 bytes more each) may have 63,600 bytes together.
        """
        await self._data.publish_data(
            payload, topic=topic, reliable=reliable, destination_identities=destination_identities
        )

    async def send_text(self, text: str, topic: str = "lk.chat", destination_identities: Sequence[str] = ()) -> str:
        """Send a text stream of at most 1,000,000 characters (LiveKit's chat by default); its stream id.

        While the connection is being restored this waits, as `send_data` does.
        """
        return await self._data.send_text(text, topic=topic, destination_identities=destination_identities)

    def register_rpc_method(self, name: str, handler: RpcHandler) -> None:
        """Answer calls of that LiveKit RPC method, also before `start`: `handler(invocation)` returns the answer.

        It is an async function. `RpcError` of it is what the caller is told; any other error is logged, and told as
        1500. It is cancelled when the caller's time is over, and before we leave.
        """
        self._rpc.register(name, handler)

    def unregister_rpc_method(self, name: str) -> None:
        """Answer calls of that method no longer; nothing where none is registered."""
        self._rpc.unregister(name)

    async def perform_rpc(
        self,
        destination_identity: str,
        method: str,
        payload: str = "",
        response_timeout: float = DEFAULT_RESPONSE_TIMEOUT_S,
    ) -> str:
        """Call a participant's LiveKit RPC method with at most 15,360 bytes; its answer.

        `response_timeout` is in seconds, of which 7 are for the way: the other has the rest, 1 s at least.
        Raises RpcError, or before anything is sent InvalidSettings, PermissionDenied, ParticipantNotFound or
        ConnectionLost.
        """
        return await self._rpc.perform(destination_identity, method, payload, response_timeout=response_timeout)

    async def publish_data_track(self, name: str) -> str:
        """Open a data track; its SID."""
        return await self._data.publish_data_track(name)

    def push_data(self, name: str, payload: bytes, *, user_timestamp: int | None = None) -> bool:
        """Send a frame on an open data track; False where it was dropped."""
        return self._data.push(name, payload, user_timestamp=user_timestamp)

    async def unpublish_data_track(self, name: str) -> None:
        """Close a data track. TrackNotFound."""
        await self._data.unpublish_data_track(name)

    # What others see of us

    async def set_metadata(self, metadata: str) -> None:
        """Change our metadata, of at most 512 KiB; the server has them when this returns.

        Raises InvalidSettings, PermissionDenied (no canUpdateOwnMetadata) or ConnectionLost. They cannot be emptied.
        """
        await self._session.set_metadata(metadata)

    async def set_name(self, name: str) -> None:
        """Change our display name, of at most 256 bytes; as `set_metadata`."""
        await self._session.set_name(name)

    async def set_attributes(self, changes: Mapping[str, str]) -> None:
        """Change some of our attributes, of at most 64 KiB together; an empty value removes one. As `set_metadata`."""
        await self._session.set_attributes(changes)

    # Subscribing

    async def set_policy(self, policy: SubscriptionPolicy) -> None:
        """Subscribe by these rules from now on."""
        self._subscriber.set_policy(policy)

    async def set_subscribed(self, track_sid: str, subscribed: bool | None) -> None:
        """Subscribe to a track or not, whatever the rules say; None leaves it to them again."""
        action = None if subscribed is None else SubscribeAction.SUBSCRIBE if subscribed else SubscribeAction.IGNORE
        self._subscriber.override(track_sid, action)

    async def set_layer(self, track_sid: str, quality: str | None, target: str = "subscription") -> None:
        """Ask for layer "low", "medium" or "high" of a video; None leaves it to the controller or the plan again.

        `target` is "subscription" (the participant's) or "tap" (the recording's).
        """
        wanted = _parse_quality(quality)
        if target == "subscription":
            self._subscriber.set_quality(track_sid, wanted)
        elif target == "tap":
            self._recordings.pin_layer(track_sid, wanted)
        else:
            raise InvalidSettings(f"target is {target!r}; give subscription or tap")

    def video_frames(self, track_sid: str) -> AsyncGenerator[VideoFrame, None]:
        """The pictures of a track from now on, each the newest, until the track or the room is over.

        Subscribes to it meanwhile. Raises TrackNotFound, InvalidSettings (no video, or encrypted and we have no key),
        PermissionDenied or ConnectionLost.
        """
        return self._readers.video(track_sid)

    def audio_frames(
        self, track_sid: str, *, sample_rate: int = 48_000, channels: int = 1
    ) -> AsyncGenerator[AudioFrame, None]:
        """The sound of a track from now on, all that came since the last frame at once; as `video_frames`.

        Ten seconds are kept for who is slow; what is dropped then is told in `missed`.
        """
        return self._readers.audio(track_sid, sample_rate, channels)

    # Recording

    async def start_recording(
        self,
        recording_id: str | None = None,
        *,
        policy: SubscriptionPolicy | None = None,
        plan: RecordingPlan | None = None,
        paused: bool = False,
    ) -> RecordingStatus:
        """Record the room from now on; a recording of that id is gone on with. RecordingConflict while one runs.

        ConnectionLost before `start` and after the room's end.
        `policy` and `plan` hold for the recordings that follow too (None: as before). `paused`: without media yet.
        """
        return await self._recordings.start(recording_id, policy=policy, plan=plan, paused=paused)

    async def set_e2ee_key(self, key: str, *, participant_identity: str | None = None, key_index: int = 0) -> None:
        """Use another key for end-to-end encryption: of the room, or of one participant, at one of 16 places.

        A recording that lacked it goes on with the next sync sample. Raises InvalidEncryptionKey.
        """
        await self._encryption.set_key(key, identity=participant_identity, index=key_index)
        self._recordings.on_keys()

    async def stop_recording(self) -> RecordingStatus:
        """Close the recording; all of it is on disk when this returns. RecordingConflict where there is none."""
        return await self._recordings.stop()

    async def pause_recording(self) -> RecordingStatus:
        """Record nothing from now on, in the same recording; idempotent. RecordingConflict where there is none.

        What people say or send is left out too; who is there, and what they publish, is still told on the timeline.
        """
        return await self._recordings.set_paused(paused=True)

    async def resume_recording(self) -> RecordingStatus:
        """Record again, video from a sync sample on; idempotent. RecordingConflict where there is none."""
        return await self._recordings.set_paused(paused=False)

    async def change_recording(
        self, *, policy: SubscriptionPolicy | None = None, plan: RecordingPlan | None = None
    ) -> None:
        """Change what is recorded, when recordings end and in which layers they are, also while one runs.

        None leaves it as it is. `plan.when` counts only in the request that the agent was made with.
        """
        await self._recordings.change(policy, plan)

    async def export(
        self, recording_id: str, export_format: str, out_dir: Path, *, participant_identity: str | None = None
    ) -> str:
        """Queue an export ("mp4" or "hls") of a recording; its id. A worker takes it up by itself."""
        path = self._recordings.folder / recording_id
        request = ExportRequest(path, ExportFormat(export_format), out_dir, participant_identity)
        return await asyncio.to_thread(submit_export, self._queue, request, self._settings.export_database)

    # What is told

    def state(self) -> RoomState:
        """Everything at once."""
        state = RoomState(
            room=self._request.room,
            sid=self._room_sid,
            identity=self._request.identity,
            connection=self._session.connection,
            at=self._clock.now(),
            recording=self._recordings.status(),
        )
        if self._session.connection not in {ConnectionState.CONNECTED, ConnectionState.RECONNECTING}:
            return state
        return replace(
            state,
            participants=self._session.participants,
            tracks=tuple(self._track_state(track) for track in self._session.tracks),
            publications=tuple(self._publication_state(item) for item in self._publisher.publications),
        )

    def _publication_state(self, publication: PublicationState) -> PublicationState:
        judgement = self._quality.judgement(publication.sid)
        if judgement is None:
            return publication
        return replace(
            publication,
            score=round(judgement.score.value, 1),
            quality=judgement.score.quality.value,
            patterns=tuple(active.pattern.value for active in judgement.patterns),
        )

    def _track_state(self, track: TrackState) -> TrackState:
        subscription = self._quality.receive_state(track.sid)
        tap = self._recordings.receive_state(track.sid)
        if track.kind != "video":
            return replace(track, subscription=subscription, tap=tap)
        intent = self._subscriber.intent(track.sid)
        return replace(
            track,
            quality=intent.quality.name.lower(),
            quality_pinned=intent.pinned,
            subscription=subscription,
            tap=tap,
        )

    def counters(self) -> RoomCounters:
        """Totals for metrics, of this agent's whole life."""
        mine = RoomCounters(
            connection_events={key: self._counted[key] for key in _CONNECTION_EVENTS},
            layer_switches=dict(self._switches),
        )
        parts = (self._recordings, self._quality, self._restarter, self._publishing, self._publisher)
        return sum((part.counters() for part in parts), mine)

    def _on_room_event(self, event: object) -> None:
        self._recordings.on_room_event(event)
        if isinstance(event, ConnectionStateChanged):
            self._count_connection(event.state)
        elif isinstance(event, LocalTrackPublished):
            self._encryption.published()
        self._tell(event)

    def _count_connection(self, state: ConnectionState) -> None:
        if state is ConnectionState.CONNECTED:
            self._counted["reconnected" if self._connected_before else "connected"] += 1
            self._connected_before = True
        elif state.value in _CONNECTION_EVENTS:
            self._counted[state.value] += 1

    def _tell(self, event: object) -> None:
        if isinstance(event, LayerChanged):
            direction = "up" if height(event.to_quality) > height(event.from_quality) else "down"
            self._switches[f"{event.connection}/{event.kind}/{direction}"] += 1
        tell_all(self._listeners, event, fault="agent_listener_failed", room_event=type(event).__name__)


_CONNECTION_EVENTS = ("connected", "reconnecting", "reconnected", "disconnected")


def _parse_quality(quality: str | None) -> VideoQuality | None:
    if quality is None:
        return None
    try:
        return VideoQuality[quality.upper()]
    except KeyError:
        raise InvalidSettings(f"{quality!r} is no layer; give low, medium or high") from None

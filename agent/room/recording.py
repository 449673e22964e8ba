"""Recording one room: the tap's frames and the room's events into a recording, its segments handed off.

Decides nothing about media: which tracks is the policy's, where frames go is media.record's.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from agent.room import events
from agent.room.counters import RoomCounters
from agent.room.decryption import DecryptionWatch
from agent.room.quality_monitor import QualityTick
from agent.room.recorded_layers import RecordedLayers
from agent.room.recorded_selection import RecordedSelection
from agent.room.recorded_tracks import RecordedTracks
from agent.room.recorder_events import RecorderEvent, RecordingChanged, SegmentClosed
from agent.room.recorder_options import RecorderOptions, open_recording
from agent.room.recording_activity import RecordingActivity, is_heard
from agent.room.recording_plan import EndedReason, LayerPolicy
from agent.room.recording_quality import RecordingQuality
from agent.room.restart_hands import TapHands
from agent.room.restarts import TrackRestarter
from agent.room.state import ReceiveState, RecordingStatus
from agent.room.subscription import SubscriptionPolicy
from agent.room.timeline import timeline_event
from agent.tasks import Tasks, to_the_end
from media.clock import SteadyClock
from media.errors import MediaError, StorageError, TapError
from media.frames import EncodedFrame, MediaKind
from media.record.entries import SegmentEntry, TimelineEvent
from media.record.handoff import Handoff
from media.record.recorder import Recording
from media.record.recording_writer import RecordingCallbacks
from media.tap.events import RemoteParticipant
from media.tap.tap import Tap, TapOptions, TapState
from quality.stats import VideoQuality

log = structlog.get_logger(__name__)

TICK_S = 0.25  # parts are at most 1 s; a quarter of that bounds how late one is closed
TICKS_PER_SAMPLE = 4  # statistics and clock mappings once a second
# What people say is not recorded while a recording is paused; who is there and what they publish is.
_CONTENT = (events.TextReceived, events.DataReceived, events.DataTrackFrame)


class RoomRecorder:
    """One recording of one room, from `start` to `aclose`; `aclose` is idempotent and loses nothing.

    It is the tap's listener, and takes the room's events through `on_room_event`.
    """

    def __init__(
        self,
        options: RecorderOptions,
        tap: TapOptions,
        clock: SteadyClock,
        tell: Callable[[RecorderEvent], None],
    ) -> None:
        self._options = options
        self._clock = clock
        self._tell = tell
        self._tap = Tap(tap, self, clock)
        self._decryption = DecryptionWatch(self._tap, options.keys_of(tap), clock, self._append_event, tell)
        self._tasks = Tasks("recorder")
        self._decoded = options.decoded
        self._tracks = RecordedTracks(self._tap, self._decoded, clock)
        self._layers = RecordedLayers(self._tap, options.layers, tell)
        self._quality = RecordingQuality(self._tap, self._decoded, tell)
        self._selection = RecordedSelection(
            options.policy,
            self._tap,
            self._decoded,
            self._tracks,
            self._layers,
            self._decryption,
            self.on_tap_frames,
            clock.now,
        )
        hands = TapHands(self._tap, self._layers, self._selection.nudge)
        self._restarter = TrackRestarter("tap", hands, tell)
        if self._decoded is None:
            self._quality.add_listener(self._restarter.on_tick)
            self._quality.add_listener(self._choose_layers)
        self._loop = asyncio.get_running_loop()
        self._recording: Recording | None = None
        self._handoff: Handoff | None = None
        self._storage_errors: Counter[str] = Counter()
        self._last_error: MediaError | None = None
        self._closing: asyncio.Task[None] | None = None
        self._ended_reason = ""

    async def start(self) -> None:
        """Open the recording (a folder that is there is gone on with), join and record from now on.

        Raises a TapError, StorageError, RecordingBusy or RecordingDamaged; nothing is left running then.
        """
        try:
            self._quality.start(await to_the_end(self._opened()))
            if self._options.sink is not None:
                self._handoff = Handoff(self._open_recording.path, self._options.sink)
                self._handoff.start()
            await self._tap.start()
        except BaseException:
            # Nobody asked for its end: who starts again goes on with it.
            await to_the_end(self.aclose(EndedReason.LEFT))
            raise
        self._tasks.start(self._selection.follow(), name="policy")
        self._tasks.start(self._tick(), name="tick")
        self._tasks.start(self._decryption.derive_keys(), name="derive_keys")
        self._tasks.start(self._quality.load_earlier(self._clock.now()), name="quality_samples")
        self._tell(RecordingChanged(self.status()))

    async def _opened(self) -> Recording:
        self._recording = await asyncio.to_thread(self._open)
        return self._recording

    def _open(self) -> Recording:
        callbacks = RecordingCallbacks(
            on_segment=self._on_segment, on_error=self._on_error, on_keyframe_request=self._on_keyframe_request
        )
        return open_recording(self._options, callbacks, self._clock.now())

    @property
    def tap(self) -> Tap:
        """The connection that receives for the recording."""
        return self._tap

    @property
    def _open_recording(self) -> Recording:
        assert self._recording is not None, "started first"
        return self._recording

    # What the room and the tap tell

    def on_room_event(self, event: object) -> None:
        """Put what belongs there on the recording's timeline; while it is paused, nothing of what people say."""
        if isinstance(event, _CONTENT) and self._recording is not None and self._recording.paused:
            return
        entry = timeline_event(event, self._clock.now())
        if entry is not None:
            self._append_event(entry)

    def on_participant_quality(self, tick: QualityTick) -> None:
        """Take what the participant's own connection receives: of tracks that are decoded, it is what is recorded."""
        if self._closing is None:
            self._quality.take_participant(tick)

    def _choose_layers(self, tick: QualityTick) -> None:
        if self._layers.on_tick(tick):
            self._selection.nudge()

    def _append_event(self, entry: TimelineEvent) -> None:
        if self._recording is not None and self._closing is None:
            self._recording.append_event(entry)

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        """Write frames of a track."""
        self._tracks.write(self._open_recording, track_sid, frames)

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        """Somebody or something came, went or changed."""
        self._tracks.note_interruptions()
        self._selection.nudge()

    def on_tap_state(self, state: TapState, reason: str) -> None:
        """The tap's connection changed."""
        if state is TapState.CLOSED and self._closing is None:
            log.error("recording_tap_closed", reason=reason)
            self._last_error = TapError(
                f"the recorder's connection was ended for good ({reason}), so nothing is recorded any more; "
                "stop this recording and start another one"
            )
            self._tell(RecordingChanged(self.status()))

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        """The server paused or resumed a track for lack of bandwidth."""
        if self._tracks.set_stream_paused(track_sid, paused=paused):
            log.warning("recording_stream_paused" if paused else "recording_stream_resumed", sid=track_sid)

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        """A track cannot be had; the server keeps the wish for it."""
        log.warning("recording_track_refused", sid=track_sid, reason=reason)
        self._selection.refuse(track_sid)

    def on_tap_allowed(self, track_sid: str) -> None:
        """It can be had again."""
        self._selection.allow(track_sid)

    # What the writer thread tells

    def _on_segment(self, segment: SegmentEntry) -> None:
        self._loop.call_soon_threadsafe(self._segment_closed, segment)

    def _segment_closed(self, segment: SegmentEntry) -> None:
        if self._handoff is not None:
            self._handoff.notify()
        self._tell(SegmentClosed(self._options.recording_id, segment))

    def _on_error(self, error: StorageError) -> None:
        self._loop.call_soon_threadsafe(self._storage_failed, error)

    def _storage_failed(self, error: StorageError) -> None:
        self._storage_errors[error.code] += 1
        self._last_error = error
        self._tell(RecordingChanged(self.status()))

    def _on_keyframe_request(self, track: int) -> None:
        self._loop.call_soon_threadsafe(self._request_keyframe, track)

    def _request_keyframe(self, number: int) -> None:
        sid = self._tracks.sid_of(number)
        if sid is not None:
            (self._decoded or self._tap).request_keyframe(sid)

    # Tasks

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            self._open_recording.tick(self._clock.now())
            if ticks % TICKS_PER_SAMPLE == 0:
                self._sample()
                # Budgets follow what is measured; and the participant may not have known a track yet.
                if self._layers.policy.budget_bps is not None or self._decoded is not None:
                    self._selection.nudge()

    def _sample(self) -> None:
        now = self._clock.now()
        self._quality.sample(self._tracks.is_stream_paused, self._tracks.sound.counts, now)
        self._layers.rates.take(self._bytes_received(), now)
        self._tracks.map_clocks(now)
        self._decryption.check()

    def _bytes_received(self) -> dict[str, int]:
        if self._decoded is not None:
            return dict(self._decoded.bytes_encoded)
        return {sid: stats.media_bytes_received for sid, stats in self._tap.stats().items()}

    # What others ask

    def pause(self) -> None:
        """Record nothing from now on, within the same recording; idempotent."""
        self._set_paused(paused=True)

    def unpause(self) -> None:
        """Record again: video from its next sync sample on; idempotent."""
        self._set_paused(paused=False)

    def _set_paused(self, *, paused: bool) -> None:
        recording, now = self._open_recording, self._clock.now()
        if self._closing is not None or recording.paused == paused:
            return
        if paused:
            self._quality.flush(now)
        (recording.pause if paused else recording.unpause)(now)
        recording.append_event(TimelineEvent("recording_paused" if paused else "recording_unpaused", now))
        self._tell(RecordingChanged(self.status()))
        if paused:
            self._tasks.start(self._quality.report_pause(), name="quality_report")

    def on_keys(self) -> None:
        """Keys were added: tracks that were left out for want of one may be recorded now."""
        self._selection.nudge()

    def set_policy(self, policy: SubscriptionPolicy) -> None:
        """Record by these rules from now on."""
        self._selection.policy = policy
        self._selection.nudge()

    def set_layers(self, layers: LayerPolicy) -> None:
        """Take layers by this policy from now on."""
        self._layers.policy = layers
        self._selection.nudge()

    def pin_layer(self, track_sid: str, quality: VideoQuality | None) -> None:
        """Take this layer of a recorded video, whatever the policy says; None leaves it to the policy again."""
        self._layers.pin(track_sid, quality)
        self._selection.nudge()

    def activity(self) -> RecordingActivity:
        """What tells whether the recording still has something to record."""
        recording, decoded = self._open_recording, self._decoded
        publishers = {
            sid: found[0].sid
            for sid in self._selection.sids
            if (found := self._tap.find_track(sid)) is not None and found[1].kind is MediaKind.AUDIO
        }
        closed = self._tap.state is TapState.CLOSED  # for good; who spoke last speaks no more
        speakers = {} if closed else self._tap.speakers
        return RecordingActivity(
            recording_id=self._options.recording_id,
            connected=closed or self._tap.state is TapState.CONNECTED,
            paused=recording.paused,
            heard=is_heard(publishers, speakers, self._layers.rates),
            packets=decoded.frames_encoded if decoded else _packets(self._tap),
            recorded_s=recording.recorded_s(self._clock.now()),
            size_bytes=recording.size_bytes,
        )

    def receive_state(self, track_sid: str) -> ReceiveState | None:
        """What the tap receives of a track."""
        return self._quality.receive_state(track_sid)

    def status(self) -> RecordingStatus:
        """The recording as it is now."""
        recording = self._open_recording
        totals = recording.stats
        return RecordingStatus(
            recording_id=self._options.recording_id,
            path=str(recording.path),
            state=recording.state.value,
            started_at=recording.started_at,
            tracks=recording.tracks,
            segments=totals.segments,
            bytes=totals.bytes_written,
            frames=totals.frames_written,
            frames_lost=totals.frames_lost_storage + totals.frames_lost_overflow,
            error_code=self._last_error.code if self._last_error else "",
            error=str(self._last_error or ""),
            recorded_s=round(recording.recorded_s(self._clock.now()), 3),
            ended_reason=self._ended_reason,
            paused=recording.paused and not self._ended_reason,
            undecryptable=self._decryption.undecryptable,
        )

    def counters(self) -> RoomCounters:
        """Totals for metrics."""
        totals = self._open_recording.stats
        handoff = self._handoff
        return (
            self._quality.counters()
            + self._restarter.counters()
            + RoomCounters(
                recording_segments=totals.segments,
                recording_bytes=totals.bytes_written,
                recording_frames=dict(self._tracks.frames),
                recorded_sound_failures=self._tracks.sound.failures,
                recording_frames_lost={kind.value: lost for kind, lost in totals.frames_lost.items()},
                recording_write_queue_bytes=totals.queue_bytes,
                storage_errors=dict(self._storage_errors),
                handoffs={"ok": handoff.handed_off, "failed": handoff.failures} if handoff else {},
                handoff_pending=handoff.pending if handoff else 0,
            )
        )

    async def aclose(self, reason: EndedReason = EndedReason.REQUESTED) -> None:
        """Take what still comes, leave, close the recording and hand off its last segments."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(reason), name="recorder.close")
        await asyncio.shield(self._closing)

    async def _close(self, reason: EndedReason) -> None:
        await self._restarter.aclose()
        if self._decoded is not None:
            await self._decoded.aclose()
        await self._tap.aclose()
        await self._tasks.aclose()
        if self._recording is not None:
            self._tracks.map_clocks(self._clock.now())
            self._quality.flush(self._clock.now())
            await self._recording.aclose(self._clock.now(), reason.value)
            # The report of a large room takes seconds: segments do not wait for it, nor the word of the end for them.
            handed_off = asyncio.create_task(self._drain_handoff(), name="recorder.drain")
            try:
                await self._quality.write_report()
                self._ended_reason = reason.value
                self._tell(RecordingChanged(self.status()))
            finally:
                await handed_off

    async def _drain_handoff(self) -> None:
        if self._handoff is None:
            return
        try:
            await self._handoff.drain()
        except MediaError as error:
            # The cursor keeps them: whoever opens the recording next hands them off.
            log.warning("recording_handoff_left", error=str(error))
        await self._handoff.aclose()


def _packets(tap: Tap) -> int:
    return sum(stats.packets_received for stats in tap.stats().values())

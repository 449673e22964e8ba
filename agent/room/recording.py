"""Recording one room: the tap's frames and the room's events into a recording, its segments handed off.

Decides nothing about media: which tracks is the policy's, where frames go is media.record's.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.room.counters import RoomCounters
from agent.room.decryption import DecryptionWatch, TrackDecryptable, TrackUndecryptable
from agent.room.receiving import ReceiveJudge, tap_inbound_rtp
from agent.room.state import ReceiveState, RecordingStatus, TrackState
from agent.room.subscription import Candidate, SubscriptionPolicy, decide
from agent.room.tap_values import (
    participant_state,
    track_descriptor,
    track_source,
    track_state,
    video_quality,
)
from agent.room.timeline import timeline_event
from agent.tasks import Tasks
from media.clock import SteadyClock
from media.errors import MediaError, StorageError
from media.frames import Codec, EncodedFrame
from media.record.entries import SegmentEntry, TimelineEvent
from media.record.handoff import Handoff, SegmentSink
from media.record.recorder import Recording
from media.record.recording_id import check_recording_id
from media.record.recording_writer import RecordingCallbacks, RecordingConfig
from media.record.segmenter import SegmenterConfig
from media.record.track_recorder import TrackRecorder
from media.tap.events import LayerQuality, RemoteParticipant
from media.tap.tap import Tap, TapOptions, TapState
from quality.stats import TrackKind, TrackSnapshot

log = structlog.get_logger(__name__)

TICK_S = 0.25  # parts are at most 1 s; a quarter of that bounds how late one is closed
TICKS_PER_SAMPLE = 4  # statistics and clock mappings once a second
RECORDABLE = {"audio/opus": Codec.OPUS, "audio/red": Codec.OPUS, "video/vp8": Codec.VP8, "video/h264": Codec.H264}


@dataclass(frozen=True, slots=True)
class SegmentClosed:
    """A segment is on disk and on its way to the export pipeline."""

    recording_id: str
    segment: SegmentEntry


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """A recording began, went on, changed its state or ended."""

    status: RecordingStatus


RecorderEvent = SegmentClosed | RecordingChanged | TrackUndecryptable | TrackDecryptable


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """What to record and where. `sink` None hands segments to nobody."""

    room: str
    recording_id: str
    recordings_dir: Path
    segment_duration_s: float
    part_duration_s: float
    policy: SubscriptionPolicy
    sink: SegmentSink | None


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
        self._decryption = DecryptionWatch(self._tap, tap.keys, clock, self._append_event, tell)
        self._tasks = Tasks("recorder")
        self._tracks: dict[str, TrackRecorder] = {}
        self._judge = ReceiveJudge()
        self._paused: set[str] = set()
        self._refused: set[str] = set()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._recording: Recording | None = None
        self._handoff: Handoff | None = None
        self._frames: Counter[str] = Counter()
        self._storage_errors: Counter[str] = Counter()
        self._last_error: StorageError | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the recording (a folder that is there is gone on with), join and record from now on.

        Raises a TapError, StorageError, RecordingBusy or RecordingDamaged; nothing is left running then.
        """
        self._recording = await asyncio.to_thread(self._open)
        try:
            if self._options.sink is not None:
                self._handoff = Handoff(self._recording.path, self._options.sink)
                self._handoff.start()
            await self._tap.start()
        except BaseException:
            await self.aclose()
            raise
        self._tasks.start(self._follow_policy(), name="policy")
        self._tasks.start(self._tick(), name="tick")
        self._tasks.start(self._decryption.derive_keys(), name="derive_keys")
        self._tell(RecordingChanged(self.status()))

    def _open(self) -> Recording:
        options, now = self._options, self._clock.now()
        config = RecordingConfig(
            segmenter=SegmenterConfig(
                segment_duration_s=options.segment_duration_s, part_duration_s=options.part_duration_s
            )
        )
        callbacks = RecordingCallbacks(
            on_segment=self._on_segment, on_error=self._on_error, on_keyframe_request=self._on_keyframe_request
        )
        path = options.recordings_dir / check_recording_id(options.recording_id)
        if path.exists():
            return Recording.resume(path, now, config=config, callbacks=callbacks)
        return Recording.create(
            options.recordings_dir,
            options.recording_id,
            options.room,
            started_at=now,
            config=config,
            callbacks=callbacks,
        )

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
        """Put what belongs there on the recording's timeline."""
        entry = timeline_event(event, self._clock.now())
        if entry is not None:
            self._append_event(entry)

    def _append_event(self, entry: TimelineEvent) -> None:
        if self._recording is not None and self._closing is None:
            self._recording.append_event(entry)

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        """Write frames of a track."""
        recorder = self._tracks.get(track_sid) or self._open_track(track_sid, frames[0])
        if recorder is None:
            return
        for frame in frames:
            if recorder.write(frame):
                self._frames[frame.codec.kind.value] += 1

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        """Somebody or something came, went or changed."""
        self._changed.set()

    def on_tap_state(self, state: TapState, reason: str) -> None:
        """The tap's connection changed."""
        if state is TapState.CLOSED and self._closing is None:
            log.error("recording_tap_closed", reason=reason)

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        """The server paused or resumed a track for lack of bandwidth."""
        if paused == (track_sid in self._paused):
            return
        (self._paused.add if paused else self._paused.discard)(track_sid)
        log.warning("recording_stream_paused" if paused else "recording_stream_resumed", sid=track_sid)

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        """A track cannot be had."""
        self._refused.add(track_sid)
        log.warning("recording_track_refused", sid=track_sid, reason=reason)

    def _open_track(self, track_sid: str, frame: EncodedFrame) -> TrackRecorder | None:
        found = self._tap.find_track(track_sid)
        if found is None:
            return None
        recorder = self._open_recording.open_track(track_descriptor(*found, frame.codec), self._clock.now())
        self._tracks[track_sid] = recorder
        log.info("recording_track", sid=track_sid, codec=frame.codec.value, participant_identity=found[0].identity)
        return recorder

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
        for sid, recorder in self._tracks.items():
            if recorder.number == number:
                self._tap.request_keyframe(sid)

    # Tasks

    async def _follow_policy(self) -> None:
        while True:
            await self._apply_policy()
            await self._changed.wait()
            self._changed.clear()

    async def _apply_policy(self) -> None:
        candidates = [
            Candidate(
                participant_state(participant), track_state(participant, track), track.sid in self._tap.subscribed
            )
            for participant in self._tap.participants.values()
            for track in participant.tracks
        ]
        present = {candidate.track.sid for candidate in candidates}
        for choice in decide(self._options.policy, [item for item in candidates if self._recordable(item.track)]):
            if choice.subscribe and choice.sid not in self._tap.subscribed:
                await self._tap.subscribe(choice.sid, LayerQuality(choice.quality.value))
            elif not choice.subscribe and choice.sid in self._tap.subscribed:
                await self._end_track(choice.sid)
        for sid in (self._tap.subscribed | set(self._tracks)) - present:
            await self._end_track(sid)
        self._decryption.check()

    def _recordable(self, track: TrackState) -> bool:
        if track.sid in self._refused:
            return False
        if track.mime_type.lower() in RECORDABLE:
            return self._decryption.has_key(track)
        self._refused.add(track.sid)
        log.warning("recording_codec_unsupported", sid=track.sid, mime_type=track.mime_type)
        return False

    def on_keys(self) -> None:
        """Keys were added: tracks that were left out for want of one may be recorded now."""
        self._changed.set()

    async def _end_track(self, sid: str) -> None:
        await self._tap.unsubscribe(sid)
        recorder = self._tracks.pop(sid, None)
        if recorder is not None:
            recorder.close(self._clock.now())

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            self._open_recording.tick(self._clock.now())
            if ticks % TICKS_PER_SAMPLE == 0:
                self._sample()

    def _sample(self) -> None:
        now = self._clock.now()
        self._judge.take(self._snapshots(now), now)
        self._map_clocks(now)
        self._decryption.check()

    def _map_clocks(self, now: float) -> None:
        for sid, mapping in self._tap.clock_mappings().items():
            if recorder := self._tracks.get(sid):
                recorder.set_clock_mapping(mapping, now)

    def _snapshots(self, now: float) -> tuple[TrackSnapshot, ...]:
        found = ((stats, self._tap.find_track(sid)) for sid, stats in self._tap.stats().items())
        return tuple(
            TrackSnapshot(
                track_sid=item[1].sid,
                kind=TrackKind(item[1].kind.value),
                source=track_source(item[1]),
                timestamp=now,
                stats=tap_inbound_rtp(stats),
                muted=item[1].muted,
                stream_paused=item[1].sid in self._paused,
                requested_quality=video_quality(self._tap.quality(item[1].sid)),
            )
            for stats, item in found
            if item is not None
        )

    # What others ask

    def receive_state(self, track_sid: str) -> ReceiveState | None:
        """What the tap receives of a track."""
        return self._judge.receive_state(track_sid)

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
            undecryptable=self._decryption.undecryptable,
        )

    def counters(self) -> RoomCounters:
        """Totals for metrics."""
        totals = self._open_recording.stats
        handoff = self._handoff
        return RoomCounters(
            recording_segments=totals.segments,
            recording_bytes=totals.bytes_written,
            recording_frames=dict(self._frames),
            recording_frames_lost={kind.value: lost for kind, lost in totals.frames_lost.items()},
            recording_write_queue_bytes=totals.queue_bytes,
            storage_errors=dict(self._storage_errors),
            handoffs={"ok": handoff.handed_off, "failed": handoff.failures} if handoff else {},
            handoff_pending=handoff.pending if handoff else 0,
        )

    async def aclose(self) -> None:
        """Take what still comes, leave, close the recording and hand off its last segments."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="recorder.close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._tap.aclose()
        await self._tasks.aclose()
        if self._recording is not None:
            self._map_clocks(self._clock.now())
            await self._recording.aclose(self._clock.now())
            self._tell(RecordingChanged(self.status()))
        if self._handoff is not None:
            try:
                await self._handoff.drain()
            except MediaError as error:
                # The cursor keeps them: whoever opens the recording next hands them off.
                log.warning("recording_handoff_left", error=str(error))
            await self._handoff.aclose()

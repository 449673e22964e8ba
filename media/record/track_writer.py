"""The files of one track: carries out what its segmenter says. Lives in the recording's writer thread."""

import hashlib
from dataclasses import dataclass

import structlog

from media.errors import DataLost, StorageError
from media.frames import EncodedFrame
from media.record.codec_config import RECORDABLE
from media.record.decode_timeline import ResumePoint
from media.record.entries import (
    GapEntry,
    GapReason,
    InitEntry,
    SegmentEntry,
    TrackClosed,
    TrackOpened,
)
from media.record.muxer import muxer_for
from media.record.note import InitNote, SegmentNote, encode_note
from media.record.recording_context import RecordingContext
from media.record.sample import CodecConfig, Sample
from media.record.segment_writer import SegmentWriter
from media.record.segmenter import (
    Action,
    AppendPart,
    CloseSegment,
    ReportGap,
    RequestKeyframe,
    Segmenter,
    SetAnchor,
    StartSegment,
)
from media.record.storage import make_directory, write_durably
from media.record.track_clock import TrackClock
from media.rtp.clock_mapping import RtpClockMapping

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class TrackProgress:
    """Where a track goes on: the next numbers, and the end of what it has (`resume`: None for a new track)."""

    next_sequence: int = 1
    next_init: int = 1
    resume: ResumePoint | None = None


@dataclass(slots=True)
class _OpenSegment:
    writer: SegmentWriter
    sequence: int
    init_path: str
    start: StartSegment
    end_decode_time: int = 0


@dataclass(frozen=True, slots=True)
class TrackCounters:
    """Frames of one track so far, and the bytes of its segments.

    `refused`: video that nothing could decode. `lost_storage`: the disk refused. `lost_overflow`: it was too slow.
    """

    written: int = 0
    refused: int = 0
    lost_storage: int = 0
    lost_overflow: int = 0
    clamped: int = 0
    resets: int = 0
    bytes_written: int = 0


class TrackWriter:
    """Writes one track. A StorageError out of any method leaves all that was whole on disk, and the track waiting."""

    def __init__(self, context: RecordingContext, opened: TrackOpened, progress: TrackProgress) -> None:
        self.opened = opened
        self._context = context
        self._progress = progress
        self._away = GapReason.RESTART
        self._segmenter = self._new_segmenter()
        self._past = TrackCounters()
        self._lost = {GapReason.STORAGE: 0, GapReason.OVERFLOW: 0}
        self._clock = TrackClock(opened.track, opened.timescale, context.started.started_at)
        self._inits: dict[CodecConfig, str] = {}
        self._open: _OpenSegment | None = None
        self._unfinished: list[_OpenSegment] = []
        self._end_decode_time = progress.resume.decode_time if progress.resume else 0
        self._bytes_written = 0
        self._gap_waits = False

    @property
    def counters(self) -> TrackCounters:
        """What happened so far."""
        now, past, timeline = self._segmenter.counters, self._past, self._segmenter.timeline
        return TrackCounters(
            written=past.written + now.written,
            refused=past.refused + now.refused,
            lost_storage=past.lost_storage + now.aborted + self._lost[GapReason.STORAGE],
            lost_overflow=past.lost_overflow + self._lost[GapReason.OVERFLOW],
            clamped=past.clamped + timeline.clamped,
            resets=past.resets + timeline.resets,
            bytes_written=self._bytes_written,
        )

    def reopen(self, opened: TrackOpened) -> None:
        """Go on with the track after `close`: what follows is placed by the time that passed."""
        self._past = self.counters
        self._lost = dict.fromkeys(self._lost, 0)
        self.opened = opened
        ends = [segment.end_decode_time for segment in self._unfinished]
        end = max([self._end_decode_time, *ends])
        media_time_s = self._clock.media_time_s(end)
        if media_time_s is not None:
            self._progress.resume = ResumePoint(end, self._context.started.started_at + media_time_s)
        self._segmenter = self._new_segmenter()
        self._clock.leave()

    def write(self, frame: EncodedFrame) -> None:
        """Take the next frame. Raises StorageError."""
        self._perform_all(self._segmenter.write(frame), frame.arrival_time)

    def tick(self, now: float) -> None:
        """Let time pass. Raises StorageError."""
        self._perform_all(self._segmenter.tick(now), now)

    def lose(self, frames: int, reason: GapReason) -> None:
        """`frames` were dropped before they got here."""
        self._lost[reason] += frames
        self._segmenter.lose(frames, reason)

    def set_clock_mapping(self, estimate: RtpClockMapping, now: float) -> None:
        """Take an estimate of the sender's clock."""
        mapping = self._clock.estimated(estimate, self._segmenter.decode_time)
        if mapping is not None:
            self._context.ledger.record(mapping, now)

    def suspend(self) -> None:
        """The disk refuses: keep what is whole, count the rest as lost, and wait for better times."""
        self._segmenter.abort(GapReason.STORAGE)
        self._set_aside()

    def finish_unfinished(self, now: float) -> None:
        """Finish the segments that a refusing disk cut short. Raises StorageError; may be called again."""
        while self._unfinished:
            self._finish(self._unfinished[0], now)
            self._unfinished.pop(0)

    def note_interruption(self, reason: GapReason | None) -> None:
        """Frames may fail to come for `reason`; None: no longer."""
        self._segmenter.note_interruption(reason)

    def pause(self, now: float) -> None:
        """Write what is in memory and close the segment; what comes next is after a pause. Raises StorageError."""
        self._perform_all(self._segmenter.pause(GapReason.PAUSED), now)

    def close(self, now: float, reason: GapReason = GapReason.UNPUBLISHED) -> None:
        """Write what is in memory and close the segment. Raises StorageError; the track is closed all the same.

        `reason` is told of the gap, should the track be opened again.
        """
        self._away = reason
        try:
            self._perform_all(self._segmenter.close(), now)
        finally:
            self._context.ledger.record(TrackClosed(self.opened.track), now)
        self._context.ledger.commit(now, self._context.on_segment)

    def abandon(self) -> None:
        """Let go of files that could not be finished; a later repair or resume does it."""
        self._set_aside()
        for segment in self._unfinished:
            segment.writer.abandon()
        self._unfinished.clear()

    def _perform_all(self, actions: list[Action], now: float) -> None:
        for index, action in enumerate(actions):
            try:
                self._perform(action, now)
            except StorageError:
                self._fail(actions[index:], now)
                raise

    def _perform(self, action: Action, now: float) -> None:
        ledger, track = self._context.ledger, self.opened.track
        if isinstance(action, AppendPart):
            self._append(action)
        elif isinstance(action, StartSegment):
            self._start_segment(action, now)
        elif isinstance(action, CloseSegment):
            self._close_segment(action.end_decode_time, now)
        elif isinstance(action, RequestKeyframe):
            self._context.on_keyframe_request(self.opened.track)
        elif isinstance(action, ReportGap):
            gap = GapEntry(track, action.decode_time, action.duration, action.reason, action.frames_lost)
            ledger.record(gap, now)
            self._gap_waits = True
        else:
            mapping = self._clock.anchored(action.anchor)
            if self._clock.rtp_anchor is not None:
                ledger.record(self._clock.rtp_anchor, now)
            ledger.record(mapping, now)

    def _fail(self, remaining: list[Action], now: float) -> None:
        """What the failed action and those behind it wanted: entries are recorded all the same, samples are lost."""
        unwritten = tuple(s for action in remaining if isinstance(action, AppendPart) for s in action.samples)
        for action in remaining:
            if isinstance(action, SetAnchor | ReportGap):
                self._perform(action, now)
        self._segmenter.abort(GapReason.STORAGE, unwritten)
        self._set_aside()

    def _set_aside(self) -> None:
        """Stop writing the open segment; it is finished, with the parts it has, once the disk answers again."""
        segment, self._open = self._open, None
        if segment is None:
            return
        segment.end_decode_time = segment.end_decode_time or segment.writer.end_decode_time
        self._unfinished.append(segment)

    def _start_segment(self, action: StartSegment, now: float) -> None:
        muxer = muxer_for(action.config.codec, RECORDABLE[action.config.codec])
        init_path = self._inits.get(action.config) or self._write_init(action.config, now)
        if self._gap_waits:
            # As durable as what comes after it: a kill would leave media behind a hole without reason.
            self._context.ledger.commit(now, self._context.on_segment)
            self._gap_waits = False
        sequence = self._progress.next_sequence
        relative = f"{self.opened.directory}/{sequence:06d}{muxer.container.segment_suffix}"
        note = SegmentNote(
            id=self._segment_id(sequence),
            init_path=init_path,
            decode_time=action.decode_time,
            discontinuity=action.discontinuity,
            rtp_anchor=self._clock.rtp_anchor,
            clock_mapping=self._clock.mapping,
        )
        writer = SegmentWriter(
            self._context.path / relative, muxer, sequence, encode_note(note), fsync_parts=self._context.fsync_parts
        )
        self._open = _OpenSegment(writer, sequence, init_path, action)
        self._tell_samples(action.config, action.decode_time, ())
        self._progress.next_sequence += 1

    def _append(self, action: AppendPart) -> None:
        segment = self._open
        assert segment is not None, "the segmenter opens a segment before it fills it"
        before = segment.writer.size_bytes
        segment.writer.append(action.samples)
        self._bytes_written += segment.writer.size_bytes - before
        writer = segment.writer
        self._context.on_part(self.opened.track, segment.sequence, writer.parts, writer.samples)
        self._tell_samples(segment.start.config, action.samples[0].decode_time, action.samples)

    def _tell_samples(self, config: CodecConfig, decode_time: int, samples: tuple[Sample, ...]) -> None:
        media_time_s = self._clock.media_time_s(decode_time)
        assert media_time_s is not None, "the segmenter sets an anchor before anything else"
        self._context.on_samples(self.opened.track, config, samples, media_time_s)

    def _close_segment(self, end_decode_time: int, now: float) -> None:
        segment = self._open
        assert segment is not None, "the segmenter closes only what it opened"
        segment.end_decode_time = end_decode_time
        self._finish(segment, now)
        self._open = None
        self._context.ledger.commit(now, self._context.on_segment)

    def _finish(self, segment: _OpenSegment, now: float) -> None:
        writer = segment.writer
        if not writer.parts:
            writer.discard()
            if segment.sequence == self._progress.next_sequence - 1:
                self._progress.next_sequence -= 1
            return
        self._end_decode_time = max(self._end_decode_time, segment.end_decode_time)
        try:
            writer.finish()
        except DataLost as error:
            self._give_up(segment, error, now)
            return
        entry = SegmentEntry(
            id=self._segment_id(segment.sequence),
            track=self.opened.track,
            sequence=segment.sequence,
            path=f"{self.opened.directory}/{writer.path.name}",
            init_path=segment.init_path,
            sha256=writer.sha256,
            size_bytes=writer.size_bytes,
            decode_time=segment.start.decode_time,
            duration=segment.end_decode_time - segment.start.decode_time,
            samples=writer.samples,
            sync_samples=writer.sync_samples,
            parts=writer.parts,
            discontinuity=segment.start.discontinuity,
            independent=segment.start.independent,
            recovered=False,
            closed_at=now,
        )
        self._context.ledger.record(entry, now)

    def _give_up(self, segment: _OpenSegment, error: DataLost, now: float) -> None:
        """The disk lost what it had taken: its time is a gap, and the file stays for a repair to look at."""
        segment.writer.abandon()
        _log.error("recording_segment_lost", id=self._segment_id(segment.sequence), code=error.code, error=str(error))
        start, samples = segment.start.decode_time, segment.writer.samples
        self._lost[GapReason.STORAGE] += samples
        gap = GapEntry(self.opened.track, start, segment.end_decode_time - start, GapReason.STORAGE, samples)
        self._context.ledger.record(gap, now)

    def _write_init(self, config: CodecConfig, now: float) -> str:
        """Write, record and remember the init segment for `config`; its path."""
        context, opened, index = self._context, self.opened, self._progress.next_init
        muxer = muxer_for(config.codec, RECORDABLE[config.codec])
        container = muxer.container
        relative = f"{opened.directory}/init-{index}{container.init_suffix}"
        note = InitNote(
            context.started, opened, index, container, config.codec, config.codec_string, config.width, config.height
        )
        data = muxer.init_segment(config, encode_note(note))
        make_directory(context.path / opened.directory)
        write_durably(context.path / relative, data)
        digest = hashlib.sha256(data).hexdigest()
        entry = InitEntry(
            opened.track,
            index,
            relative,
            container,
            config.codec,
            config.codec_string,
            config.width,
            config.height,
            digest,
            len(data),
        )
        context.ledger.record(entry, now)
        self._inits[config] = relative
        self._progress.next_init += 1
        context.ledger.commit(now, context.on_segment)
        return relative

    def _segment_id(self, sequence: int) -> str:
        return f"{self._context.started.recording_id}/{self.opened.track}/{sequence}"

    def _new_segmenter(self) -> Segmenter:
        opened = self.opened
        return Segmenter(
            opened.descriptor.kind,
            opened.timescale,
            self._context.segmenter_config,
            self._progress.resume,
            self._away,
        )

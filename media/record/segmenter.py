"""Where a track's frames go: which sample, part and segment, at which decode time (pure).

- No accepted frame is dropped: samples out are the frames accepted, in the same order. Refused are only
  video frames that nothing could decode: those before the first sync sample, or the first after a loss.
- Decode times are those of `DecodeTimeline`: exact RTP time that grows strictly.
- A sample lasts until the next one starts, but no longer than a part: one before a longer distance gets the typical
  duration, so that no timestamp can stretch a segment. ISO/IEC 14496-12 §8.8.12 has readers extend that sample up
  to the next part's `tfdt`. A distance of over a second is a gap, told as one, however long parts are.
- A part holds at most its duration of media and waits at most that long: `tick` flushes a stalled track.
- A segment is cut at the first sync sample (audio: any) past its duration. Video that brings none is asked for
  one every two seconds and goes on until it comes; `max_segment_duration_s` is the bound, past which it is cut
  anyway (`independent` is then False). A cut also follows new parameters, and a gap of over a second.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median_low

from media.errors import MediaError, RtpError
from media.frames import Codec, EncodedFrame, MediaKind
from media.record.codec_config import RECORDABLE, codec_config
from media.record.decode_timeline import Anchor, DecodeTimeline, ResumePoint
from media.record.entries import GapReason
from media.record.muxer import muxer_for
from media.record.sample import CodecConfig, Sample
from media.rtp.depacketise.opus import opus_duration

_ASSUMED_FRAME_RATE = 30
"""What video is taken to run at until two frames have come."""

_TYPICAL_OF = 15
"""Frame distances that the typical one is the median of: half a second at 30 fps."""

_GAP_S = 1.0
"""Frames further apart have a gap between them. Who reads of gaps knows nothing of parts."""

_MISSING_FACTOR = 1.5
"""From this many typical durations on, the distance across a discontinuity has room for a lost frame."""


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """Bounds of segments and parts, in seconds unless named otherwise.

    A stalled track is one without a frame for `stalled_after_s`; the last two are those of `DecodeTimeline`.
    """

    segment_duration_s: float = 6.0
    max_segment_duration_s: float = 60.0
    part_duration_s: float = 1.0
    max_part_bytes: int = 4 << 20
    stalled_after_s: float = 0.5
    keyframe_interval_s: float = 2.0
    reset_after_s: float = 30.0
    max_backward_s: float = 1.0


@dataclass(frozen=True, slots=True)
class SetAnchor:
    """Decode times count from `anchor` on."""

    anchor: Anchor


@dataclass(frozen=True, slots=True)
class StartSegment:
    """Open a segment whose first sample is at `decode_time`; `config` says which init segment it needs."""

    config: CodecConfig
    decode_time: int
    discontinuity: bool
    independent: bool


@dataclass(frozen=True, slots=True)
class AppendPart:
    """Write these samples as one part. They follow each other without a hole."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class CloseSegment:
    """The segment is over; its last sample ends at `end_decode_time`."""

    end_decode_time: int


@dataclass(frozen=True, slots=True)
class ReportGap:
    """No media for `duration` ticks from `decode_time` on; `frames_lost` of it we had and dropped."""

    decode_time: int
    duration: int
    reason: GapReason
    frames_lost: int


@dataclass(frozen=True, slots=True)
class RequestKeyframe:
    """Ask the sender for a sync sample."""


Action = SetAnchor | StartSegment | AppendPart | CloseSegment | ReportGap | RequestKeyframe


@dataclass(slots=True)
class SegmenterCounters:
    """Frames so far. accepted = written + aborted + those still in memory."""

    accepted: int = 0
    written: int = 0
    aborted: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Placed:
    frame: EncodedFrame
    decode_time: int


class Segmenter:
    """The state of one track. Each method returns the actions to carry out, in order."""

    def __init__(
        self,
        kind: MediaKind,
        timescale: int,
        config: SegmenterConfig,
        resume: ResumePoint | None = None,
        away: GapReason = GapReason.RESTART,
    ) -> None:
        """`resume`: where the track stopped earlier; `away`: why."""
        self.counters = SegmenterCounters()
        self.timeline = DecodeTimeline(timescale, config.reset_after_s, config.max_backward_s, resume)
        self._kind = kind
        self._timescale = timescale
        self._config = config
        self._part_ticks = round(config.part_duration_s * timescale)
        self._gap_ticks = round(_GAP_S * timescale)
        self._distances: deque[int] = deque(maxlen=_TYPICAL_OF)
        self._codec: CodecConfig | None = None
        self._last: _Placed | None = None
        self._last_is_waiting = False
        self._last_end = resume.decode_time if resume else 0
        self._part: list[Sample] = []
        self._part_bytes = 0
        self._oldest_arrival = 0.0
        self._segment_start: int | None = None
        self._segment_arrival = 0.0
        self._needs_sync = kind is MediaKind.VIDEO
        self._loss: GapReason | None = away if resume else None
        self._lost_from: int | None = resume.decode_time if resume else None
        self._frames_lost = 0
        self._quiet: GapReason | None = None
        self._hint: GapReason | None = None
        self._asked_at = float("-inf")

    @property
    def decode_time(self) -> int:
        """Of the last frame; 0 before the first."""
        return self.timeline.last_decode_time

    @property
    def in_memory(self) -> int:
        """Frames accepted that no action has told to write yet."""
        return len(self._part) + self._last_is_waiting

    def write(self, frame: EncodedFrame) -> list[Action]:
        """Take the next frame."""
        if frame.undecryptable_before:
            self.lose(frame.undecryptable_before, GapReason.ENCRYPTED)
        config = self._config_of(frame)
        if config is None:
            self.counters.refused += 1
            # What a pause holds back until its sync sample was not wanted either.
            self._frames_lost += self._loss is not GapReason.PAUSED
            return self._ask_for_keyframe(frame.arrival_time)
        self.counters.accepted += 1
        placed = self.timeline.place(frame.rtp_timestamp, frame.arrival_time, self._min_step(frame))
        actions: list[Action] = [] if placed.anchor is None else [SetAnchor(placed.anchor)]
        reason = self._interruption(frame, placed.anchor)
        current = _Placed(frame, placed.decode_time)
        long = self._end_last(current, reason, actions)
        withheld = long and self._hint is GapReason.STREAM_PAUSED
        self._cut(current, config, reason is not None or withheld, long, actions)
        if not self._part:
            self._oldest_arrival = frame.arrival_time
        self._last, self._last_is_waiting = current, True
        self._loss, self._lost_from, self._frames_lost = None, None, 0
        self._hint = self._quiet
        return actions

    def tick(self, now: float) -> list[Action]:
        """Flush what waited for a second (`now`: Unix seconds), and close the segment of a track that went silent."""
        actions: list[Action] = []
        last = self._last
        if last is None:
            return actions
        idle_s = now - last.frame.arrival_time
        if self.in_memory and now - self._oldest_arrival >= self._config.part_duration_s:
            if self._last_is_waiting and idle_s >= self._config.stalled_after_s:
                self._add(last, self._shortest(last.frame), actions)
            self._flush(actions)
            if self._last_is_waiting:
                self._oldest_arrival = last.frame.arrival_time
        if self._segment_start is not None and not self.in_memory and self._is_over(idle_s, now):
            self._close_segment(actions)
        return actions

    def close(self) -> list[Action]:
        """Flush all and close the segment. Frames may still follow: they open a new one."""
        actions: list[Action] = []
        if self._last is not None and self._last_is_waiting:
            self._add(self._last, self._typical(self._last.frame), actions)
        self._flush(actions)
        if self._segment_start is not None:
            self._close_segment(actions)
        if self._loss is not None and self._frames_lost:
            start = self._last_end if self._lost_from is None else self._lost_from
            self._report_gap(start, start, self._loss, actions)
            self._frames_lost = 0
        return actions

    def lose(self, frames: int, reason: GapReason) -> None:
        """`frames` of this track were dropped before they got here; video then starts again at a sync sample."""
        self._frames_lost += frames
        self._loss = reason
        self._needs_sync = self._kind is MediaKind.VIDEO

    def note_interruption(self, reason: GapReason | None) -> None:
        """From now on frames may fail to come for `reason` (a mute, a pause by the server); None: no longer.

        It names the gaps that come of it, and makes none: a muted track may send on for a while.
        """
        self._quiet = reason
        self._hint = reason or self._hint

    def pause(self, reason: GapReason) -> list[Action]:
        """As `close`; what is written next comes after a gap for `reason`, and video starts with a sync sample."""
        actions = self.close()
        if self._last is not None or self._loss is not None:
            self._loss = reason
        self._needs_sync = self._kind is MediaKind.VIDEO
        return actions

    def abort(self, reason: GapReason, unwritten: tuple[Sample, ...] = ()) -> None:
        """Writing failed: what is in memory, and `unwritten` of earlier actions, is lost; the segment is over.

        A track that had nothing to lose and no segment open keeps whatever its next gap is to be named after.
        """
        lost = [*unwritten, *self._part]
        if self._last is not None and self._last_is_waiting:
            lost.append(Sample(b"", self._last.decode_time, 0, sync_sample=False))
        if lost and self._lost_from is None:
            self._lost_from = lost[0].decode_time
        self.counters.written -= len(unwritten)
        self.counters.aborted += len(lost)
        self._part.clear()
        self._part_bytes = 0
        self._last_is_waiting = False
        was_open, self._segment_start = self._segment_start is not None, None
        if lost or was_open:
            self.lose(len(lost), reason)

    def _config_of(self, frame: EncodedFrame) -> CodecConfig | None:
        """What the frame is to be written with; None when it cannot be."""
        if frame.codec.kind is not self._kind:
            return None
        known = self._codec if self._codec is not None and self._codec.codec is frame.codec else None
        if frame.sync_sample:
            config = _config_or_none(frame, known)
            if config is None and not self._needs_sync:
                config = known
            self._needs_sync = config is None and self._kind is MediaKind.VIDEO
            return config
        if known is None:
            self._needs_sync = True
        return None if self._needs_sync else known

    def _min_step(self, frame: EncodedFrame) -> int:
        """What the file format can tell apart; and never into a closed segment, whose end is told already."""
        step = muxer_for(frame.codec, RECORDABLE[frame.codec]).min_step
        if self._last is None or self._segment_start is not None:
            return step
        return max(step, self._last_end - self._last.decode_time)

    def _interruption(self, frame: EncodedFrame, anchor: Anchor | None) -> GapReason | None:
        if self._loss is not None:
            return self._loss
        if anchor is not None and anchor.reset:
            return GapReason.TIMESTAMP_RESET
        missing = frame.discontinuity or self._frames_lost
        return GapReason.MISSING if missing and self._last is not None else None

    def _end_last(self, current: _Placed, reason: GapReason | None, actions: list[Action]) -> bool:
        """Give the last frame its duration and tell of a gap after it; whether that is over a second."""
        last = self._last
        if last is None:
            if self._loss is not None:
                self._report_gap(self._last_end, current.decode_time, self._loss, actions)
            return False
        distance = current.decode_time - last.decode_time
        typical = self._typical(last.frame)
        long = distance > self._gap_ticks
        # A segment that is closed ends where that was told, be it a millisecond before.
        ended_at = self._last_end
        over = self._segment_start is None and not self._last_is_waiting and current.decode_time > ended_at
        if self._last_is_waiting:
            self._add(last, typical if distance > self._part_ticks else distance, actions)
        if not long:
            self._last_end = current.decode_time
        if long or over or (reason is not None and (self._frames_lost or distance > _MISSING_FACTOR * typical)):
            start = ended_at if over else min(last.decode_time + typical, current.decode_time)
            start = start if self._lost_from is None else self._lost_from
            self._report_gap(start, current.decode_time, self._gap_reason(reason), actions)
        elif reason is None:
            self._distances.append(distance)
        return long

    def _gap_reason(self, interruption: GapReason | None) -> GapReason:
        """What is known to have kept frames away says more than that they are missing; a loss of ours comes first."""
        if self._loss is not None:
            return self._loss
        return self._hint or interruption or GapReason.PAUSE

    def _report_gap(self, start: int, end: int, reason: GapReason, actions: list[Action]) -> None:
        actions.append(ReportGap(start, max(0, end - start), reason, self._frames_lost))

    def _cut(self, current: _Placed, config: CodecConfig, interrupted: bool, long: bool, actions: list[Action]) -> None:
        """Close and open segments before `current` is taken in; ask for a sync sample where one is due."""
        frame, start = current.frame, self._segment_start
        can_start = frame.sync_sample or self._kind is MediaKind.AUDIO
        if start is not None:
            span_s = (current.decode_time - start) / self._timescale
            due = span_s >= self._config.segment_duration_s
            forced = config != self._codec or span_s >= self._config.max_segment_duration_s
            if forced or (can_start and (due or (interrupted and long))):
                self._flush(actions)
                self._close_segment(actions)
            elif not can_start and (due or interrupted):
                actions += self._ask_for_keyframe(frame.arrival_time)
        self._codec = config
        if self._segment_start is None:
            actions.append(StartSegment(config, current.decode_time, interrupted, can_start))
            self._segment_start, self._segment_arrival = current.decode_time, frame.arrival_time
            if not can_start:
                actions += self._ask_for_keyframe(frame.arrival_time)

    def _add(self, placed: _Placed, duration: int, actions: list[Action]) -> None:
        """Put the waiting frame into the part, behind a flush where the part would grow too long."""
        frame = placed.frame
        if self._kind is MediaKind.VIDEO:
            duration = min(duration, self._part_ticks)
        sample = Sample(frame.data, placed.decode_time, duration, frame.sync_sample)
        if self._part and (
            sample.end_decode_time - self._part[0].decode_time > self._part_ticks
            or sample.decode_time != self._part[-1].end_decode_time
            or self._part_bytes + len(frame.data) > self._config.max_part_bytes
        ):
            self._flush(actions)
        if not self._part:
            self._oldest_arrival = frame.arrival_time
        self._part.append(sample)
        self._part_bytes += len(frame.data)
        self._last_end = sample.end_decode_time
        self._last_is_waiting = False

    def _flush(self, actions: list[Action]) -> None:
        if self._part:
            self.counters.written += len(self._part)
            actions.append(AppendPart(tuple(self._part)))
            self._part.clear()
            self._part_bytes = 0

    def _close_segment(self, actions: list[Action]) -> None:
        actions.append(CloseSegment(self._last_end))
        self._segment_start = None

    def _is_over(self, idle_s: float, now: float) -> bool:
        """Audio can start anywhere; video waits longer, for its next frame may be no sync sample."""
        config = self._config
        if idle_s < config.segment_duration_s:
            return False
        return self._kind is MediaKind.AUDIO or now - self._segment_arrival >= config.max_segment_duration_s

    def _ask_for_keyframe(self, now: float) -> list[Action]:
        if self._kind is MediaKind.AUDIO or now - self._asked_at < self._config.keyframe_interval_s:
            return []
        self._asked_at = now
        return [RequestKeyframe()]

    def _typical(self, frame: EncodedFrame) -> int:
        """How long `frame` lasts as far as can be told without the next one."""
        if frame.codec is Codec.OPUS:
            return _opus_ticks(frame.data) or self._median()
        return self._median()

    def _median(self) -> int:
        usual = self._timescale // (50 if self._kind is MediaKind.AUDIO else _ASSUMED_FRAME_RATE)
        return median_low(self._distances) if self._distances else usual

    def _shortest(self, frame: EncodedFrame) -> int:
        """A duration that the next frame, which may still come, is not likely to start within."""
        typical = self._typical(frame)
        return typical if self._kind is MediaKind.AUDIO else min(self._distances, default=typical)


def _config_or_none(frame: EncodedFrame, known: CodecConfig | None) -> CodecConfig | None:
    try:
        return codec_config(frame, known)
    except (MediaError, ValueError):
        return None


def _opus_ticks(packet: bytes) -> int:
    try:
        return opus_duration(packet)
    except RtpError:
        return 0

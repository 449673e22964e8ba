"""The event loop's end of one track: frames in, never waiting, and what happens when the disk falls behind."""

import structlog

from media.frames import EncodedFrame, MediaKind
from media.record.entries import GapReason, TrackDescriptor
from media.record.recording_writer import RecordingWriter
from media.record.writer_items import CloseTrack, LoseFrames, MapClock, NoteInterruption, WriteFrame
from media.rtp.clock_mapping import RtpClockMapping

_log = structlog.get_logger(__name__)

ITEM_BYTES = 256
"""What a queued item costs beside its data."""


class TrackRecorder:
    """Where one track's frames go. Made by `Recording.open_track`; call from one thread (the event loop)."""

    def __init__(self, writer: RecordingWriter, number: int, descriptor: TrackDescriptor) -> None:
        self.number = number
        self.descriptor = descriptor
        self.frames_dropped = 0
        self._writer = writer
        self._skipping = False
        self._dropped_at_start = 0
        self._untold = 0
        self._closed = False
        self._interruption: GapReason | None = None
        self._clock: MapClock | None = None

    @property
    def closed(self) -> bool:
        """Whether it takes no more frames."""
        return self._closed

    def write(self, frame: EncodedFrame) -> bool:
        """Take a frame, in decoding order; False when the disk is so far behind that it had to be dropped.

        Raises ValueError after `close`.
        """
        if self._closed:
            raise ValueError("the track was closed; open it again")
        size_bytes = len(frame.data) + ITEM_BYTES
        undecodable = self._skipping and self.descriptor.kind is MediaKind.VIDEO and not frame.sync_sample
        if undecodable or not self._writer.queue.has_room(size_bytes):
            self._drop()
            return False
        if self._skipping:
            self._end_skipping()
        return self._writer.queue.put(WriteFrame(self.number, frame), size_bytes)

    def set_clock_mapping(self, estimate: RtpClockMapping, now: float) -> None:
        """Tell the estimate of the sender's clock as it is now; before the first frame it is kept for that.

        Tell it once a second: the same one may say something new later, of a track that began anew or whose mapping
        has run off meanwhile. While the disk is behind, what it did not come to yet is not told again, and what has no
        room in the queue is for the next call to tell.
        """
        if self._closed or self._waits(estimate):
            return
        item = MapClock(self.number, estimate, now)
        if self._writer.queue.put(item, ITEM_BYTES):
            self._clock = item

    def note_interruption(self, reason: GapReason | None) -> None:
        """Say why frames may fail to come from now on (a mute, a pause by the server); None: no longer."""
        if not self._closed and reason is not self._interruption:
            self._interruption = reason
            self._writer.queue.put_always(NoteInterruption(self.number, reason))

    def close(self, now: float, reason: GapReason = GapReason.UNPUBLISHED) -> None:
        """No more frames; idempotent. The last segment closes soon after.

        `reason` is told of the gap, should the track be opened again.
        """
        if not self._closed:
            self._closed = True
            self._end_skipping()
            self._writer.queue.put_always(CloseTrack(self.number, now, reason))

    def _waits(self, estimate: RtpClockMapping) -> bool:
        """Whether the writer has yet to come to this very estimate."""
        told = self._clock
        return told is not None and told.estimate == estimate and self._writer.clock_told.get(self.number) is not told

    def _drop(self) -> None:
        if not self._skipping:
            self._skipping = True
            self._dropped_at_start = self.frames_dropped
            _log.warning("recording_queue_full", track=self.number, queue_bytes=self._writer.queue.held_bytes)
            self._writer.queue.put_always(LoseFrames(self.number, 0, ask=True))
        self.frames_dropped += 1
        self._untold += 1

    def _end_skipping(self) -> None:
        if not self._skipping:
            return
        self._writer.queue.put_always(LoseFrames(self.number, self._untold, ask=False))
        dropped = self.frames_dropped - self._dropped_at_start
        _log.info("recording_queue_drained", track=self.number, frames_dropped=dropped)
        self._skipping, self._untold = False, 0

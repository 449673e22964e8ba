"""The tracks of a recording in progress, by SID: opened with their first frame, closed when they go."""

from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from agent.room.decoded_tracks import DecodedTracks
from agent.room.recorded_sound import RecordedSound
from agent.room.tap_values import track_descriptor
from media.clock import SteadyClock
from media.frames import EncodedFrame
from media.record.entries import GapReason
from media.record.recorder import Recording
from media.record.track_recorder import TrackRecorder
from media.rtp.clock_mapping import RtpClockMapping
from media.tap.tap import Tap

log = structlog.get_logger(__name__)

ClockMappings = Callable[[], Mapping[str, RtpClockMapping]]


class RecordedTracks:
    """Takes the tap's frames to the recording, and tells it why frames fail to come.

    A track that is published again under another SID goes on where the earlier one ended (`Recording.open_track`).
    """

    def __init__(self, tap: Tap, decoded: DecodedTracks | None, clock: SteadyClock) -> None:
        """`decoded`: what makes the frames, where they are decoded: who knows their clocks, and has heard them."""
        self._tap = tap
        self._clock_mappings: ClockMappings = (decoded or tap).clock_mappings
        self._listens = decoded is None
        self._clock = clock
        self._recorders: dict[str, TrackRecorder] = {}
        self._stream_paused: set[str] = set()
        self.frames: Counter[str] = Counter()
        self.sound = RecordedSound()

    @property
    def sids(self) -> set[str]:
        """SIDs of the tracks that frames came of."""
        return set(self._recorders)

    def write(self, recording: Recording, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        """Record frames of a track; none while the recording is paused."""
        if recording.paused:
            return
        recorder = self._recorders.get(track_sid) or self._open(recording, track_sid, frames[0])
        if recorder is None:
            return
        for frame in frames:
            if recorder.write(frame):
                self.frames[frame.codec.kind.value] += 1
        if self._listens:
            self.sound.take(track_sid, frames)

    def _open(self, recording: Recording, track_sid: str, frame: EncodedFrame) -> TrackRecorder | None:
        found = self._tap.find_track(track_sid)
        if found is None:
            return None
        recorder = recording.open_track(track_descriptor(*found, frame.codec), self._clock.now())
        self._recorders[track_sid] = recorder
        log.info("recording_track", sid=track_sid, codec=frame.codec.value, participant_identity=found[0].identity)
        return recorder

    def end(self, track_sid: str, reason: GapReason) -> None:
        """No more frames of a track; `reason` is told of the gap, should it come again."""
        self._stream_paused.discard(track_sid)
        self.sound.forget(track_sid)
        recorder = self._recorders.pop(track_sid, None)
        if recorder is not None:
            recorder.close(self._clock.now(), reason)

    def set_stream_paused(self, track_sid: str, *, paused: bool) -> bool:
        """The server withholds a track for want of bandwidth, or no longer; whether that is news."""
        if paused == (track_sid in self._stream_paused):
            return False
        (self._stream_paused.add if paused else self._stream_paused.discard)(track_sid)
        self.note_interruptions()
        return True

    def is_stream_paused(self, track_sid: str) -> bool:
        """Whether the server withholds the track."""
        return track_sid in self._stream_paused

    def note_interruptions(self) -> None:
        """Have each track know whether its sender muted it or the server withholds it."""
        for track_sid, recorder in self._recorders.items():
            found = self._tap.find_track(track_sid)
            if found is not None and found[1].muted:
                recorder.note_interruption(GapReason.MUTED)
            elif track_sid in self._stream_paused:
                recorder.note_interruption(GapReason.STREAM_PAUSED)
            else:
                recorder.note_interruption(None)

    def map_clocks(self, now: float) -> None:
        """Tell each track what is known of its sender's clock."""
        for track_sid, mapping in self._clock_mappings().items():
            if recorder := self._recorders.get(track_sid):
                recorder.set_clock_mapping(mapping, now)

    def sid_of(self, number: int) -> str | None:
        """The SID of the recording's track `number`; None for one that takes no frames now."""
        return next((sid for sid, recorder in self._recorders.items() if recorder.number == number), None)

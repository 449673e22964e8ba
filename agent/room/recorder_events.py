"""What a room's recorder tells of."""

from dataclasses import dataclass

from agent.room.decryption import TrackDecryptable, TrackUndecryptable
from agent.room.events import LayerChanged, ParticipantQualityChanged, QualityPatternChanged, TrackRestarted
from agent.room.state import RecordingStatus
from media.record.entries import SegmentEntry


@dataclass(frozen=True, slots=True)
class SegmentClosed:
    """A segment is on disk and on its way to the export pipeline."""

    recording_id: str
    segment: SegmentEntry


@dataclass(frozen=True, slots=True)
class RecordingChanged:
    """A recording began, went on, was paused, changed its state or ended (`status.ended_reason` then says why)."""

    status: RecordingStatus


RecorderEvent = (
    SegmentClosed
    | RecordingChanged
    | TrackUndecryptable
    | TrackDecryptable
    | QualityPatternChanged
    | TrackRestarted
    | LayerChanged
    | ParticipantQualityChanged
)

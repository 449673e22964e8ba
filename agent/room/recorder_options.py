"""What a room's recorder is asked to do, and how its recording is opened."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.room.decoded_tracks import DecodedTracks
from agent.room.recording_plan import LayerPolicy
from agent.room.subscription import SubscriptionPolicy
from media.e2ee.key_provider import KeyProvider
from media.record.handoff import SegmentSink
from media.record.journal import never_begun
from media.record.recorder import Recording
from media.record.recording_id import check_recording_id
from media.record.recording_writer import RecordingCallbacks, RecordingConfig
from media.record.segmenter import SegmenterConfig
from media.tap.tap import TapOptions


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """What to record and where. `sink` None hands segments to nobody.

    `paused`: begin without media. `decoded` None records what comes, without decoding it. `mux_participants`: as in
    `RecordingConfig`.
    """

    room: str
    recording_id: str
    recordings_dir: Path
    segment_duration_s: float
    part_duration_s: float
    policy: SubscriptionPolicy
    sink: SegmentSink | None
    layers: LayerPolicy = field(default_factory=LayerPolicy)
    paused: bool = False
    decoded: DecodedTracks | None = None
    mux_participants: bool = False

    def keys_of(self, tap: TapOptions) -> KeyProvider:
        """The keys that decrypt what is recorded: the tap's, or none where a decoder without keys comes first."""
        return tap.keys if self.decoded is None or self.decoded.decrypts else KeyProvider()


def open_recording(options: RecorderOptions, callbacks: RecordingCallbacks, now: float) -> Recording:
    """The recording in its folder, gone on with where there is one. Waits for the disk.

    Raises StorageError, RecordingBusy or RecordingDamaged.
    """
    segmenter = SegmenterConfig(segment_duration_s=options.segment_duration_s, part_duration_s=options.part_duration_s)
    config = RecordingConfig(segmenter=segmenter, mux_participants=options.mux_participants)
    path = options.recordings_dir / check_recording_id(options.recording_id)
    if path.exists() and not never_begun(path):
        recording = Recording.resume(path, now, config=config, callbacks=callbacks)
    else:
        recording = Recording.create(
            options.recordings_dir,
            options.recording_id,
            options.room,
            started_at=now,
            config=config,
            callbacks=callbacks,
        )
    if options.paused:
        recording.pause(now)
    return recording

"""What a recording's journal says: one frozen value per kind of line (format version 1).

Times inside a track are *decode times*: integer ticks of the track's `timescale` (the RTP clock
rate), starting at 0 with its first frame, exact and never slewed. `ClockMapping` turns them into media
time, which is in seconds since `RecordingStarted.started_at`. All paths are relative to the recording's folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from media.frames import Codec, MediaKind
from media.rtp.clock_mapping import ClockSource

FORMAT_VERSION = 1

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


class RecordingState(StrEnum):
    """What a recording is doing. `media.record.state` is the one place that moves it.

    RECORDING: frames are written. PAUSED: somebody asked that none be for a while. STORAGE_ERROR: the disk
    refuses; what is there stays valid and frames are counted as lost until it answers again. COMPLETE: closed in
    good order. INTERRUPTED: its writer died; `Recording.resume` goes on with it, and all but the last part of it
    is there.
    """

    RECORDING = "recording"
    PAUSED = "paused"
    STORAGE_ERROR = "storage_error"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"


class Container(StrEnum):
    """The file format of a track's init and media segments."""

    FMP4 = "fmp4"
    WEBM = "webm"

    @property
    def init_suffix(self) -> str:
        """File suffix of an init segment."""
        return ".mp4" if self is Container.FMP4 else ".webm"

    @property
    def segment_suffix(self) -> str:
        """File suffix of a media segment."""
        return ".m4s" if self is Container.FMP4 else ".webm"


class GapReason(StrEnum):
    """Why there is no media for a while.

    MISSING: the receiver said that media was lost or that the sender started anew.
    PAUSE: no frame came for over a second; nothing is known to be missing (silence, a still screen share).
    MUTED: as PAUSE, while the sender had muted the track. STREAM_PAUSED: the server withheld the track for want
    of bandwidth. PAUSED: the recording was paused. UNPUBLISHED: the sender withdrew the track and published it
    again. UNSUBSCRIBED: the recording's rules left the track out for a while.
    TIMESTAMP_RESET: RTP time jumped against arrival time, so decode time was anchored anew.
    OVERFLOW: our disk was too slow and frames were dropped.
    STORAGE: the disk refused. RESTART: the writer of the recording was not running.
    ENCRYPTED: frames came that no key at hand decrypts.
    """

    MISSING = "missing"
    PAUSE = "pause"
    MUTED = "muted"
    STREAM_PAUSED = "stream_paused"
    PAUSED = "paused"
    UNPUBLISHED = "unpublished"
    UNSUBSCRIBED = "unsubscribed"
    TIMESTAMP_RESET = "timestamp_reset"
    OVERFLOW = "overflow"
    STORAGE = "storage"
    RESTART = "restart"
    ENCRYPTED = "encrypted"


@dataclass(frozen=True, slots=True)
class TrackDescriptor:
    """Who published what. `source` is LiveKit's `TrackSource` in lower case, such as "camera"."""

    track_sid: str
    track_name: str
    source: str
    kind: MediaKind
    codec: Codec
    participant_identity: str
    participant_name: str
    participant_sid: str


@dataclass(frozen=True, slots=True)
class RecordingStarted:
    """The journal's first line. `started_at`: Unix seconds, the zero of media time."""

    recording_id: str
    room: str
    room_sid: str
    started_at: float
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class RecordingResumed:
    """A new writer went on with the recording; `recovered_segments` were found unfinished."""

    recovered_segments: int = 0


@dataclass(frozen=True, slots=True)
class RecordingPaused:
    """From here on nothing was written, as somebody asked; a writer that resumes the recording stays paused."""


@dataclass(frozen=True, slots=True)
class RecordingUnpaused:
    """From here on the recording was written again."""


LEFT = "left"
"""Why a recording was closed that nobody ended: its writer left with the room, and the next one goes on with it."""


@dataclass(frozen=True, slots=True)
class RecordingClosed:
    """The writer closed the recording in good order. `reason`: what ended it, in a word; empty where nobody said.

    A pause outlives the reason `LEFT`, and no other.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True)
class TrackOpened:
    """A track entered the recording. `directory` holds its files; `timescale` is in Hz."""

    track: int
    directory: str
    timescale: int
    descriptor: TrackDescriptor


@dataclass(frozen=True, slots=True)
class TrackClosed:
    """The track will get no more frames from this writer."""

    track: int


@dataclass(frozen=True, slots=True)
class InitEntry:
    """An init segment. `codec_string` is the RFC 6381 `codecs` parameter ("avc3.42E01F", "opus", "vp8")."""

    track: int
    index: int
    path: str
    container: Container
    codec: Codec
    codec_string: str
    width: int
    height: int
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A closed media segment.

    `id` is "<recording_id>/<track number>/<sequence>". `decode_time` is of the first sample and `duration` reaches
    to the end of the last, both in ticks. `discontinuity`: media before it is missing, or the sender
    or the writer started anew. `independent`: it starts with a sync sample; False only when
    a sender gave none for the hard bound (`SegmenterConfig.max_segment_duration_s`).
    `recovered`: its writer died and what was complete was kept. `closed_at`: Unix seconds.
    """

    id: str
    track: int
    sequence: int
    path: str
    init_path: str
    sha256: str
    size_bytes: int
    decode_time: int
    duration: int
    samples: int
    sync_samples: int
    parts: int
    discontinuity: bool
    independent: bool
    recovered: bool
    closed_at: float

    @property
    def end_decode_time(self) -> int:
        """Where the last sample ends, in ticks."""
        return self.decode_time + self.duration


@dataclass(frozen=True, slots=True)
class RtpAnchor:
    """From `decode_time` on, rtp_timestamp - `rtp_timestamp` + `decode_time` is the decode time.

    A track has one, and one more after each restart of the writer or reset of the sender's timestamps.
    """

    track: int
    decode_time: int
    rtp_timestamp: int


@dataclass(frozen=True, slots=True)
class ClockMapping:
    """Where a track's decode times lie in the recording's media time, from `decode_time` on.

    A mapping in the journal replaces earlier lines for its decode time and later (`supersede`).
    Media time runs `drift_ppm` millionths faster than decode time. `uncertainty_ms` bounds the error of
    `media_time_s` as far as its source can tell.
    """

    track: int
    decode_time: int
    media_time_s: float
    drift_ppm: float
    uncertainty_ms: float
    source: ClockSource

    def media_time_at(self, decode_time: int, timescale: int) -> float:
        """Media time in seconds of `decode_time` (ticks of `timescale` Hz)."""
        elapsed_s = (decode_time - self.decode_time) / timescale
        return self.media_time_s + elapsed_s * (1 + self.drift_ppm * 1e-6)


@dataclass(frozen=True, slots=True)
class GapEntry:
    """No media from `decode_time` on for `duration` ticks; 0 when the track ended before media came again.

    `frames_lost` counts frames that we had and dropped.
    """

    track: int
    decode_time: int
    duration: int
    reason: GapReason
    frames_lost: int = 0


@dataclass(frozen=True, slots=True)
class MuxedFileEntry:
    """A file with a participant's audio and video together, closed.

    `tracks` are the numbers of the recorded tracks in it, video first; in the file they count from 1. `source` is
    "camera" (with the microphone) or "screen_share" (with its sound). `start_media_time_s` is the media time of the
    file's zero. `recovered`: its writer died and what was complete was kept. `closed_at`: Unix seconds.
    """

    path: str
    sequence: int
    participant_identity: str
    source: str
    container: Container
    tracks: tuple[int, ...]
    sha256: str
    size_bytes: int
    start_media_time_s: float
    duration_s: float
    samples: int
    parts: int
    recovered: bool
    closed_at: float


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """Something that happened in the room: chat, data, a participant or track event (data.jsonl).

    `at` is Unix seconds of the recording's clock; `payload` must be JSON.
    """

    type: str
    at: float
    participant_identity: str = ""
    payload: Mapping[str, JsonValue] = field(default_factory=dict)


def supersede(mappings: list[ClockMapping], newer: ClockMapping) -> None:
    """Add `newer` to a track's mappings, in order of time: it replaces what they say of its time and later."""
    while mappings and mappings[-1].decode_time >= newer.decode_time:
        mappings.pop()
    mappings.append(newer)


JournalEntry: TypeAlias = (
    RecordingStarted
    | RecordingResumed
    | RecordingPaused
    | RecordingUnpaused
    | RecordingClosed
    | TrackOpened
    | TrackClosed
    | InitEntry
    | SegmentEntry
    | RtpAnchor
    | ClockMapping
    | GapEntry
    | MuxedFileEntry
)

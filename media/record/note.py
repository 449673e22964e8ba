"""What each media file says about itself, in a box that players skip: enough to rebuild a lost journal (pure)."""

import json
from dataclasses import asdict, dataclass

from media.frames import Codec
from media.json_text import parse_json
from media.record.entries import ClockMapping, Container, RecordingStarted, RtpAnchor, TrackOpened
from media.record.journal_line import from_json


@dataclass(frozen=True, slots=True)
class InitNote:
    """The note of an init segment: the recording, the track, and what of `InitEntry` the file does not show."""

    recording: RecordingStarted
    track: TrackOpened
    index: int
    container: Container
    codec: Codec
    codec_string: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class SegmentNote:
    """The note of a media segment; `rtp_anchor` and `clock_mapping` are those in force at its start."""

    id: str
    init_path: str
    decode_time: int
    discontinuity: bool
    rtp_anchor: RtpAnchor | None = None
    clock_mapping: ClockMapping | None = None


def encode_note(note: InitNote | SegmentNote) -> bytes:
    """The note as JSON."""
    return json.dumps(asdict(note), separators=(",", ":"), ensure_ascii=False).encode()


def decode_init_note(note: bytes) -> InitNote | None:
    """The note of an init segment; None when it is not one."""
    try:
        return from_json(InitNote, parse_json(note))
    except (ValueError, TypeError):
        return None


def decode_segment_note(note: bytes) -> SegmentNote | None:
    """The note of a media segment; None when it is not one."""
    try:
        return from_json(SegmentNote, parse_json(note))
    except (ValueError, TypeError):
        return None

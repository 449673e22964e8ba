"""What an export produces, as values: outputs, their tracks and files, and what was checked (pure)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from media.frames import Codec, MediaKind
from media.json_text import parse_json
from media.record.entries import JsonValue
from media.record.journal_line import from_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JsonObject: TypeAlias = dict[str, JsonValue]


class Handling(StrEnum):
    """Whether a track's samples went into the output as they were recorded."""

    COPIED = "copied"
    TRANSCODED = "transcoded"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that verification looked at."""

    name: str
    expected: str
    actual: str
    ok: bool


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that was produced. `path` is absolute once delivered, relative to the output before."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OutputTrack:
    """What a track of an output must be; verification measures whether it is.

    `samples` counts the recording's samples in it. `silence_packets` fill holes in the audio, `skipped_packets` were
    left out where the sender's sound card ran too fast, and `concealed_frames` stand for pictures that could not be
    decoded. `repeated_pictures` come at the end of long holes in the video, so that players go on there. `reason` says
    why it was transcoded, `payload_sha256` covers all copied samples in order (but silence and repeated pictures).
    `start_s` and `duration_s` come from the recording's journal (in HLS all tracks end with the last); `clock_lag_s` is
    how far the end is off, as a correction of the clock is slewed in.
    """

    kind: MediaKind
    codec: Codec
    handling: Handling
    reason: str
    recorded_tracks: tuple[int, ...]
    samples: int
    silence_packets: int
    concealed_frames: int
    payload_sha256: str
    start_s: float
    duration_s: float
    clock_lag_s: float
    width: int
    height: int
    skipped_packets: int = 0
    repeated_pictures: int = 0


@dataclass(frozen=True, slots=True)
class ExportOutput:
    """What a player opens, for one participant's camera and microphone or screen share.

    `format` is "mp4" or "hls", `entry` is the file to open. `start_media_time_s` is the
    recording's media time of the output's zero.
    """

    participant_identity: str
    source: str
    format: str
    entry: str
    start_media_time_s: float
    duration_s: float
    tracks: tuple[OutputTrack, ...]
    files: tuple[OutputFile, ...]
    checks: tuple[Check, ...]


def to_json(value: "DataclassInstance") -> JsonObject:
    """A dataclass of JSON-like fields as JSON; tuples become lists."""
    values: JsonObject = parse_json(json.dumps(asdict(value)))
    return values


def output_from_json(values: Mapping[str, JsonValue]) -> ExportOutput:
    """The output that `to_json` wrote. Raises ValueError when it is not one."""
    return from_json(ExportOutput, dict(values))

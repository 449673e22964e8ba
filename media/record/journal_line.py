"""One journal entry as one line of JSON, with a checksum, and back (pure)."""

import functools
import json
import re
import reprlib
import types
import typing
import zlib
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from enum import StrEnum

from media.json_text import parse_json
from media.record.entries import (
    ClockMapping,
    GapEntry,
    InitEntry,
    JournalEntry,
    MuxedFileEntry,
    RecordingClosed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingUnpaused,
    RtpAnchor,
    SegmentEntry,
    TrackClosed,
    TrackOpened,
)

_TYPES: dict[str, type[JournalEntry]] = {
    "recording_started": RecordingStarted,
    "recording_resumed": RecordingResumed,
    "recording_paused": RecordingPaused,
    "recording_unpaused": RecordingUnpaused,
    "recording_closed": RecordingClosed,
    "track_opened": TrackOpened,
    "track_closed": TrackClosed,
    "init": InitEntry,
    "segment": SegmentEntry,
    "rtp_anchor": RtpAnchor,
    "clock_mapping": ClockMapping,
    "gap": GapEntry,
    "muxed_file": MuxedFileEntry,
}
_NAMES = {entry_type: name for name, entry_type in _TYPES.items()}
_CHECKSUM = re.compile(rb',"crc32":"([0-9a-f]{8})"\}$')


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """A line of the journal: what it says and when it was said (Unix seconds).

    `entry` is None for a type that a later version of the format added.
    """

    at: float
    entry: JournalEntry | None


def encode_entry(entry: JournalEntry, at: float) -> bytes:
    """The line for `entry`, ending in a newline. `crc32` covers all of the object before it."""
    values = {"type": _NAMES[type(entry)], "at": at, **asdict(entry)}
    body = json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return body[:-1] + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def decode_line(line: bytes) -> JournalRecord:
    """The record in `line` (with or without its newline).

    Raises ValueError, with the cause in words, when the line is not what `encode_entry` wrote.
    """
    text = line.rstrip(b"\n")
    checksum = _CHECKSUM.search(text)
    if checksum is None:
        raise ValueError("no checksum at the end of the line")
    body = text[: checksum.start()] + b"}"
    if zlib.crc32(body) != int(checksum.group(1), 16):
        raise ValueError("the checksum does not match")
    values = parse_json(body)
    kind, at = values.get("type"), values.get("at")
    if type(kind) is not str or type(at) not in {int, float}:
        raise ValueError("the line lacks its type, or when it was written")
    entry_type = _TYPES.get(kind)
    return JournalRecord(at, None if entry_type is None else from_json(entry_type, values))


EntryT = typing.TypeVar("EntryT")
_Fields: typing.TypeAlias = tuple[tuple[str, object, bool], ...]


def from_json(cls: type[EntryT], values: dict[str, object]) -> EntryT:
    """The dataclass `cls` from its JSON object. Unknown keys are left out, so that newer files open.

    Raises ValueError for a missing key or a value of another type.
    """
    arguments: dict[str, object] = {}
    fields_of_cls: Callable[[type], _Fields] = _fields_of
    for name, kind, required in fields_of_cls(cls):
        if name in values:
            arguments[name] = _convert(kind, values[name], name)
        elif required:
            raise ValueError(f"{cls.__name__} lacks {name!r}")
    return cls(**arguments)


@functools.cache
def _fields_of(cls: type) -> _Fields:
    hints = typing.get_type_hints(cls)
    return tuple(
        (item.name, hints[item.name], item.default is MISSING and item.default_factory is MISSING)
        for item in fields(cls)
    )


def _convert(kind: object, value: object, name: str) -> object:
    if type(value) is kind:  # nearly all of them, in journals of tens of thousands of lines
        return value
    if typing.get_origin(kind) is tuple:
        item_kind = typing.get_args(kind)[0]
        if not isinstance(value, list):
            raise ValueError(f"{name!r} is not a list")
        return tuple(_convert(item_kind, item, name) for item in value)
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
        return None if value is None else _convert(kind, value, name)
    assert isinstance(kind, type)
    if is_dataclass(kind) and isinstance(value, dict):
        return from_json(kind, value)
    if issubclass(kind, StrEnum) and isinstance(value, str):
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{name!r} is {reprlib.repr(value)}, not {kind.__name__}")

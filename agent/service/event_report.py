"""Room events as names and JSON, for the event stream (pure)."""

import base64
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_STRING_CHARS = 8192  # metadata may have 512 KiB and data packets 64 KB: thousands of events are kept
UNREPORTED = frozenset({"data_track_frame"})  # up to hundreds a second; the recording has them

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FIELDS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def event_name(event: object) -> str:
    """The event's name: its class's, in snake case (`TrackPublished` is "track_published")."""
    return name_of_event(type(event))


def name_of_event(kind: type) -> str:
    """The name of all events of a class."""
    return _WORD.sub("_", kind.__name__).lower()


def event_fields(event: "DataclassInstance") -> dict[str, JsonValue]:
    """The event's fields as JSON. Bytes are base64; strings past MAX_STRING_CHARS are cut, then `truncated` is true."""
    plain = {key: _encoded(value) for key, value in asdict(event).items()}
    fields = _FIELDS.validate_python(to_jsonable_python(plain, inf_nan_mode="null"))
    short = {key: _cut(value) for key, value in fields.items()}
    if short != fields:
        short["truncated"] = True
    return short


def _encoded(value: object) -> object:
    """`value` with its bytes in base64 of RFC 4648 section 4, which is what the API takes too."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if isinstance(value, dict):
        return {key: _encoded(item) for key, item in value.items()}
    return value


def _cut(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value[:MAX_STRING_CHARS]
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    return value

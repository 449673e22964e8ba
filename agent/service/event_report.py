"""Room events as names and JSON, for the event stream (pure)."""

import re

from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_jsonable_python

MAX_STRING_CHARS = 8192  # metadata may have 512 KiB and data packets 64 KB: thousands of events are kept
UNREPORTED = frozenset({"data_track_frame"})  # up to hundreds a second; the recording has them

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FIELDS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def event_name(event: object) -> str:
    """The event's name: its class's, in snake case (`TrackPublished` is "track_published")."""
    return _WORD.sub("_", type(event).__name__).lower()


def event_fields(event: object) -> dict[str, JsonValue]:
    """The event's fields as JSON. Bytes are base64; strings past MAX_STRING_CHARS are cut, then `truncated` is true."""
    fields = _FIELDS.validate_python(to_jsonable_python(event, bytes_mode="base64", inf_nan_mode="null"))
    short = {key: _cut(value) for key, value in fields.items()}
    if short != fields:
        short["truncated"] = True
    return short


def _cut(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value[:MAX_STRING_CHARS]
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    return value

"""What a room's metadata ask of us (pure).

A server API sets a room's metadata; we read one key of theirs, if they are a JSON object:

    {"roomhand": {"record": true}}      record; `"paused"` for a paused recording, `false` for none

Without the key, or with `record` null, the metadata ask for nothing.
"""

import reprlib
from enum import StrEnum

from agent.errors import InvalidSettings
from media.json_text import parse_json

KEY = "roomhand"


class RecordWish(StrEnum):
    """How the room shall be recorded."""

    RECORD = "record"
    PAUSED = "paused"
    OFF = "off"


def record_wish(metadata: str) -> RecordWish | None:
    """What `metadata` ask of the recording; None: nothing. Raises InvalidSettings for what makes no sense.

    Metadata that are no JSON object are somebody else's, and ask for nothing.
    """
    try:
        document = parse_json(metadata) if metadata else None
    except ValueError:
        return None
    if not isinstance(document, dict) or KEY not in document:
        return None
    asked = document[KEY]
    if not isinstance(asked, dict):
        raise InvalidSettings(
            f"{KEY!r} in the room's metadata is {reprlib.repr(asked)}; write an object such as {{'record': true}}"
        )
    unknown = sorted(set(asked) - {"record"})
    if unknown:
        raise InvalidSettings(f"{KEY!r} in the room's metadata has no {reprlib.repr(unknown[0])}; it knows 'record'")
    return _wish(asked.get("record"))


def _wish(value: object) -> RecordWish | None:
    if value is None:
        return None
    if value is True:
        return RecordWish.RECORD
    if value is False:
        return RecordWish.OFF
    if value == "paused":
        return RecordWish.PAUSED
    raise InvalidSettings(f"'record' in the room's metadata is {reprlib.repr(value)}; write true, false or 'paused'")

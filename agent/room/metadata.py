"""Metadata that goes with tracks: LiveKit's tracks have none, so they travel as participant attributes.

One attribute per track, its key made of the track's *name* (SIDs change on a full reconnect), its
value a small JSON object with a version. Limits are the server's, which drops what exceeds them
without a word, so they are checked here.
"""

import json
from collections.abc import Mapping

from agent.errors import InvalidSettings
from agent.room.wire_text import wire_bytes
from media.json_text import parse_json

ATTRIBUTE_PREFIX = "track."
VERSION = 1
MAX_ATTRIBUTES_BYTES = 64 * 1024  # all keys and values of a participant together
MAX_METADATA_BYTES = 512 * 1024
MAX_NAME_CHARACTERS = 256  # participant and track names, identities

JsonValue = str | int | float | bool | None


def track_attribute(track_name: str) -> str:
    """The attribute key for the track of that name."""
    if not track_name:
        raise InvalidSettings("a track without a name can have no metadata; publish it with a name")
    return ATTRIBUTE_PREFIX + track_name


def encode_track_metadata(values: Mapping[str, JsonValue]) -> str:
    """The attribute value for a track; InvalidSettings if a key is no string, or a value no plain JSON value."""
    if "v" in values:
        raise InvalidSettings("the metadata key 'v' is taken: it holds the format's version; rename yours")
    for key, value in values.items():
        if not _is_text(key) or not _is_plain(value):
            raise InvalidSettings(
                f"track metadata must be strings, numbers, booleans or null under strings: {key!r} has {value!r}"
            )
    try:
        text = json.dumps({"v": VERSION, **values}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InvalidSettings(f"track metadata must be strings, numbers, booleans or null: {error}") from error
    wire_bytes("track metadata", text)
    return text


def _is_text(key: object) -> bool:
    return isinstance(key, str)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def decode_track_metadata(attributes: Mapping[str, str], track_name: str) -> dict[str, JsonValue] | None:
    """What a participant says of its track; None where it says nothing that can be understood."""
    text = attributes.get(ATTRIBUTE_PREFIX + track_name)
    if text is None:
        return None
    try:
        decoded = parse_json(text)
    except ValueError:
        return None
    if not isinstance(decoded, dict) or decoded.get("v") != VERSION:
        return None
    return {key: value for key, value in decoded.items() if key != "v" and _is_plain(value)}


def check_attributes(current: Mapping[str, str], changes: Mapping[str, str]) -> None:
    """InvalidSettings unless the attributes fit after `changes` (an empty value removes a key)."""
    for key, value in changes.items():
        wire_bytes("an attribute's key", key)
        wire_bytes(f"attribute {key!r}", value)
    if "" in changes:
        raise InvalidSettings("an attribute needs a key")
    after = {key: value for key, value in {**current, **changes}.items() if value}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in after.items())
    if size > MAX_ATTRIBUTES_BYTES:
        raise InvalidSettings(
            f"attributes would take {size} bytes, {MAX_ATTRIBUTES_BYTES} are allowed for all of a participant; "
            "send larger data as a text stream"
        )


def check_metadata(metadata: str) -> None:
    """InvalidSettings if participant metadata is too long."""
    if (size := len(wire_bytes("the metadata", metadata))) > MAX_METADATA_BYTES:
        raise InvalidSettings(f"metadata of {size} bytes is too long; {MAX_METADATA_BYTES} bytes are allowed")


def check_name(what: str, name: str) -> None:
    """InvalidSettings if `name` (of a participant or track; `what` says which) is too long, or no text."""
    wire_bytes(f"the {what}", name)
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidSettings(f"the {what} has {len(name)} characters; {MAX_NAME_CHARACTERS} are allowed")

"""Track metadata in participant attributes, and the server's limits."""

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import InvalidSettings
from agent.room.metadata import (
    JsonValue,
    check_attributes,
    check_metadata,
    check_name,
    decode_track_metadata,
    encode_track_metadata,
    track_attribute,
)

KEYS = st.text(min_size=1, max_size=8).filter(lambda key: key != "v")
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(name=st.text(min_size=1, max_size=20), values=st.dictionaries(KEYS, VALUES, max_size=5))
@settings(max_examples=50)
def test_what_is_said_of_a_track_is_read_back(name: str, values: dict[str, JsonValue]) -> None:
    attributes = {track_attribute(name): encode_track_metadata(values), "other": "x"}
    assert decode_track_metadata(attributes, name) == values
    assert decode_track_metadata(attributes, name + "x") is None


def test_the_format_carries_a_version() -> None:
    assert json.loads(encode_track_metadata({"a": 1})) == {"v": 1, "a": 1}


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"a":1}', '{"v":2,"a":1}', "7", '{"v":1,"a":' + "[" * 100_000])
def test_what_cannot_be_understood_is_nothing(text: str) -> None:
    assert decode_track_metadata({"track.camera": text}, "camera") is None


def test_nested_values_of_others_are_left_out() -> None:
    assert decode_track_metadata({"track.camera": '{"v":1,"a":[1],"b":2}'}, "camera") == {"b": 2}


def test_bad_metadata_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="'v' is taken"):
        encode_track_metadata({"v": 3})
    with pytest.raises(InvalidSettings, match="strings, numbers"):
        encode_track_metadata({"a": float("nan")})
    with pytest.raises(InvalidSettings, match="without a name"):
        track_attribute("")


@pytest.mark.parametrize("value", [{"a": 1}, [1], (1,), b"x", 1j], ids=str)
def test_values_that_nobody_would_read_back_are_refused(value: object) -> None:
    with pytest.raises(InvalidSettings, match="strings, numbers"):
        encode_track_metadata({"a": cast("Any", value)})
    with pytest.raises(InvalidSettings, match="under strings"):
        encode_track_metadata({cast("Any", 1): "a"})


HALF = "\ud800"


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_name("track name", f"a{HALF}"),
        lambda: check_metadata(HALF),
        lambda: check_attributes({}, {"a": HALF}),
        lambda: check_attributes({}, {HALF: "a"}),
        lambda: encode_track_metadata({"a": HALF}),
    ],
    ids=["name", "metadata", "attribute", "key of an attribute", "track metadata"],
)
def test_half_a_character_is_refused(check: Callable[[], object]) -> None:
    with pytest.raises(InvalidSettings, match="half a character"):
        check()


def test_attribute_limit_counts_bytes_of_all_that_remains() -> None:
    current = {"old": "x" * 60_000}
    check_attributes(current, {"new": "y" * 5_000})
    with pytest.raises(InvalidSettings, match="65536 are allowed"):
        check_attributes(current, {"new": "y" * 6_000})
    check_attributes(current, {"old": "", "new": "y" * 65_000})
    with pytest.raises(InvalidSettings):
        check_attributes({}, {"k": "\u00fc" * 32_768})
    with pytest.raises(InvalidSettings, match="needs a key"):
        check_attributes({}, {"": "x"})


def test_metadata_and_name_limits() -> None:
    check_metadata("x" * 512 * 1024)
    with pytest.raises(InvalidSettings, match="too long"):
        check_metadata("x" * (512 * 1024 + 1))
    check_name("track name", "x" * 256)
    with pytest.raises(InvalidSettings, match="the track name has 257"):
        check_name("track name", "x" * 257)

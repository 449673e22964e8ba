"""JSON of others: all that cannot be read fails as any other broken text does, wherever it is read."""

import json
import sys

import pytest

from media.json_text import parse_json
from media.record.muxed_file import decode_muxed_note
from media.record.note import decode_init_note, decode_segment_note

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "text", ['{"a":[1,null,"\\u00e9"]}', b'{"a":[1,null,"\xc3\xa9"]}', '{"a":[1,null,"é"]}'.encode("utf-16")]
)
def test_what_is_json_is_read(text: str | bytes) -> None:
    assert parse_json(text) == {"a": [1, None, "é"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'"\xff"', "it is no utf-8 text"),
        (b'"\xed\xa0\x80"', "it is no utf-8 text"),
        (b'{"a":["\\ud800"]}', "half a character"),
        (b'{"\\uDC00b":1}', "half a character"),
        (DEEP, "nested too deeply"),
        (DEEP + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"9" * (sys.int_info.default_max_str_digits + 1), "a number has too many digits"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_way(text: bytes, said: str) -> None:
    with pytest.raises(json.JSONDecodeError, match=said):
        parse_json(text)


@pytest.mark.parametrize("note", [b"", b"[1]", b'{"recording":' + DEEP, DEEP])
def test_a_note_in_a_file_that_cannot_be_read_is_none(note: bytes) -> None:
    assert (decode_init_note(note), decode_segment_note(note), decode_muxed_note(note)) == (None, None, None)


def test_a_character_of_two_halves_is_whole() -> None:
    assert parse_json(r'["\ud83d\ude00","\\ud800"]') == ["\U0001f600", r"\ud800"]

"""Text of others on a terminal: what is seen stays, what acts is shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),  # a terminal may take this one byte for ESC [
        ("a\r\nb\tc\x07\x00\x7f", r"a\r\nb\tc\x07\x00\x7f"),
        ("\u202eecila", r"\u202eecila"),  # would turn the rest of the line around
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\u2028b", r"a\u2028b"),
        ("\udc9b", r"\udc9b"),  # half of a pair has no bytes in UTF-8
    ],
)
def test_what_is_not_seen_or_moves_the_cursor_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "name",
    ["Zoë", "山田　太郎", "نیما می\u200cخواهد", "👩\u200d👩\u200d👧 family", "bob[/b] :smile: {x} %s \\x1b", ""],
)
def test_names_of_people_stay_as_they_are(name: str) -> None:
    assert printable(name) == name


def test_lines_stay_lines_and_nothing_else() -> None:
    assert printable_lines("one\n\ttwo\r\n\x1b[A") == "one\n\ttwo\\r\n\\x1b[A"


@given(st.text(st.characters()))
def test_nothing_is_left_that_acts_and_again_changes_nothing(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown
    shown.encode()

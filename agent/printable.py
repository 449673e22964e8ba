"""Text of which others wrote a part (names, messages), made harmless for a terminal and a log (pure)."""

import unicodedata

# Unicode's general categories of what is not seen: controls, formats (they turn text around), surrogates, separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")  # formats too, but Persian is spelt with them, and emoji are put together


def printable(text: str) -> str:
    """`text` on one line: what is not seen, or moves the cursor, is escaped as in a Python literal (`\\x1b`)."""
    return _escaped(text, kept="")


def printable_lines(text: str) -> str:
    """As `printable`, but line feeds and tabs stay: for text whose lines are ours."""
    return _escaped(text, kept="\n\t")


def _escaped(text: str, *, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char in kept or _is_seen(char) else _escape(char) for char in text)


def _is_seen(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) not in _UNSEEN


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")

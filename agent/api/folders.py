"""No answer tells where on the machine the service keeps things: its folders go by their names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Folders:
    """Puts the name of a folder in place of its path: `/srv/a/recordings/one` is "recordings/one"."""

    def __init__(self, named: Mapping[str, Path]) -> None:
        """`named`: the folders by the names that callers see. Blocking: links are looked up."""
        self._named = dict(named)
        self._names = {
            str(form): name for name, path in named.items() for form in (path, path.absolute(), path.resolve())
        }
        longest_first = sorted(self._names, key=len, reverse=True)  # one may be within another
        self._path = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w.-])")

    def including(self, named: Mapping[str, Path]) -> Self:
        """These, and others where they are not known by a name yet."""
        return type(self)({**named, **self._named})

    def hide(self, text: str) -> str:
        """`text` without the folders' paths."""
        return self._path.sub(lambda found: self._names[found[0]], text)

    def hidden(self, value: T) -> T:
        """`value` (a dataclass, container, string or path) in which no string names a folder by its path.

        What names none is the same object: rooms have thousands of tracks, and nearly all strings are no paths.
        """
        found: Any = value
        if found is None or isinstance(found, int | float):
            pass
        elif isinstance(found, str):
            found = self.hide(found) if type(found) is str and "/" in found else found
        elif isinstance(found, Path):
            found = Path(self.hide(str(found)))
        elif isinstance(found, list | tuple):
            items = [self.hidden(item) for item in found]
            found = type(found)(items) if _differ(items, found) else found
        elif isinstance(found, dict):
            items = [self.hidden(item) for item in found.values()]
            found = dict(zip(found, items, strict=True)) if _differ(items, found.values()) else found
        elif is_dataclass(found) and not isinstance(found, type):
            before = {item.name: getattr(found, item.name) for item in fields(found)}
            after = {name: self.hidden(item) for name, item in before.items()}
            found = replace(found, **after) if _differ(after.values(), before.values()) else found
        return found  # type: ignore[no-any-return]  # each branch makes what it was given


def _differ(after: Iterable[object], before: Iterable[object]) -> bool:
    return any(one is not other for one, other in zip(after, before, strict=True))

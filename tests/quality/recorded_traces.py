"""Snapshots of real runs as JSON lines: one line a second, all tracks of that second.

`python -m tests.bench.quality_trace` records them; what was done to the network meanwhile is the truth in their names'
tests. Fields that are as by default are left out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from quality.stats import TrackSnapshot

FOLDER = Path(__file__).parent / "recorded"
_SNAPSHOTS: TypeAdapter[tuple[TrackSnapshot, ...]] = TypeAdapter(tuple[TrackSnapshot, ...])


def encode(snapshots: Iterable[TrackSnapshot]) -> str:
    """One second as a line."""
    return json.dumps([_plain(snapshot) for snapshot in snapshots], separators=(",", ":")) + "\n"


def read_trace(path: Path) -> Iterator[tuple[TrackSnapshot, ...]]:
    """The seconds of a trace."""
    with path.open() as lines:
        for line in lines:
            yield _SNAPSHOTS.validate_json(line)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        named = ((field.name, getattr(value, field.name), field.default) for field in fields(value))
        return {name: _plain(item) for name, item, default in named if item != default}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value

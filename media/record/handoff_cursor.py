"""Which segments of a recording were taken: a small file beside its journal."""

import json
from pathlib import Path

import structlog

from media.json_text import parse_json
from media.record.storage import translated, write_durably

_log = structlog.get_logger(__name__)

CURSOR_NAME = "handoff.json"


class HandoffCursor:
    """A set of segment numbers per track, kept as ranges: one range as long as all goes in order."""

    def __init__(self, ranges: dict[int, list[list[int]]] | None = None) -> None:
        """`ranges`: by track number, [first, last] pairs that grow and do not touch."""
        self.ranges = ranges or {}

    def __contains__(self, segment: tuple[int, int]) -> bool:
        """Whether (track number, sequence) was taken."""
        track, sequence = segment
        return any(first <= sequence <= last for first, last in self.ranges.get(track, ()))

    def add(self, track: int, sequence: int) -> None:
        """That segment was taken."""
        pairs = [*self.ranges.get(track, ()), [sequence, sequence]]
        merged: list[list[int]] = []
        for first, last in sorted(pairs):
            if merged and first <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        self.ranges[track] = merged


def read_cursor(recording_path: Path) -> HandoffCursor:
    """The cursor of a recording. A missing or damaged one begins anew: handing off twice does no harm.

    Raises StorageError.
    """
    path = recording_path / CURSOR_NAME
    with translated(f"read {path}"):
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return HandoffCursor()
    try:
        taken = parse_json(text)["taken"]
        return HandoffCursor(
            {int(track): [[int(first), int(last)] for first, last in pairs] for track, pairs in taken.items()}
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        _log.warning("handoff_cursor_damaged", path=str(path))
        return HandoffCursor()


def write_cursor(recording_path: Path, cursor: HandoffCursor) -> None:
    """Replace the cursor durably. Raises StorageError."""
    values = {"taken": {str(track): pairs for track, pairs in cursor.ranges.items()}}
    write_durably(recording_path / CURSOR_NAME, json.dumps(values).encode() + b"\n")

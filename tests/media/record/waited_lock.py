"""What another process does while one waits for the writer's lock of a recording."""

from collections.abc import Callable
from pathlib import Path

import pytest

from media.record.journal import Journal


def while_waiting(monkeypatch: pytest.MonkeyPatch, recording_path: Path, do: Callable[[], object]) -> None:
    """Hold the lock of the recording until somebody waits for it; then `do` that, and give it back."""
    held = Journal(recording_path)

    def meanwhile(_: float) -> None:
        monkeypatch.undo()
        do()
        held.close()

    monkeypatch.setattr("media.record.storage.time.sleep", meanwhile)

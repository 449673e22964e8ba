"""What a place to deliver to must do, whatever it is: a folder here, an object store elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished, verified file to deliver. `name` is its relative path at the place, with forward slashes."""

    source: Path
    name: str
    size_bytes: int
    sha256: str


class Storage(Protocol):
    """A place that takes finished files. Its caller retries what is retryable; it does not itself."""

    def deliver(self, artifacts: Sequence[Artifact]) -> tuple[str, ...]:
        """Put all `artifacts` there, in their order, and return where each one is.

        Doing it again after a crash half way ends the same. An existing file with other content is never
        replaced. Raises DeliveryConflict and DataLost (before anything is delivered), DiskFull, DiskReadOnly,
        StorageError.
        """
        ...

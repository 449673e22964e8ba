"""Files too large to hold in memory, read where they lie."""

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media.record.sample import FileBytes
from media.record.storage import translated

_HASHED_AT_ONCE_BYTES = 1 << 20


@contextmanager
def mapped(path: Path) -> Iterator[FileBytes]:
    """The bytes of the file at `path`. What is read of it must be there until the end. Raises StorageError."""
    with translated(f"read {path}"), path.open("rb") as file:
        # Nothing cannot be mapped.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else None
    if data is None:
        yield b""
        return
    with data:
        yield data


def sha256_of(data: FileBytes, size_bytes: int) -> str:
    """The hash of the first `size_bytes`, in hexadecimal."""
    digest = hashlib.sha256()
    for start in range(0, size_bytes, _HASHED_AT_ONCE_BYTES):
        digest.update(data[start : min(start + _HASHED_AT_ONCE_BYTES, size_bytes)])
    return digest.hexdigest()

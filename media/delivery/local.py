"""Delivery into a folder of this machine: each file appears there complete and durable, or not at all."""

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from media.delivery.storage import Artifact
from media.errors import DataLost, DeliveryConflict, StorageError
from media.record.storage import fsync_path, make_directory, translated

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems without hard links (FAT, some network mounts) answer to link()."""

_TEMPORARY_SUFFIX = ".part"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hex. Raises StorageError."""
    with translated(f"read {path}"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalStorage:
    """Delivers into the folder `root`, which is created when needed. Sources are moved, not copied, if on one disk.

    A file of the same name and content counts as delivered. One with other content is left alone and
    refuses the whole delivery, and so does a source that is not what its artifact says.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def deliver(self, artifacts: Sequence[Artifact]) -> tuple[str, ...]:
        """See `Storage.deliver`. The places are absolute paths."""
        targets = [self._target(artifact) for artifact in artifacts]
        waiting = [
            (artifact, target)
            for artifact, target in zip(artifacts, targets, strict=True)
            if not _is_delivered(artifact, target)
        ]
        for artifact, _ in waiting:
            _require_verified(artifact)
        for artifact, target in waiting:
            _move(artifact, target)
        for artifact in artifacts:
            with translated(f"remove {artifact.source}"):
                artifact.source.unlink(missing_ok=True)
        return tuple(str(target) for target in targets)

    def _target(self, artifact: Artifact) -> Path:
        root = self._root.absolute()
        target = Path(os.path.normpath(root / artifact.name))
        if not target.is_relative_to(root) or target == root:
            raise StorageError(f"{artifact.name!r} is no file name below {root}")
        return target


def _is_delivered(artifact: Artifact, target: Path) -> bool:
    if not target.exists():
        if not artifact.source.exists():
            raise StorageError(f"{artifact.source} is gone before it was delivered; export again")
        return False
    same_size = target.is_file() and target.stat().st_size == artifact.size_bytes
    if same_size and file_sha256(target) == artifact.sha256:
        return True
    raise DeliveryConflict(f"{target} exists with other content; move it away or export to another folder")


def _require_verified(artifact: Artifact) -> None:
    """A power cut or a failing disk may have left less, or other bytes, since the file was verified."""
    with translated(f"read {artifact.source}"):
        size_bytes = artifact.source.stat().st_size
    if size_bytes != artifact.size_bytes or file_sha256(artifact.source) != artifact.sha256:
        raise DataLost(f"{artifact.source} is not what was verified any more; check the disk, and export again")


def _move(artifact: Artifact, target: Path) -> None:
    make_directory(target.parent)
    with translated(f"deliver {target}"):
        source = artifact.source
        if source.stat().st_dev != target.parent.stat().st_dev:
            source = _copy_beside(source, target)
        try:
            fsync_path(source)
            _publish(source, target)
        finally:
            if source != artifact.source:
                source.unlink(missing_ok=True)
        fsync_path(target.parent)


def _copy_beside(source: Path, target: Path) -> Path:
    temporary = target.with_name(target.name + _TEMPORARY_SUFFIX)
    try:
        shutil.copyfile(source, temporary)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _publish(source: Path, target: Path) -> None:
    """Give `source` also the name `target`. A link fails where a rename would replace what came in between."""
    try:
        os.link(source, target)
    except FileExistsError as error:
        raise DeliveryConflict(f"{target} appeared during delivery; move it away and export again") from error
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        source.rename(target)

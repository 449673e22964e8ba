"""How the files of an export go: each output leaves its place at once, and only then the disk.

So what is half removed is nowhere where it could be taken for whole. Doing it again goes on with what is left.
Blocking.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from media.export.job import ExportStatus
from media.process.output import ExportOutput
from media.record.storage import make_directory, translated
from media.record.trash import TRASH_NAME, move, remove


def remove_files(status: ExportStatus, others: Iterable[ExportStatus]) -> None:
    """Remove what the export `status` left. Raises StorageError; what is left then is removed by the next call.

    A folder that was made for this export goes with all that is in it. In any other one only its own files go: not one
    that another export (`others`) delivered too, nor one whose size is another by now.
    """
    out_dir = status.request.out_dir
    if status.request.has_own_folder:
        _throw_away(out_dir, out_dir.parent / TRASH_NAME / status.export_id)
        return
    shared = {path for other in others if other.export_id != status.export_id for path in _files_of(other)}
    thrown = out_dir / f".roomhand-removed-{status.export_id}"
    for output in status.result.outputs if status.result else ():
        for number, path in enumerate(_movable(out_dir, output, shared)):
            make_directory(thrown)
            target = thrown / f"{number}-{path.name}"
            if target.exists():
                remove(target)
            move(path, target)
    for left in (thrown, out_dir / f".roomhand-export-{status.export_id}"):
        if left.exists():
            remove(left)


def size_on_disk(status: ExportStatus) -> int:
    """Bytes of the files that the export produced, or of those that failed verification and were kept."""
    if status.result is not None:
        return sum(file.size_bytes for output in status.result.outputs for file in output.files)
    kept = status.request.out_dir / f".roomhand-export-{status.export_id}"
    with translated(f"read {kept}"):
        return sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) if kept.is_dir() else 0


def _throw_away(folder: Path, thrown: Path) -> None:
    if folder.exists():
        make_directory(thrown.parent)
        if thrown.exists():
            remove(thrown)
        move(folder, thrown)
    if thrown.exists():
        remove(thrown)


def _files_of(status: ExportStatus) -> Iterator[Path]:
    for output in status.result.outputs if status.result else ():
        for file in output.files:
            yield status.request.out_dir / file.path


def _movable(out_dir: Path, output: ExportOutput, shared: set[Path]) -> list[Path]:
    """What of an output is moved away: its folder where nothing else is in it, else its files, the entry first."""
    files = {out_dir / file.path: file.size_bytes for file in output.files}
    with translated(f"look at {out_dir}"):
        ours = [path for path, size in files.items() if path not in shared and _is_file_of(path, size)]
        folders = {out_dir / path.relative_to(out_dir).parts[0] for path in ours if path.parent != out_dir}
        if len(folders) == 1:
            (folder,) = folders
            within = {path for path in folder.rglob("*") if not path.is_dir()}
            if within == set(ours):
                return [folder]
    entry = out_dir / output.entry
    return sorted(ours, key=lambda path: (path != entry, path))


def _is_file_of(path: Path, size_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == size_bytes

"""Exports that are deleted: which files go, what stays, and what an end in the middle leaves."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from media.errors import ExportBusy, ExportNotFound, StorageError
from media.export import removal
from media.export.job import (
    Completed,
    ExportFailure,
    ExportFormat,
    ExportRequest,
    ExportResult,
    ExportState,
    Failed,
    own_folder_name,
)
from media.export.prune import delete_export, prune_exports
from media.export.queue import ExportQueue
from media.export.store import ExportStore
from media.frames import Codec
from media.process.output import ExportOutput, OutputFile
from media.record import trash
from media.record.retention import RetentionLimits, RetentionReason
from tests.media.export.faulty_worker import FaultyWorker
from tests.media.export.recordings import camera_and_microphone, write_recording

NOW = 1_000_000.0
HLS = ("alice/index.m3u8", "alice/init.mp4", "alice/0001.m4s")


class Exports:
    """A queue, and exports in it that look as a worker left them."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "state" / "exports.db"
        self.queue = ExportQueue(self.database)
        self.store = ExportStore(self.database)
        self.folder = folder
        self._count = 0

    def complete(self, out_dir: Path, *names: str, ended_at: float = NOW, content: bytes = b"x" * 100) -> str:
        """A complete export of the files `names` below `out_dir`, the first of which is the entry."""
        for name in names:
            (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
            (out_dir / name).write_bytes(content)
        files = tuple(OutputFile(str(out_dir / name), len(content), "0" * 64) for name in names)
        output = ExportOutput("alice", "camera", "hls", str(out_dir / names[0]), 0.0, 1.0, (), files, ())
        return self._enter(out_dir, Completed(ExportResult((output,))), ended_at)

    def failed(self, out_dir: Path, *, ended_at: float = NOW, evidence: int = 0) -> str:
        """One that failed; with `evidence` bytes that failed verification."""
        export_id = self._enter(out_dir, Failed(ExportFailure("export_verification_failed", "no")), ended_at)
        if evidence:
            kept = out_dir / f".roomhand-export-{export_id}" / "0"
            kept.mkdir(parents=True)
            (kept / "bad.mp4").write_bytes(b"x" * evidence)
        return export_id

    def queued(self, out_dir: Path) -> str:
        self._count += 1
        export_id = f"EX_{self._count}"
        self.store.add(export_id, ExportRequest(self.folder / "rec", ExportFormat.HLS, out_dir), NOW)
        return export_id

    def _enter(self, out_dir: Path, event: Completed | Failed, ended_at: float) -> str:
        export_id = self.queued(out_dir)
        self.store.apply(export_id, event)
        with sqlite3.connect(self.database) as connection:
            connection.execute("UPDATE exports SET updated_at = ? WHERE export_id = ?", (ended_at, export_id))
        connection.close()
        return export_id

    def own_folder(self) -> Path:
        """A new folder as the API makes one for each export."""
        return self.folder / "exports" / own_folder_name("rec", f"{self._count:012x}")

    @property
    def ids(self) -> set[str]:
        return {status.export_id for status in self.queue.list()}


@pytest.fixture
def exports(tmp_path: Path) -> Iterator[Exports]:
    found = Exports(tmp_path)
    yield found
    found.queue.close()


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_an_export_goes_with_the_folder_that_was_made_for_it(exports: Exports) -> None:
    out_dir = exports.own_folder()
    gone, stays = exports.complete(out_dir, *HLS), exports.complete(exports.own_folder(), *HLS)
    (out_dir / "left-here.txt").write_text("by somebody")
    deletion = delete_export(exports.queue, gone, NOW + 60)
    assert (deletion.recording_id, deletion.reason, deletion.size_bytes) == ("rec", RetentionReason.REQUESTED, 300)
    assert deletion.age_s == pytest.approx(60.0)
    assert not out_dir.exists()
    assert exports.ids == {stays}
    assert exports.store.removed() == ()  # nothing is left to do, and nothing is remembered
    assert list((out_dir.parent / ".trash").iterdir()) == []
    with pytest.raises(ExportNotFound):
        exports.queue.status(gone)
    with pytest.raises(ExportNotFound):
        exports.queue.remove(gone)


def test_of_a_folder_of_many_only_its_own_files_go(exports: Exports, tmp_path: Path) -> None:
    out = tmp_path / "videos"
    gone = exports.complete(out, *HLS)
    other = exports.complete(out, "bob.mp4", "same.mp4")
    mixed = exports.complete(out, "carol/index.m3u8", "carol/0001.m4s", "same.mp4", "edited.mp4")
    (out / "carol" / "notes.txt").write_text("mine")
    (out / "edited.mp4").write_bytes(b"cut by its owner")
    for export_id in (gone, mixed):
        exports.queue.remove(export_id)
    assert files_below(out) == {"bob.mp4", "same.mp4", "carol/notes.txt", "edited.mp4"}
    assert not (out / "alice").exists()
    exports.queue.remove(other)
    assert files_below(out) == {"carol/notes.txt", "edited.mp4"}


def test_one_that_has_not_ended_is_refused(exports: Exports) -> None:
    export_id = exports.queued(exports.own_folder())
    with pytest.raises(ExportBusy, match="cancel it first"):
        exports.queue.remove(export_id)
    assert exports.ids == {export_id}
    exports.queue.cancel(export_id)
    exports.queue.remove(export_id)
    assert exports.ids == set()


def test_evidence_of_a_failure_goes_too(exports: Exports, tmp_path: Path) -> None:
    for out_dir in (exports.own_folder(), tmp_path / "videos"):
        export_id = exports.failed(out_dir, evidence=50)
        assert delete_export(exports.queue, export_id, NOW).size_bytes == 50
        assert files_below(tmp_path / "videos") == files_below(tmp_path / "exports") == set()


@pytest.mark.parametrize("shared", [True, False])
def test_an_end_in_the_middle_leaves_nothing_that_looks_whole(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    out_dir = tmp_path / "videos" if shared else exports.own_folder()
    export_id = exports.complete(out_dir, *HLS)

    def fails(path: Path) -> None:
        raise StorageError(f"remove {path}: Input/output error; check the disk")

    with monkeypatch.context() as broken:
        broken.setattr(removal, "remove", fails)
        with pytest.raises(StorageError):
            exports.queue.remove(export_id)
        assert exports.queue.finish_removals() == 1
    assert exports.ids == set()
    assert not (out_dir / HLS[0]).exists()
    assert len(files_below(tmp_path)) > 3  # all is there still, elsewhere
    assert exports.queue.finish_removals() == 0
    assert {path for path in files_below(tmp_path) if not path.startswith("state/")} == set()
    assert exports.store.removed() == ()


def test_old_databases_can_be_removed_from(tmp_path: Path) -> None:
    database = tmp_path / "exports.db"
    ExportStore(database)
    with sqlite3.connect(database) as connection:
        connection.execute("ALTER TABLE exports DROP COLUMN removed_at")
    connection.close()
    store = ExportStore(database)
    ExportStore(database)
    store.add("EX_1", ExportRequest(tmp_path / "rec", ExportFormat.MP4, tmp_path / "out"), NOW)
    assert [status.export_id for status in store.all()] == ["EX_1"]
    assert store.removed() == ()


class TestLimits:
    """What retention removes."""

    def test_age_counts_from_the_end(self, exports: Exports, tmp_path: Path) -> None:
        old = [
            exports.complete(exports.own_folder(), "a.mp4", ended_at=NOW - 101),
            exports.failed(exports.own_folder(), ended_at=NOW - 101),
        ]
        young = exports.complete(exports.own_folder(), "a.mp4", ended_at=NOW - 99)
        waiting = exports.queued(exports.own_folder())
        elsewhere = exports.complete(tmp_path / "videos", "a.mp4", ended_at=0.0)
        limits = RetentionLimits(max_age_s=100.0)
        root = tmp_path / "exports"
        planned = prune_exports(exports.queue, root, limits, NOW, dry_run=True)
        assert exports.ids == {*old, young, waiting, elsewhere}
        pruned = prune_exports(exports.queue, root, limits, NOW)
        assert pruned == planned
        assert {(item.export_id, item.reason) for item in pruned.deleted} == {
            (name, RetentionReason.AGE) for name in old
        }
        assert exports.ids == {young, waiting, elsewhere}

    def test_the_oldest_go_until_the_rest_fits(self, exports: Exports, tmp_path: Path) -> None:
        empty = exports.failed(exports.own_folder(), ended_at=NOW - 50)
        ids = [exports.complete(exports.own_folder(), "a.mp4", ended_at=NOW - 40 + n) for n in range(3)]
        elsewhere = exports.complete(tmp_path / "videos", "a.mp4")
        pruned = prune_exports(exports.queue, tmp_path / "exports", RetentionLimits(max_bytes=200), NOW)
        assert [(item.export_id, item.size_bytes) for item in pruned.deleted] == [(ids[0], 100)]
        assert exports.ids == {empty, *ids[1:], elsewhere}

    def test_one_that_cannot_be_removed_keeps_no_other(
        self, exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = (exports.complete(exports.own_folder(), "a.mp4", ended_at=n) for n in (1.0, 2.0))
        real = trash.move

        def fails(path: Path, target: Path) -> None:
            if target.name == first:
                raise StorageError("no")
            real(path, target)

        monkeypatch.setattr(removal, "move", fails)
        pruned = prune_exports(exports.queue, tmp_path / "exports", RetentionLimits(max_age_s=1.0), NOW)
        assert [item.export_id for item in pruned.deleted] == [second]
        assert [item.export_id for item in pruned.failed] == [first]


class TestBesideAWorker:
    """Removal and a real worker."""

    @pytest.fixture
    def recording(self, tmp_path: Path) -> Path:
        return write_recording(tmp_path / "rec", camera_and_microphone(Codec.H264, 1.2))

    @pytest.fixture
    def start(self, exports: Exports) -> Iterator[Callable[[str], FaultyWorker]]:
        workers: list[FaultyWorker] = []

        def starter(point: str = "") -> FaultyWorker:
            workers.append(FaultyWorker(exports.database, point))
            return workers[-1]

        yield starter
        for worker in workers:
            worker.process.kill()
            worker.process.join()

    def ended(self, exports: Exports, export_id: str) -> ExportState:
        deadline = time.monotonic() + 30
        while not (status := exports.queue.status(export_id)).state.final:
            assert time.monotonic() < deadline, "it never ended"
            time.sleep(0.02)
        return status.state

    def test_a_removed_export_stays_away(
        self, exports: Exports, recording: Path, start: Callable[[str], FaultyWorker]
    ) -> None:
        done = exports.queue.submit(ExportRequest(recording, ExportFormat.HLS, exports.own_folder()))
        start("").join()
        assert self.ended(exports, done) is ExportState.COMPLETE
        never = exports.queue.submit(ExportRequest(recording, ExportFormat.HLS, exports.own_folder()))
        exports.queue.cancel(never)
        for export_id in (done, never):
            exports.queue.remove(export_id)
        # A worker that is told of it only now must not take it for a new one.
        assert [status.export_id for status in exports.store.removed()] == [never]
        start("").join()
        assert exports.ids == set()
        assert exports.queue.finish_removals() == 0
        assert exports.store.removed() == ()
        assert files_below(exports.folder / "exports") == set()

    def test_one_removed_while_its_worker_still_works_leaves_nothing(
        self, exports: Exports, recording: Path, start: Callable[[str], FaultyWorker]
    ) -> None:
        out_dir = exports.own_folder()
        export_id = exports.queue.submit(ExportRequest(recording, ExportFormat.HLS, out_dir))
        worker = start("process:after")
        worker.wait_until_stopped()
        exports.queue.cancel(export_id)
        exports.queue.remove(export_id)
        worker.go_on()
        worker.join()
        assert exports.queue.finish_removals() == 0
        assert exports.ids == set()
        assert exports.store.removed() == ()
        assert not out_dir.exists()

    def test_what_was_delivered_although_it_was_cancelled_is_taken_back(
        self, exports: Exports, recording: Path, tmp_path: Path, start: Callable[[str], FaultyWorker]
    ) -> None:
        out = tmp_path / "videos"
        export_id = exports.queue.submit(ExportRequest(recording, ExportFormat.MP4, out))
        worker = start("deliver:after")
        worker.wait_until_stopped()
        assert files_below(out) != set()
        exports.queue.cancel(export_id)
        worker.go_on()
        worker.join()
        assert self.ended(exports, export_id) is ExportState.ABORTED
        assert files_below(out) == set()


def test_a_folder_is_ones_own_by_its_name_alone() -> None:
    request = ExportRequest(Path("/r/a.b-1"), ExportFormat.MP4, Path("/e") / own_folder_name("a.b-1", "0" * 12))
    assert request.has_own_folder
    for name in ("exports", "a.b-1", "a.b-1-", "axb-1-000000000000", "a.b-1-0000000000000", "a.b-1-00000000000g"):
        assert not replace(request, out_dir=Path("/e") / name).has_own_folder

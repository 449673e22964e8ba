"""Retention as the service and the command line run it: exports and rooms are asked, deletions counted."""

import errno
import json
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from typer.testing import CliRunner

from agent.cli import app
from agent.config import Settings
from agent.metrics import Metrics, build_metrics
from agent.service.deletions import Deletions
from agent.service.event_log import EventLog
from agent.service.retention import Retention, in_use
from media.clock import SteadyClock
from media.errors import ExportBusy, RecordingNotFound, StorageError
from media.export.job import ExportFormat, ExportRequest, ExportState, ExportStatus
from media.export.queue import ExportQueue
from media.record.trash import SET_ASIDE_NAME, TRASH_NAME, only_pruner
from tests.media.record.test_prune import names, recorded


class Exports:
    """A queue that remembers what it was told to forget."""

    def __init__(self, *statuses: ExportStatus) -> None:
        self._statuses = statuses
        self.forgotten: list[str] = []
        self.stuck: set[str] = set()
        self.finished = 0

    def list(self) -> tuple[ExportStatus, ...]:
        return self._statuses

    def status(self, export_id: str) -> ExportStatus:
        return next(item for item in self._statuses if item.export_id == export_id)

    def remove(self, export_id: str) -> None:
        if export_id in self.stuck:
            raise StorageError("remove it: Input/output error; check the disk")
        self._statuses = tuple(item for item in self._statuses if item.export_id != export_id)

    def finish_removals(self) -> int:
        self.finished += 1
        return 0

    def forget_recording(self, recording_path: Path) -> None:
        self.forgotten.append(recording_path.name)


def export_of(path: Path, state: ExportState) -> ExportStatus:
    return ExportStatus("EX_1", ExportRequest(path, ExportFormat.MP4, Path("out")), state, 1.0, 1.0)


def retention(root: Path, exports: Exports, recorded_ids: Iterable[str], **limits: float) -> tuple[Retention, Metrics]:
    metrics = build_metrics(CollectorRegistry(), "0")
    settings = Settings(_env_file=None, recordings_dir=root, **limits)  # type: ignore[arg-type]
    return Retention(
        settings, lambda: recorded_ids, exports, Deletions(EventLog("boot"), metrics, SteadyClock())
    ), metrics


@pytest.mark.parametrize("state", ExportState)
def test_an_export_holds_its_recording_until_it_ends(tmp_path: Path, state: ExportState) -> None:
    uses = in_use(tmp_path, ["room"], [export_of(tmp_path / "one", state)])
    assert uses.recorded == {"room"}
    assert uses.exported == (set() if state.final else {"one"})
    elsewhere = in_use(tmp_path, [], [export_of(tmp_path / "other" / "one", state)])
    assert elsewhere.exported == set()


async def test_a_run_deletes_counts_and_forgets(tmp_path: Path) -> None:
    for name in ("old", "wanted", "exported"):
        recorded(tmp_path, name)
    exports = Exports(export_of(tmp_path / "exported", ExportState.QUEUED))
    events, metrics = EventLog("boot"), build_metrics(CollectorRegistry(), "0")
    settings = Settings(_env_file=None, recordings_dir=tmp_path, retention_max_age_s=1.0)
    keeper = Retention(settings, lambda: ["wanted"], exports, Deletions(events, metrics, SteadyClock()))
    await keeper.run_once()
    assert names(tmp_path) == ["exported", "wanted"]
    (told,) = events.read_after(0).events
    assert (told.event, told.room, told.fields["recording_id"], told.fields["reason"]) == (
        "recording_deleted",
        "room",
        "old",
        "age",
    )
    assert exports.forgotten == ["old"]
    text = generate_latest(metrics.registry).decode()
    assert 'roomhand_recordings_deleted_total{reason="age"} 1.0' in text
    assert "roomhand_retention_failures_total 0.0" in text


async def test_a_run_that_fails_is_counted_and_the_next_one_works(tmp_path: Path) -> None:
    recorded(tmp_path, "old")
    (tmp_path / TRASH_NAME).write_text("a file where the folder should be")
    keeper, metrics = retention(tmp_path, Exports(), [], retention_max_bytes=0)
    await keeper.run_once()
    assert "roomhand_retention_failures_total 1.0" in generate_latest(metrics.registry).decode()
    (tmp_path / TRASH_NAME).unlink()
    await keeper.run_once()
    assert names(tmp_path) == []
    assert 'roomhand_recordings_deleted_total{reason="size"} 1.0' in generate_latest(metrics.registry).decode()


async def test_whatever_a_disk_says_the_next_run_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path, "old")
    keeper, metrics = retention(tmp_path, Exports(), [], retention_max_bytes=0)
    really = Path.exists

    def stale(path: Path) -> bool:
        if path == tmp_path:
            raise OSError(errno.ESTALE, "Stale file handle")
        return really(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", stale)
        await keeper.run_once()
    assert "roomhand_retention_failures_total 1.0" in generate_latest(metrics.registry).decode()
    await keeper.run_once()
    assert names(tmp_path) == []


async def test_ages_are_by_the_clock_as_it_is_now(tmp_path: Path) -> None:
    recorded(tmp_path, "old", started_at=time.time())
    now = [time.time() + 10 * 86_400]
    metrics = build_metrics(CollectorRegistry(), "0")
    settings = Settings(_env_file=None, recordings_dir=tmp_path, retention_max_age_s=7 * 86_400.0)
    deletions = Deletions(EventLog("boot"), metrics, SteadyClock())
    keeper = Retention(settings, list, Exports(), deletions, lambda: now[0])
    now[0] -= 10 * 86_400  # somebody set it right
    await keeper.run_once()
    assert names(tmp_path) == ["old"]


async def test_a_run_beside_another_does_nothing_and_is_no_failure(tmp_path: Path) -> None:
    recorded(tmp_path, "old")
    keeper, metrics = retention(tmp_path, Exports(), [], retention_max_age_s=1.0)
    with only_pruner(tmp_path):
        await keeper.run_once()
    assert names(tmp_path) == ["old"]
    assert "roomhand_retention_failures_total 0.0" in generate_latest(metrics.registry).decode()


async def test_what_was_set_aside_comes_back_at_the_start_even_without_limits(tmp_path: Path) -> None:
    path = recorded(tmp_path, "old")
    (tmp_path / SET_ASIDE_NAME).mkdir()
    path.rename(tmp_path / SET_ASIDE_NAME / "old")
    keeper, _ = retention(tmp_path, Exports(), [])
    await keeper.recover()
    assert names(tmp_path) == ["old"]


async def test_without_limits_nothing_runs(tmp_path: Path) -> None:
    recorded(tmp_path, "old")
    keeper, _ = retention(tmp_path, Exports(), [])
    keeper.start()
    await keeper.aclose()
    assert names(tmp_path) == ["old"]


def test_the_command_says_first_and_then_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "recordings"
    for name in ("one", "two"):
        recorded(root, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOMHAND_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ROOMHAND_RECORDINGS_DIR", str(root))
    monkeypatch.setenv("ROOMHAND_RETENTION_MAX_AGE_S", "")
    runner = CliRunner()
    refused = runner.invoke(app, ["recordings", "prune"])
    assert "say what to keep" in str(refused.exception)
    dry = runner.invoke(app, ["recordings", "prune", "--max-age", "1", "--dry-run", "--json"])
    assert [item["recording_id"] for item in json.loads(dry.stdout)["deleted"]] == ["one", "two"]
    assert names(root) == ["one", "two"]
    done = runner.invoke(app, ["recordings", "prune", "--max-age", "1"])
    assert "deleted one: age" in done.stdout
    assert names(root) == []
    again = runner.invoke(app, ["recordings", "prune", "--max-bytes", "0"])
    assert "nothing to delete" in again.stdout


def test_a_command_deletes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "recordings"
    for name in ("one", "two", "three"):
        recorded(root, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOMHAND_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ROOMHAND_RECORDINGS_DIR", str(root))
    runner = CliRunner()
    done = runner.invoke(app, ["recordings", "delete", "one", "--json"])
    assert json.loads(done.stdout)["recording_id"] == "one"
    assert "deleted two" in runner.invoke(app, ["recordings", "delete", str(root / "two")]).stdout
    gone = runner.invoke(app, ["recordings", "delete", "one"])
    assert isinstance(gone.exception, RecordingNotFound)
    assert names(root) == ["three"]


async def test_exports_are_deleted_counted_and_told_of(tmp_path: Path) -> None:
    def export(export_id: str, state: ExportState, folder: str = "exports") -> ExportStatus:
        request = ExportRequest(tmp_path / "r" / "rec", ExportFormat.MP4, tmp_path / folder / f"rec-{export_id}")
        return ExportStatus(export_id, request, state, 1.0, time.time() - 100)

    exports = Exports(
        export("EX_old", ExportState.COMPLETE),
        export("EX_stuck", ExportState.FAILED),
        export("EX_new", ExportState.ACTIVE),
        export("EX_shell", ExportState.COMPLETE, "videos"),
    )
    exports.stuck = {"EX_stuck"}
    (tmp_path / "recordings").write_text("a file where the folder should be")  # recordings cannot be pruned
    events, metrics = EventLog("boot"), build_metrics(CollectorRegistry(), "0")
    settings = Settings(
        _env_file=None,
        recordings_dir=tmp_path / "recordings",
        exports_dir=tmp_path / "exports",
        retention_max_age_s=1.0,
        export_retention_max_age_s=50.0,
    )
    keeper = Retention(settings, list, exports, Deletions(events, metrics, SteadyClock()))
    await keeper.run_once()
    assert {status.export_id for status in exports.list()} == {"EX_stuck", "EX_new", "EX_shell"}
    (told,) = events.read_after(0).events
    assert (told.event, told.fields["export_id"], told.fields["reason"]) == ("export_deleted", "EX_old", "age")
    text = generate_latest(metrics.registry).decode()
    assert 'roomhand_exports_deleted_total{reason="age"} 1.0' in text
    assert "roomhand_retention_failures_total 2.0" in text
    exports.stuck.clear()
    await keeper.run_once()
    assert {status.export_id for status in exports.list()} == {"EX_new", "EX_shell"}


async def test_removals_that_were_begun_are_finished_without_limits(tmp_path: Path) -> None:
    exports = Exports()
    keeper, _ = retention(tmp_path, exports, [])
    await keeper.run_once()
    assert exports.finished == 1


def test_commands_delete_and_prune_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOMHAND_STATE_DIR", str(tmp_path / "state"))
    path = recorded(tmp_path / "recordings", "one")
    queue = ExportQueue(tmp_path / "state" / "exports.sqlite")
    first, second = (queue.submit(ExportRequest(path, ExportFormat.MP4, tmp_path / "exports")) for _ in range(2))
    queue.cancel(first)
    runner = CliRunner()
    busy = runner.invoke(app, ["exports", "delete", second])
    assert isinstance(busy.exception, ExportBusy)
    assert f"deleted {first}" in runner.invoke(app, ["exports", "delete", first]).stdout
    queue.cancel(second)
    refused = runner.invoke(app, ["exports", "prune"])
    assert "ROOMHAND_EXPORT_RETENTION_" in str(refused.exception)
    dry = runner.invoke(app, ["exports", "prune", "--max-age", "0", "--dry-run"])
    assert f"would delete {second}: age" in dry.stdout
    done = runner.invoke(app, ["exports", "prune", "--max-age", "0", "--json"])
    assert [item["export_id"] for item in json.loads(done.stdout)["deleted"]] == [second]
    assert "no exports yet" in runner.invoke(app, ["exports", "list"]).stdout
    queue.close()

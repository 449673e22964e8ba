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
from media.errors import RecordingNotFound
from media.export.job import ExportFormat, ExportRequest, ExportState, ExportStatus
from media.record.trash import SET_ASIDE_NAME, TRASH_NAME, only_pruner
from tests.media.record.test_prune import names, recorded


class Exports:
    """A queue that remembers what it was told to forget."""

    def __init__(self, *statuses: ExportStatus) -> None:
        self._statuses = statuses
        self.forgotten: list[str] = []

    def list(self) -> tuple[ExportStatus, ...]:
        return self._statuses

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

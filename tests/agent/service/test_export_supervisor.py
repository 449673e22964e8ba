"""The export worker is kept running, and exports that move are told of."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.metrics import build_metrics
from agent.service import export_supervisor
from agent.service.event_log import EventLog
from agent.service.export_supervisor import ANOTHER_WORKER, ExportWatch, ExportWorker
from media.clock import SteadyClock
from media.export.job import ExportFailure, ExportFormat, ExportRequest, ExportState, ExportStatus

WAIT_S = 20.0
STATUS = ExportStatus(
    "EX_1", ExportRequest(Path("r/rec-1"), ExportFormat.HLS, Path("out")), ExportState.QUEUED, 10.0, 10.0
)


def program(marks: Path, then: str) -> tuple[str, ...]:
    code = f"import os, sys, time; open({str(marks)!r}, 'a').write(f'{{os.getpid()}}\\n'); {then}"
    return (sys.executable, "-c", code)


def marked(marks: Path) -> list[int]:
    return [int(line) for line in marks.read_text().splitlines()] if marks.exists() else []


def exists(process_id: int) -> bool:
    return Path(f"/proc/{process_id}").exists()


async def until_marks(marks: Path, count: int) -> list[int]:
    async with asyncio.timeout(WAIT_S):
        while len(found := marked(marks)) < count:  # noqa: ASYNC110 - other processes write them
            await asyncio.sleep(0.02)
    return found


async def test_a_worker_that_dies_is_started_again_and_ends_with_the_service(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    worker = ExportWorker(program(marks, "time.sleep(60)"), {}, SteadyClock())
    worker.start()
    (first,) = await until_marks(marks, 1)
    os.kill(first, signal.SIGKILL)
    second = (await until_marks(marks, 2))[1]
    await worker.aclose()
    await worker.aclose()
    assert second != first
    assert not exists(second)


async def test_while_another_worker_works_this_one_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_supervisor, "BACKOFF_LONGEST_S", 0.05)
    marks = tmp_path / "marks"
    worker = ExportWorker(program(marks, f"sys.exit({ANOTHER_WORKER})"), {}, SteadyClock())
    worker.start()
    assert len(await until_marks(marks, 3)) >= 3
    await worker.aclose()


def test_only_what_moved_is_told() -> None:
    events = EventLog("boot")
    metrics = build_metrics(CollectorRegistry(), "0")

    class NoQueue:
        def list(self) -> tuple[ExportStatus, ...]:
            return ()

    watch = ExportWatch(NoQueue(), events, metrics, SteadyClock())
    old = replace(STATUS, export_id="EX_0", state=ExportState.COMPLETE)
    watch.take([old])
    assert events.cursor == 0
    watch.take([old, STATUS])
    watch.take([old, STATUS])
    watch.take([old, replace(STATUS, state=ExportState.COMPLETE, updated_at=40.0)])
    failure = ExportFailure("recording_damaged", "no")
    watch.take([old, replace(STATUS, export_id="EX_2", state=ExportState.FAILED, error=failure)])
    told = [
        (item.fields["export_id"], item.fields["state"], item.fields["error_code"])
        for item in events.read_after(0).events
    ]
    assert told == [("EX_1", "queued", ""), ("EX_1", "complete", ""), ("EX_2", "failed", "recording_damaged")]
    value = metrics.registry.get_sample_value
    assert value("roomhand_exports", {"status": "complete"}) == 1
    assert value("roomhand_exports", {"status": "failed"}) == 1
    assert value("roomhand_export_duration_seconds_sum", {"format": "hls"}) == 30.0

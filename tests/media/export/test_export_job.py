"""An export's life as values."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.export.job import (
    Aborted,
    Completed,
    ExportEvent,
    ExportFailure,
    ExportFormat,
    ExportRequest,
    ExportResult,
    ExportState,
    ExportStatus,
    ExportStep,
    Failed,
    Progressed,
    TakenUp,
    advance,
    request_from_json,
    request_to_json,
    status_to_json,
)

REQUEST = ExportRequest(Path("/recordings/RM_1"), ExportFormat.HLS, Path("/out"), "alice")
QUEUED = ExportStatus("EX_1", REQUEST, ExportState.QUEUED, 100.0, 100.0)
EVENTS: list[ExportEvent] = [
    TakenUp(),
    *(Progressed(step, fraction) for step in ExportStep for fraction in (-1.0, 0.0, 0.5, 2.0)),
    Completed(ExportResult(())),
    Failed(ExportFailure("disk_full", "free some space")),
    Aborted(),
]


def test_the_usual_life() -> None:
    status = advance(QUEUED, TakenUp(), 101.0)
    assert (status.state, status.attempt) == (ExportState.ACTIVE, 1)
    status = advance(status, Progressed(ExportStep.PROCESS, 0.5), 102.0)
    assert status.step is ExportStep.PROCESS
    assert 0.1 < status.progress < 0.85
    status = advance(status, Completed(ExportResult(())), 103.0)
    assert (status.state, status.progress, status.step, status.updated_at) == (ExportState.COMPLETE, 1.0, None, 103.0)


def test_a_new_worker_is_a_new_attempt() -> None:
    status = advance(advance(QUEUED, TakenUp(), 101.0), TakenUp(), 102.0)
    assert status.attempt == 2


@pytest.mark.parametrize("end", [Completed(ExportResult(())), Failed(ExportFailure("a", "b")), Aborted()])
@pytest.mark.parametrize("event", EVENTS)
def test_an_end_is_an_end(end: ExportEvent, event: ExportEvent) -> None:
    ended = advance(QUEUED, end, 101.0)
    assert advance(ended, event, 102.0) is ended


def test_a_failure_says_where_it_was() -> None:
    status = advance(QUEUED, Progressed(ExportStep.VERIFY), 101.0)
    status = advance(status, Failed(ExportFailure("disk_full", "free some space")), 102.0)
    assert status.step is ExportStep.VERIFY
    assert status.error == ExportFailure("disk_full", "free some space")


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
@settings(max_examples=50)
def test_progress_stays_in_range_and_only_complete_is_all(events: list[ExportEvent]) -> None:
    status = QUEUED
    for event in events:
        status = advance(status, event, 101.0)
        assert 0.0 <= status.progress <= 1.0
        assert (status.result is not None) == (status.state is ExportState.COMPLETE)
        assert (status.error is not None) == (status.state is ExportState.FAILED)


def test_steps_in_their_order_never_go_back() -> None:
    progress = [
        advance(QUEUED, Progressed(step, fraction), 101.0).progress
        for step in ExportStep
        for fraction in (0.0, 0.5, 1.0)
    ]
    assert progress == sorted(progress)


@pytest.mark.parametrize("identity", ["alice", None])
def test_a_request_survives_json(identity: str | None) -> None:
    request = ExportRequest(Path("/recordings/RM_1"), ExportFormat.MP4, Path("/out"), identity, "lobby")
    assert request_from_json(request_to_json(request)) == request


def test_a_request_of_before_rooms_were_kept_is_of_none() -> None:
    values = request_to_json(REQUEST)
    del values["room"]
    assert request_from_json(values) == REQUEST
    assert REQUEST.room == ""


def test_a_status_in_json_has_what_people_ask_for() -> None:
    values = status_to_json(advance(QUEUED, Failed(ExportFailure("disk_full", "free some space")), 101.0))
    assert values["state"] == "failed"
    assert values["error"] == {"code": "disk_full", "message": "free some space"}
    assert values["export_id"] == "EX_1"

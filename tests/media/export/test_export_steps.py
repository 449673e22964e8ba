"""What the steps cost beside their work: it must not grow with the recording where it is done again and again."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import pytest

from media.export import workflow
from media.export.job import Aborted, ExportFormat, ExportRequest, ExportStep, TakenUp
from media.export.processes import ExportCancelled
from media.export.store import ExportStore
from media.export.workflow import StepSettings
from media.frames import Codec
from media.process.output import ExportOutput, JsonObject, OutputTrack
from media.process.timeline import Program, TrackPart
from media.record.journal import JOURNAL_NAME
from media.record.reader import read_recording
from media.record.recorder import Recording
from tests.media.export.recordings import (
    STARTED_AT,
    Track,
    camera_and_microphone,
    encode_audio,
    interrupt,
    start_recording,
    write_recording,
)

EXPORT_ID = "EX_1"


@pytest.fixture
def store(tmp_path: Path) -> ExportStore:
    return ExportStore(tmp_path / "exports.db")


def steps_of(store: ExportStore, recording: Path) -> workflow._Run:
    """The steps of an export of `recording` that a worker has taken up."""
    store.add(EXPORT_ID, ExportRequest(recording, ExportFormat.MP4, recording.parent / "out"), time.time())
    store.apply(EXPORT_ID, TakenUp())
    settings = StepSettings(recording_poll_s=0.01, interrupted_grace_s=60.0)
    return workflow._Run(store, settings, threading.Semaphore(), store.get(EXPORT_ID))


@contextmanager
def awaiting(store: ExportStore, steps: workflow._Run) -> Iterator[Future[JsonObject]]:
    """The first step under way, for no longer than the block."""
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(steps.await_recording)
        finally:
            store.apply(EXPORT_ID, Aborted())


def test_results_of_another_form_have_another_number() -> None:
    """Who changes what steps return raises STEP_FORMAT, and then writes the new form down here."""
    forms = {form.__name__: [field.name for field in fields(form)] for form in (Program, TrackPart, ExportOutput)}
    assert (workflow.STEP_FORMAT, forms, [field.name for field in fields(OutputTrack)]) == (
        2,
        {
            "Program": ["participant_identity", "source", "stem", "video", "audio"],
            "TrackPart": ["number", "segments"],
            "ExportOutput": [
                "participant_identity",
                "source",
                "format",
                "entry",
                "start_media_time_s",
                "duration_s",
                "tracks",
                "files",
                "checks",
            ],
        },
        [
            "kind",
            "codec",
            "handling",
            "reason",
            "recorded_tracks",
            "samples",
            "silence_packets",
            "concealed_frames",
            "payload_sha256",
            "start_s",
            "duration_s",
            "clock_lag_s",
            "width",
            "height",
            "skipped_packets",
            "repeated_pictures",
        ],
    )


def test_a_recording_that_goes_on_is_not_read_again_and_again(
    tmp_path: Path, store: ExportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Mock(side_effect=read_recording)
    monkeypatch.setattr(workflow, "read_recording", reading)
    recording = start_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    steps = steps_of(store, recording.path)
    with awaiting(store, steps) as waited:
        time.sleep(0.5)
        assert reading.call_count == 0
        recording.close(STARTED_AT + 10)
        assert waited.result(timeout=30) == {"state": "complete"}
    assert reading.call_count == 1


def test_an_interrupted_one_is_read_once_until_it_changes(
    tmp_path: Path, store: ExportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Mock(side_effect=read_recording)
    monkeypatch.setattr(workflow, "read_recording", reading)
    path = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    interrupt(path)
    steps = steps_of(store, path)
    threading.Timer(0.5, store.apply, (EXPORT_ID, Aborted())).start()
    with pytest.raises(ExportCancelled):
        steps.await_recording()
    assert reading.call_count == 1


def test_one_that_somebody_goes_on_with_is_waited_for_however_long_its_journal_is_silent(
    tmp_path: Path, store: ExportStore
) -> None:
    path = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 1.2))
    interrupt(path)
    steps = steps_of(store, path)
    with awaiting(store, steps) as waited:
        time.sleep(0.3)
        resumed = Recording.resume(path, STARTED_AT + 20)
        os.utime(path / JOURNAL_NAME, (STARTED_AT, STARTED_AT))
        time.sleep(0.3)
        assert not waited.done()
        resumed.close(STARTED_AT + 30)
        assert waited.result(timeout=30) == {"state": "complete"}


def test_checking_many_segments_tells_of_it_now_and_then_only(
    tmp_path: Path, store: ExportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = [Track("microphone", encode_audio(0.0, 4.0))]
    path = write_recording(tmp_path / "recording", tracks, segment_s=0.02)
    assert len(read_recording(path).tracks[0].segments) > 100
    steps = steps_of(store, path)
    telling = Mock(side_effect=store.apply)
    monkeypatch.setattr(store, "apply", telling)
    began = time.monotonic()
    steps.check_segments()
    assert 1 <= telling.call_count <= 1 + (time.monotonic() - began) / 0.2


def test_who_asks_is_told_how_many_segments_are_verified(tmp_path: Path, store: ExportStore) -> None:
    path = write_recording(tmp_path / "recording", camera_and_microphone(Codec.H264, 4.2))
    steps = steps_of(store, path)
    store.add("EX_2", ExportRequest(tmp_path / "another", ExportFormat.MP4, tmp_path), time.time())
    steps.check_segments()
    segments = sum(len(track.segments) for track in read_recording(path).tracks)
    status = store.get(EXPORT_ID)
    assert (status.step, status.segments_verified) == (ExportStep.CHECK_SEGMENTS, segments)
    assert {item.export_id: item.segments_verified for item in store.all()} == {EXPORT_ID: segments, "EX_2": 0}

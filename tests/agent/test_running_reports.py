"""Reports of recordings that go on: what was read once is not read again, and each is what all of the file says."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.errors import QualityNotFound
from agent.quality_report import read_quality_report, report_json, write_quality_report
from agent.running_reports import MOST, RunningReports
from media.record.reader import QUALITY_NAME, read_recording
from tests.agent.judged_recordings import Second, camera, judged_recording, microphone


def judged(root: Path, name: str = "one") -> Path:
    """A minute of a camera and a microphone, without a report beside it."""
    tracks = (camera("ada", lambda _at: Second()), microphone("ada", lambda _at: Second()))
    return judged_recording(root, name, tracks, 60)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return judged(tmp_path) / QUALITY_NAME


def test_it_grows_with_the_file_whose_lines_are_read_once(samples: Path) -> None:
    lines = samples.read_bytes().splitlines(keepends=True)
    reports, view = RunningReports(), read_recording(samples.parent)
    samples.write_bytes(b"".join(lines[:40]) + lines[40][:20])
    first = reports.read(view)
    assert report_json(first) == report_json(read_quality_report(view))
    half = samples.read_bytes()
    samples.write_bytes(b"x" * 100 + half[100:] + lines[40][20:] + b"".join(lines[41:]))
    whole = reports.read(view)
    assert whole.unreadable_lines == 0, "the first lines are not what was read before"
    assert whole.tracks[0].judged_s > first.tracks[0].judged_s > 0
    samples.write_bytes(b"".join(lines))
    assert report_json(whole) == report_json(read_quality_report(view))
    assert report_json(reports.read(view)) == report_json(whole)


def test_a_file_that_became_shorter_is_read_anew(samples: Path) -> None:
    reports, view = RunningReports(), read_recording(samples.parent)
    reports.read(view)
    lines = samples.read_bytes().splitlines(keepends=True)
    samples.write_bytes(b"".join(lines[:40]))
    assert report_json(reports.read(view)) == report_json(read_quality_report(view))


def test_once_closed_the_report_beside_it_is_given(tmp_path: Path) -> None:
    path = judged(tmp_path)
    reports, view = RunningReports(), read_recording(path)
    made = reports.read(view)
    write_quality_report(path, made)
    os.truncate(path / QUALITY_NAME, 0)
    os.utime(path / QUALITY_NAME, (0, 0))
    assert report_json(reports.read(view)) == report_json(made)


def test_many_who_ask_at_once_get_the_same(samples: Path) -> None:
    reports, view = RunningReports(), read_recording(samples.parent)
    with ThreadPoolExecutor(8) as pool:
        got = [report_json(each) for each in pool.map(reports.read, [view] * 16)]
    assert got == [report_json(read_quality_report(view))] * 16


def test_without_samples_there_is_none_yet_and_few_recordings_are_kept(tmp_path: Path) -> None:
    reports = RunningReports()
    for number in range(MOST + 5):
        path = judged(tmp_path, f"r{number}")
        (path / QUALITY_NAME).unlink()
        with pytest.raises(QualityNotFound):
            reports.read(read_recording(path))
    assert len(reports._gathered) == MOST

"""A dead worker is forgiven once, and so is a test of real parts; any other that fails is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.second_runs import MOST_FAILED

ROOT = Path(__file__).parents[1]


def run_by_a_worker(file: Path) -> subprocess.CompletedProcess[str]:
    """pytest over `file`, with second runs."""
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "tests.second_runs", "--rootdir", ".", file.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=file.parent, env=environment, capture_output=True, text=True, check=False)


_TESTS = """
import os, pathlib, pytest

MARK = pathlib.Path({mark!r})

def test_before():
    pass

def test_dies():
    first = not MARK.exists()
    MARK.touch()
    if first or {always}:
        os.abort()

def test_after():
    pass
"""


@pytest.mark.parametrize(("always", "passed", "failed"), [(False, 3, 0), (True, 2, 1)])
def test_a_test_whose_worker_died_runs_once_more(tmp_path: Path, always: bool, passed: int, failed: int) -> None:
    file = tmp_path / "test_native.py"
    file.write_text(_TESTS.format(mark=str(tmp_path / "mark"), always=always))
    run = run_by_a_worker(file)
    assert f"{passed} passed" in run.stdout, run.stdout + run.stderr
    assert (f"{failed} failed" in run.stdout) is bool(failed)
    assert run.returncode == (1 if failed else 0)
    assert "its worker died; run again" in run.stderr


_REAL_TESTS = """
import pathlib, pytest

FOLDER = pathlib.Path({folder!r})

def once(name):
    first = not (FOLDER / name).exists()
    (FOLDER / name).touch()
    return first

@pytest.fixture
def leaves():
    yield
    assert not once("leaves")

@pytest.mark.server
def test_late():
    assert not once("late")

@pytest.mark.interop
def test_late_at_the_end(leaves):
    pass

@pytest.mark.server
def test_broken():
    assert False

@pytest.mark.bench
def test_of_our_own():
    assert not once("own")

@pytest.mark.server
def test_one_too_many():
    assert not once("many")
"""


def test_tests_of_real_parts_run_once_more_and_few_of_them(tmp_path: Path) -> None:
    file = tmp_path / "test_real.py"
    file.write_text(_REAL_TESTS.format(folder=str(tmp_path)))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  server\n  interop\n  bench\n")
    run = run_by_a_worker(file)
    assert "== 3 failed, 2 passed in" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 1
    failed = {line.rpartition("::")[2].split()[0] for line in run.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {"test_broken", "test_of_our_own", "test_one_too_many"}
    again = {line.partition(": ")[0] for line in run.stderr.splitlines() if "it failed; run again" in line}
    assert len(again) == MOST_FAILED

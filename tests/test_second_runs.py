"""A dead worker is forgiven once, and so is a test of real parts; any other that fails is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

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
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "tests.second_runs", "--rootdir", ".", file.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert f"{passed} passed" in run.stdout, run.stdout + run.stderr
    assert (f"{failed} failed" in run.stdout) is bool(failed)
    assert run.returncode == (1 if failed else 0)
    assert "its worker died; run again" in run.stderr


_REAL_TESTS = """
import pathlib, pytest

MARK = pathlib.Path({mark!r})
pytestmark = pytest.mark.{marker}

@pytest.fixture
def broken():
    yield
    assert {where!r} != "teardown" or _passes()

def _passes():
    first = not MARK.exists()
    MARK.touch()
    return not first and not {always}

def test_slow(broken):
    assert {where!r} != "call" or _passes()
"""


@pytest.mark.parametrize(
    ("marker", "where", "always", "summary"),
    [
        ("server", "call", False, "1 passed"),
        ("interop", "call", False, "1 passed"),
        ("server", "teardown", False, "1 passed"),
        ("server", "call", True, "1 failed"),
        ("server", "teardown", True, "1 passed, 1 error"),
        ("bench", "call", False, "1 failed"),
    ],
)
def test_a_test_of_real_parts_runs_once_more(
    tmp_path: Path, marker: str, where: str, always: bool, summary: str
) -> None:
    file = tmp_path / "test_real.py"
    file.write_text(_REAL_TESTS.format(mark=str(tmp_path / "mark"), marker=marker, where=where, always=always))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  server\n  interop\n  bench\n")
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "tests.second_runs", "--rootdir", ".", file.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert f"== {summary} in" in run.stdout, run.stdout + run.stderr
    assert run.returncode == (0 if summary == "1 passed" else 1)
    assert ("it failed; run again" in run.stderr) is (marker != "bench")

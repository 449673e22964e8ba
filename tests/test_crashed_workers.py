"""A dead worker is forgiven once, a failing test never."""

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
    command = [sys.executable, "-m", "pytest", "-n", "1", "-p", "tests.crashed_workers", "--rootdir", ".", file.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert f"{passed} passed" in run.stdout, run.stdout + run.stderr
    assert (f"{failed} failed" in run.stdout) is bool(failed)
    assert run.returncode == (1 if failed else 0)
    assert "its worker died; run again" in run.stderr

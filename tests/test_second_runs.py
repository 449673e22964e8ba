"""A dead worker is forgiven once, and so is a test of real parts; any other that fails is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.second_runs import MOST_FAILED, TIMEOUT_S

ROOT = Path(__file__).parents[1]


def run_by_workers(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest over the files in `folder`, with second runs."""
    plugins = ["-p", "xdist.plugin", "-p", "tests.second_runs", "-p", "tests.whole_files"]
    command = [sys.executable, "-m", "pytest", *options, *plugins, "--rootdir", "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


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
    run = run_by_workers(tmp_path, "-n", "1")
    assert f"{passed} passed" in run.stdout, run.stdout + run.stderr
    assert (f"{failed} failed" in run.stdout) is bool(failed)
    assert run.returncode == (1 if failed else 0)
    assert "its worker died; run again" in run.stderr


_DIES_ONCE = """
import os, pathlib

def test_dies_once():
    mark = pathlib.Path(__file__).with_suffix(".mark")
    if not mark.exists():
        mark.touch()
        os.abort()
"""


@pytest.mark.parametrize(("workers", "files"), [("1", "d p"), ("1", "p p p p d p"), ("2", "d2 d p d2")])
def test_files_of_a_dead_worker_are_all_run(tmp_path: Path, workers: str, files: str) -> None:
    """Files with a test that dies (d) and others (p), some with more tests after that."""
    tests = 0
    for number, kind in enumerate(files.split()):
        more = int(kind[1:] or 1) - 1
        first = _DIES_ONCE if kind[0] == "d" else "def test_first(): pass\n"
        others = "".join(f"\ndef test_{n}(): pass\n" for n in range(more))
        (tmp_path / f"test_{number}.py").write_text(first + others)
        tests += 1 + more
    run = run_by_workers(tmp_path, "-n", workers, "--dist", "loadfile")
    assert f"== {tests} passed in" in run.stdout, run.stdout + run.stderr
    assert run.stderr.count("its worker died; run again: exit code 0") == files.count("d")
    assert run.returncode == 0


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
    run = run_by_workers(tmp_path, "-n", "1")
    assert "== 3 failed, 2 passed in" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 1
    failed = {line.rpartition("::")[2].split()[0] for line in run.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {"test_broken", "test_of_our_own", "test_one_too_many"}
    again = {line.partition(": ")[0] for line in run.stderr.splitlines() if "it failed; run again" in line}
    assert len(again) == MOST_FAILED


_DIES = "atexit.register(os.abort)"
_NEVER_ENDS = "subprocess.Popen(['sleep', '50']); atexit.register(time.sleep, 50)"


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize(
    ("end", "limit_s", "told"), [(_DIES, TIMEOUT_S, "exit code -6"), (_NEVER_ENDS, 6, "no end within 6 s")]
)
def test_a_second_run_that_dies_or_never_ends_after_its_test_counts_by_the_test(
    tmp_path: Path, end: str, limit_s: int, told: str, passes: bool
) -> None:
    test = f"import atexit, subprocess, time\n{_DIES_ONCE}\n    {end}\n    assert {passes}\n"
    (tmp_path / "test_native.py").write_text(test)
    (tmp_path / "conftest.py").write_text(f"import tests.second_runs\n\ntests.second_runs.TIMEOUT_S = {limit_s}\n")
    run = run_by_workers(tmp_path, "-n", "1")
    assert f"its worker died; run again: {told}" in run.stderr
    assert run.returncode == (0 if passes else 1), run.stdout + run.stderr


_WAITS_FOR_THE_END = """
import pathlib, pytest

MARK = pathlib.Path(__file__).with_suffix(".mark")

@pytest.mark.server
def test_needs_the_machine():
    assert MARK.exists()

def test_busy():
    MARK.touch()
"""


def test_second_runs_come_once_all_else_is_done(tmp_path: Path) -> None:
    (tmp_path / "test_real.py").write_text(_WAITS_FOR_THE_END)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  server\n")
    run = run_by_workers(tmp_path, "-n", "1")
    assert "== 2 passed in" in run.stdout, run.stdout + run.stderr
    assert "it failed; run again: exit code 0" in run.stderr
    assert run.returncode == 0

"""A process that hangs in native code, or as it closes what a failed test left, ends and is run again."""

from pathlib import Path

import pytest

from tests.test_second_runs import run_by_workers

_SHORT = """
import os, pathlib, threading
import tests.hung_tests

tests.hung_tests.GRACE_S = tests.hung_tests.TEARDOWN_S = 1
tests.hung_tests.QUIET_S = 6
"""
_HANGS_ONCE = """
import ctypes, pathlib, pytest

def hang():
    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    while True:
        libc.pthread_mutex_lock(mutex)

@pytest.fixture
def first():
    mark = pathlib.Path(__file__).with_suffix(".mark")
    told = not mark.exists()
    mark.touch()
    return told

@pytest.fixture
def closes(first):
    yield
    if first:
        hang()

def test_before():
    pass
"""
_IN_NATIVE_CODE = """
@pytest.mark.timeout(1)
def test_hangs(first):
    if first:
        hang()
"""
_AFTER_A_FAILURE = """
@pytest.mark.server
@pytest.mark.timeout(30)
def test_fails_and_hangs(first, closes):
    assert not first
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where tests have a second for what has half a minute else."""
    (tmp_path / "conftest.py").write_text(_SHORT)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  server\n")
    return tmp_path


@pytest.mark.parametrize("what", [_IN_NATIVE_CODE, _AFTER_A_FAILURE])
def test_a_worker_that_hangs_ends_with_the_place_and_its_test_runs_once_more(folder: Path, what: str) -> None:
    (folder / "test_native.py").write_text(f"{_HANGS_ONCE}{what}\ndef test_after():\n    pass\n")
    run = run_by_workers(folder, "-n", "1", "-p", "pytest_timeout", "-p", "tests.hung_tests")
    assert "== 3 passed in" in run.stdout, run.stdout + run.stderr
    assert run.returncode == 0
    assert run.stderr.count("; run again: ") == run.stderr.count("its worker died; run again: exit code 0") == 1
    assert "in hang\n" in run.stderr


def test_a_test_that_fails_and_leaves_nothing_has_no_limit_after_it(folder: Path) -> None:
    slow = "def test_fails():\n    assert False\n\n@pytest.mark.timeout(0)\ndef test_slow():\n    time.sleep(2)\n"
    (folder / "test_slow.py").write_text(f"import pytest, time\n\n{slow}")
    run = run_by_workers(folder, "-n", "1", "-p", "pytest_timeout", "-p", "tests.hung_tests")
    assert "== 1 failed, 1 passed in" in run.stdout, run.stdout + run.stderr


def test_a_run_whose_workers_tell_nothing_ends(folder: Path) -> None:
    waits = "\n\ndef pytest_collection_modifyitems(config):\n    threading.Event().wait(12)\n"
    (folder / "conftest.py").write_text(_SHORT + waits)
    (folder / "test_it.py").write_text("def test_it():\n    pass\n")
    run = run_by_workers(folder, "-n", "1", "-p", "pytest_timeout", "-p", "tests.hung_tests")
    assert run.returncode == 1
    assert "Timeout (0:00:06)!" in run.stderr, run.stdout + run.stderr

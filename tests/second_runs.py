"""Which tests are run once more, in a process of their own, before they count as failed.

One whose worker process died in native code: the SDK sometimes aborts the whole process when a room ends. That costs
a service one room, which it starts again; it shall not cost a test run either. And up to MOST_FAILED tests of those
that wait for real servers and browsers, where a busy machine can outlast any patience: they are run again at the end,
when they have it alone.
A process that hung counts as one that died (`hung_tests`).
A second run that died in native code, or hung, after its test had passed counts as passed, for the same reason.
Only runs that share a machine among workers (`-n`) have second runs, and their output names each one.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from xml.etree import ElementTree

import pytest

TIMEOUT_S = 300  # a test may take 240 s
MOST_FAILED = 3
REAL_PARTS = ("server", "interop")
PUT_OFF = "put off"

_again: set[str] = set()
"""The tests that were run again."""
_put_off: dict[str, pytest.TestReport] = {}
"""By test, its first failure, until it is run again."""


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport) -> None:
    """Replace the report of the death by that of the second run, which a failure before it waits for no more."""
    _put_off.pop(crashitem, None)
    _run_again(crashitem, report, "its worker died")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> Generator[None]:
    """Put off the failure of a test of real parts, from a worker; what else is told of that test is left out."""
    if hasattr(report, "node") and any(mark in report.keywords for mark in REAL_PARTS):
        known = report.nodeid in _put_off
        if report.failed and (known or len(_put_off) + len(_again) < MOST_FAILED):
            _put_off.setdefault(report.nodeid, report)
            sys.stderr.write(f"\n{report.longreprtext}\n" if not known else "")
            report.outcome = PUT_OFF  # type: ignore[assignment]  # an outcome of our own, told of below
    yield


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """A failure that was put off counts as nothing yet."""
    return ("", "", "") if report.outcome == PUT_OFF else None


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Once the workers have nothing more to do, run again what failed, and tell how that ended."""
    done = yield
    for test, report in list(_put_off.items()):
        report.outcome = "failed"
        _run_again(test, report, "it failed")
        del _put_off[test]
        del report.node  # as if it were no worker's
        session.config.hook.pytest_runtest_logreport(report=report)
    return done


def _run_again(test: str, report: pytest.TestReport, why: str) -> None:
    _again.add(test)
    with tempfile.TemporaryDirectory() as folder:
        results, output = Path(folder) / "results.xml", Path(folder) / "output"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--junit-xml={results}", test]
        code = _end_of(command, output)
        passed = code == 0 or ((code is None or code < 0) and _passed(results))
        told = output.read_text(errors="replace")[-4000:]
    how = f"exit code {code}" if code is not None else f"no end within {TIMEOUT_S} s"
    sys.stderr.write(f"\n{test}: {why}; run again: {how}\n")
    if passed:
        _pass(report)
    else:
        report.longrepr = f"{report.longrepr}; and when run again:\n{told}"


def _end_of(command: list[str], output: Path) -> int | None:
    """The command's exit code; None if it had to be ended, with all that it started.

    Its output goes to a file: a pipe would be waited for until the last process that inherited it ends.
    """
    with (
        output.open("wb") as told,
        subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, start_new_session=True) as run,
    ):
        try:
            return run.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)


def _passed(results: Path) -> bool:
    """Whether a run told its results, and no test among them failed: they are written before a process ends."""
    try:
        suites = ElementTree.parse(results).getroot().findall("testsuite")
    except (FileNotFoundError, ElementTree.ParseError):  # it died before it had told, or while it did
        return False
    told = [int(suite.get(count, "0")) for suite in suites for count in ("errors", "failures")]
    return sum(int(suite.get("tests", "0")) for suite in suites) > 0 and not any(told)


def _pass(report: pytest.TestReport) -> None:
    report.outcome = "passed"
    report.longrepr = None
    if report.when not in {"setup", "teardown"}:
        report.when = "call"

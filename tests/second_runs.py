"""Which tests are run once more, in a process of their own, before they count as failed.

One whose worker process died in native code: the SDK sometimes aborts the whole process when a room ends. That costs
a service one room, which it starts again; it shall not cost a test run either. And up to MOST_FAILED tests of those
that wait for real servers and browsers, where a busy machine can outlast any patience: then they have it alone.
A second run that died in native code after its test had passed counts as passed, for the same reason.
Only runs that share a machine among workers (`-n`) have second runs, and their output names each one.
"""

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

_again: dict[str, bool] = {}
"""By test, whether it passed when it was run again."""


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport) -> None:
    """Replace the report of the death by that of the second run."""
    _run_again(crashitem, report, "its worker died")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> Generator[None]:
    """Replace the report of a failure that came from a worker by that of the second run."""
    if report.failed and hasattr(report, "node") and any(mark in report.keywords for mark in REAL_PARTS):
        if _again.get(report.nodeid):
            _pass(report)
        elif report.nodeid not in _again and len(_again) < MOST_FAILED:
            sys.stderr.write(f"\n{report.longreprtext}\n")
            _run_again(report.nodeid, report, "it failed")
    yield


def _run_again(test: str, report: pytest.TestReport, why: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--junit-xml={results}", test]
        try:
            again = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            _again[test] = False
            return
        _again[test] = again.returncode == 0 or (again.returncode < 0 and _passed(results))
    sys.stderr.write(f"\n{test}: {why}; run again: exit code {again.returncode}\n")
    if _again[test]:
        _pass(report)
    else:
        report.longrepr = f"{report.longrepr}; and when run again:\n{again.stdout[-4000:]}"


def _passed(results: Path) -> bool:
    """Whether a run told its results, and no test among them failed: they are written before a process ends."""
    if not results.exists():
        return False
    suites = ElementTree.parse(results).getroot().findall("testsuite")
    told = [int(suite.get(count, "0")) for suite in suites for count in ("errors", "failures")]
    return sum(int(suite.get("tests", "0")) for suite in suites) > 0 and not any(told)


def _pass(report: pytest.TestReport) -> None:
    report.outcome = "passed"
    report.longrepr = None
    if report.when not in {"setup", "teardown"}:
        report.when = "call"

"""Which tests are run once more, in a process of their own, before they count as failed.

One whose worker process died in native code: the SDK sometimes aborts the whole process when a room ends. That costs
a service one room, which it starts again; it shall not cost a test run either. And up to MOST_FAILED tests of those
that wait for real servers and browsers, where a busy machine can outlast any patience: then they have it alone.
Only runs that share a machine among workers (`-n`) have second runs, and their output names each one.

What a dead worker left goes to the one that replaces it. pytest-xdist 3.8 does not do that for whole files
(`--dist loadfile`): its new worker gets the files that were through already, or one last test that it keeps until it
hears of a next one, and waits for ever (https://github.com/pytest-dev/pytest-xdist/issues/1323, 1327 and 1378).
"""

import subprocess
import sys
from collections.abc import Generator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling, Scheduling
from xdist.workermanage import WorkerController

TIMEOUT_S = 300  # a test may take 240 s
MOST_FAILED = 3
REAL_PARTS = ("server", "interop")

_again: dict[str, bool] = {}
"""By test, whether it passed when it was run again."""


_MOST_KEPT = 2
"""A worker runs one test and holds the next: with so many left it needs more, or to hear that there are none."""


REAL_FOLDER = "tests/integration/"


class WholeFiles(LoadFileScheduling):
    """Give each worker whole files, and those of a dead worker to others but for the test that it died in.

    The first worker begins with the files that run real servers and media, the others with the rest: beside one another
    they take each other's CPU, and pictures are late or missing.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        takes_real = node is self.nodes[0]
        fitting = (file for file in self.workqueue if file.startswith(REAL_FOLDER) is takes_real)
        first = next(fitting, None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Take back what a worker has not run, without the test that it was running, which is returned."""
        files = self.assigned_work.pop(node)
        left = [(file, test) for file, tests in files.items() for test, through in tests.items() if not through]
        for file, test in left[1:]:
            self.workqueue.setdefault(file, {})[test] = False
        for other in self.nodes:
            self._reschedule(other)
        return left[0][1] if left else None

    def _reschedule(self, node: WorkerController) -> None:
        if node not in self.registered_collections or node.shutting_down:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) <= _MOST_KEPT:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Schedule `--dist loadfile` ourselves."""
    return WholeFiles(config, log) if config.getvalue("dist") == "loadfile" else None


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
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", test]
    try:
        again = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        _again[test] = False
        return
    _again[test] = again.returncode == 0
    sys.stderr.write(f"\n{test}: {why}; run again: exit code {again.returncode}\n")
    if _again[test]:
        _pass(report)
    else:
        report.longrepr = f"{report.longrepr}; and when run again:\n{again.stdout[-4000:]}"


def _pass(report: pytest.TestReport) -> None:
    report.outcome = "passed"
    report.longrepr = None
    if report.when not in {"setup", "teardown"}:
        report.when = "call"

"""A test whose worker process died in native code is run once more, in a process of its own.

The SDK's native code sometimes aborts the whole process when a room ends. That costs a service one room, which it
starts again; it shall not cost a test run either. Only a death of the process is forgiven, never a test that fails,
and the run's output names each.
"""

import subprocess
import sys

import pytest

TIMEOUT_S = 150  # a test may take 120 s


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport) -> None:
    """Replace the report of the death by that of the second run."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", crashitem]
    try:
        again = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return
    sys.stderr.write(f"\n{crashitem}: its worker died; run again: exit code {again.returncode}\n")
    if again.returncode == 0:
        report.outcome = "passed"
        report.when = "call"
        report.longrepr = None
    else:
        report.longrepr = f"{report.longrepr}; and when run again:\n{again.stdout[-4000:]}"

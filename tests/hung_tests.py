"""No test run waits for ever: a process that hangs ends, and shows where each of its threads was.

pytest-timeout raises in the main thread once that runs Python again, which one that waits in native code never does;
and it takes its timer back as a test fails, so nothing limits the teardown after that (closing an event loop waits for
every thread that it lent). Here a thread that needs no interpreter ends the process. A worker that ends so counts as
one that died in native code (`second_runs`).
"""

import faulthandler
import os
from collections.abc import Generator

import pytest
from pytest_timeout import Settings

GRACE_S = 30.0
"""After pytest-timeout should have raised: a test that fails tells more than a process that ends."""
TEARDOWN_S = 60.0
"""For closing what a failed test left."""
QUIET_S = 900.0
"""Longer than the slowest test, its grace and a second run of it."""


def pytest_configure(config: pytest.Config) -> None:
    """Limit the tests that this process runs, or the time in which it hears nothing of those that its workers run."""
    by_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    config.pluginmanager.register(_Quiet() if by_workers else _Tests(may_stop=config.getoption("usepdb")))


class _Limit:
    def __init__(self) -> None:
        self._shown = os.dup(2)  # pytest has the original for its own while tests run

    def _end_after(self, delay_s: float) -> None:
        faulthandler.dump_traceback_later(delay_s, exit=True, file=self._shown)

    def pytest_unconfigure(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        os.close(self._shown)


class _Tests(_Limit):
    """Of the process that runs tests."""

    def __init__(self, *, may_stop: bool) -> None:
        super().__init__()
        self._may_stop = may_stop

    @pytest.hookimpl(wrapper=True)
    def pytest_timeout_set_timer(self, settings: Settings) -> Generator[None, object, object]:
        self._end_after(settings.timeout + GRACE_S)
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        """Both pytest and pytest-timeout have taken their timers back by now."""
        if isinstance(node, pytest.Item) and not self._may_stop:
            self._end_after(TEARDOWN_S)

    def pytest_runtest_logfinish(self) -> None:
        faulthandler.cancel_dump_traceback_later()


class _Quiet(_Limit):
    """Of the process that tells workers what to run."""

    def pytest_sessionstart(self) -> None:
        self._end_after(QUIET_S)

    def pytest_runtest_logreport(self) -> None:
        self._end_after(QUIET_S)

"""What holds for all tests."""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from tests.hung_tests import pytest_configure
from tests.second_runs import (
    pytest_handlecrashitem,
    pytest_report_teststatus,
    pytest_runtest_logreport,
    pytest_runtestloop,
)
from tests.whole_files import pytest_xdist_make_scheduler

__all__ = [
    "pytest_configure",
    "pytest_handlecrashitem",
    "pytest_report_teststatus",
    "pytest_runtest_logreport",
    "pytest_runtestloop",
    "pytest_xdist_make_scheduler",
]

# Some machines compile nothing for keeps; commands that tests start would compile all of it each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True)
def logs_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that a test runs in its process sends the logs to a stream that is closed with the test.

    Loggers that kept what it set up could not be listened to by the tests after it.
    """
    root, configure, before = logging.getLogger(), structlog.configure, structlog.get_config()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(structlog, "configure", lambda **what: configure(**what | {"cache_logger_on_first_use": False}))
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    configure(**before)

"""What holds for all tests."""

import logging
from collections.abc import Iterator

import pytest

from tests.second_runs import pytest_handlecrashitem, pytest_runtest_logreport

__all__ = ["pytest_handlecrashitem", "pytest_runtest_logreport"]


@pytest.fixture(autouse=True)
def log_handlers_as_before() -> Iterator[None]:
    """A command that a test runs in its process sends the logs to a stream that is closed with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)

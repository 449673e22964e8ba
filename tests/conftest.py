"""What holds for all tests."""

from tests.second_runs import pytest_handlecrashitem, pytest_runtest_logreport

__all__ = ["pytest_handlecrashitem", "pytest_runtest_logreport"]

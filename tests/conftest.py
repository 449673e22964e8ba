"""What holds for all tests."""

from tests.crashed_workers import pytest_handlecrashitem

__all__ = ["pytest_handlecrashitem"]

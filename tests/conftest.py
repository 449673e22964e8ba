"""What holds for all tests."""

from tests.crashed_workers import pytest_handlecrashitem as pytest_handlecrashitem

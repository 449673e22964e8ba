"""A fresh API over fakes for each test."""

from pathlib import Path

import pytest

from tests.agent.api.fake_service import FakeService, fake_service


@pytest.fixture
def api(tmp_path: Path) -> FakeService:
    """The API, its rooms and exports."""
    return fake_service(tmp_path)

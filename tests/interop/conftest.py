"""A browser, a served API and finished exports for the tests with other people's software."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.interop.chromium import BINARIES, Page, chromium, find_chromium
from tests.interop.exported import Exported, exported
from tests.interop.serving import Served, serve


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """The exports of all cases, made once."""
    with exported(tmp_path_factory.mktemp("exported")) as everything:
        yield everything


@pytest.fixture
async def served(exports: Exported, tmp_path: Path) -> AsyncIterator[Served]:
    """The API over those exports, on a port of its own."""
    async with serve(exports.queue, tmp_path / "service") as service:
        yield service


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """An empty page of a new browser."""
    binary = find_chromium()
    if binary is None:
        pytest.skip(f"no browser: none of {', '.join(BINARIES)} is on PATH")
    async with chromium(binary, tmp_path) as browser:
        yield await browser.page()

"""The page that the demo tells people to open plays what the demo exported."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.interop.chromium import Page

pytestmark = pytest.mark.interop

STARTED_WITHIN_S = 100  # a clean machine builds nothing here: set-up did


@pytest.mark.timeout(200)
async def test_the_url_that_the_demo_prints_plays(page: Page, tmp_path: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from agent.cli import main; main()",
        *("demo", "--duration", "6", "--keep", "--out", str(tmp_path / "demo")),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert demo.stdout is not None
    told = ""
    async with asyncio.timeout(STARTED_WITHIN_S):
        while "stay up" not in told:
            line = await demo.stdout.readline()
            assert line, told
            told += line.decode()
    try:
        url = re.search(r"^player +(\S+)", told, re.MULTILINE)
        assert url is not None, told
        await page.open(url[1])
        await page.until("document.body?.dataset.state === 'playing'")
        await page.until("document.querySelector('video').currentTime > 1")
        assert await page.evaluate("document.querySelector('video').videoWidth") > 0
        assert page.problems == []
    finally:
        demo.send_signal(signal.SIGINT)
        rest, _ = await demo.communicate()
    assert "checks passed" in rest.decode()
    assert demo.returncode == 0

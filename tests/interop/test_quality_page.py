"""The report's page in a browser: whole without scripts, on a phone and on a desk, by day and by night."""

import asyncio
from pathlib import Path

import pytest

from tests.agent.api.fake_service import FakeExports
from tests.agent.judged_recordings import Second, camera, judged_recording, microphone
from tests.interop.chromium import Page
from tests.interop.serving import serve

pytestmark = pytest.mark.interop

NAME = '<img src=x onerror="document.title=1">' + "a-name-without-any-place-to-break-it" * 3
WIDTHS = (360, 768, 1400)
OPENED_TABLES = """[...document.querySelectorAll('details')].filter(each => {
    each.open = true;
    const table = each.querySelector('[tabindex="0"] table');
    return table.getBoundingClientRect().height > 100;
}).length"""
MOST_LINES_OF_A_HEADING = """Math.max(...[...document.querySelectorAll('thead th')].map(
    each => each.getBoundingClientRect().height / parseFloat(getComputedStyle(each).lineHeight)))"""


def troubled(at: int) -> Second:
    """Loss in the middle."""
    return Second(loss=0.1) if 20 <= at < 60 else Second()


async def test_the_page_fits_every_screen_and_keeps_names_as_text(page: Page, tmp_path: Path) -> None:
    tracks = (
        camera("ada", troubled, name=NAME),
        microphone(NAME, troubled),
        camera(NAME, troubled, name=NAME),
        microphone("bob", troubled),
    )
    recordings = tmp_path / "service" / "recordings"
    await asyncio.to_thread(judged_recording, recordings, "one", tracks, 120)
    async with serve(FakeExports(), tmp_path / "service") as served:
        await page.open(f"{served.url}/v1/recordings/one/quality.html?access_token={served.token()}")
        colours = []
        for scheme in ("light", "dark"):
            await page.prefer(scheme)
            colours.append(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            for width in WIDTHS:
                await page.resize(width, 900)
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                assert await page.evaluate(OPENED_TABLES) == 4
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                assert await page.evaluate(MOST_LINES_OF_A_HEADING) <= 2, "no heading is broken letter by letter"
                heights = (
                    "[...document.querySelectorAll('figure svg')].map(plot => plot.getBoundingClientRect().height)"
                )
                assert min(await page.evaluate(heights)) > 40
        assert colours[0] != colours[1]
        assert await page.evaluate("document.title") == "Quality of one"
        assert await page.evaluate("document.images.length + document.scripts.length") == 0
        assert NAME in await page.evaluate("document.body.innerText")
        titles = "[...document.querySelectorAll('svg')].every(plot => plot.querySelector('title').textContent)"
        assert await page.evaluate(titles)
        named = "document.querySelector('td a').textContent"
        await page.evaluate("document.querySelector('td a').click()")
        assert (await page.evaluate("document.querySelector(':target h3').textContent")).startswith(
            await page.evaluate(named)
        )
        assert page.problems == []

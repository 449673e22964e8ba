"""A recording played by a browser while it is written, over a layer switch, a mute and a false end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from media.frames import Codec
from tests.agent.api.fake_service import FakeExports
from tests.interop.chromium import Page
from tests.interop.live_camera import Shown, latency_s, look
from tests.interop.live_feed import LARGE, SMALL, LiveFeed
from tests.interop.serving import Served, serve
from tests.media.export.recordings import camera_and_microphone, write_recording

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

WINDOW_S = 60.0
"""Behind this no playlist reaches; how much less it is on a machine at ease is in docs/performance.md."""


@dataclass
class Watching:
    """A page that plays a feed."""

    page: Page
    feed: LiveFeed
    served: Served

    async def shown(self, *, after: int = -1, size: tuple[int, int] | None = None) -> Shown:
        """The next picture that is readable, of a number above `after`, and of that size."""
        async with asyncio.timeout(60):
            while True:
                seen = await look(self.page)
                if seen.number is not None and seen.number > after and size in {None, seen.size}:
                    return seen

    async def plays_on(self, seen: Shown, pictures: int = 25) -> Shown:
        """A picture that much later than `seen`."""
        assert seen.number is not None
        return await self.shown(after=seen.number + pictures)


@contextlib.asynccontextmanager
async def watching(page: Page, folder: Path, feed: LiveFeed) -> AsyncIterator[Watching]:
    """The feed goes on while the context does, and the page plays it."""
    async with serve(FakeExports(), folder / "service") as served:
        feed.start()
        running = asyncio.create_task(feed.run(), name="feed")
        try:
            await page.open(f"{served.url}/player?recording={feed.name}#token={served.token()}")
            await page.until("document.body?.dataset.state === 'playing'", patience_s=60)
            yield Watching(page, feed, served)
        finally:
            running.cancel()
            await asyncio.wait({running})
            await feed.end()


def feed_in(folder: Path, **options: float) -> LiveFeed:
    return LiveFeed(folder / "service" / "recordings" / "rec-1", **options)


async def test_it_is_watched_as_it_goes_on_and_to_its_end(page: Page, tmp_path: Path) -> None:
    feed = feed_in(tmp_path, duration_s=24.0)
    async with watching(page, tmp_path, feed) as watched:
        assert await page.evaluate("document.querySelector('#live').checkVisibility()")
        seen = [await watched.shown()]
        for _ in range(4):
            seen.append(await watched.plays_on(seen[-1]))
        numbers = [item.number for item in seen]
        positions = [item.position_s for item in seen]
        assert numbers == sorted(numbers, key=lambda number: number or 0)
        assert positions == sorted(positions)
        assert seen[0].size == LARGE
        behind_s = [latency_s(feed, item) for item in seen]
        print("glass to glass, s:", " ".join(f"{item:.2f}" for item in behind_s))
        assert all(0.0 < item < WINDOW_S for item in behind_s)
        await page.until("document.body.dataset.state === 'ended'", patience_s=90)
        await page.until("document.body.dataset.live === 'over'")  # told by the next poll
        assert not await page.evaluate("document.querySelector('#live').checkVisibility()")
        last = await page.evaluate("document.querySelector('video').currentTime")
        assert last > positions[-1]
    assert page.problems == []


async def test_it_goes_on_over_a_layer_switch_and_a_writer_that_came_back(page: Page, tmp_path: Path) -> None:
    feed = feed_in(tmp_path, switch_s=16.0)
    async with watching(page, tmp_path, feed) as watched:
        first = await watched.shown(size=LARGE)
        small = await watched.shown(size=SMALL)
        assert (small.number or 0) >= 16 * 25 > (first.number or 0)
        feed.away = True
        await feed.end()
        await asyncio.sleep(3)
        await feed.resume()
        resumed_at = max(feed.captured_at)
        again = await watched.shown(after=resumed_at)
        assert 0.0 < latency_s(feed, again) < WINDOW_S
        await watched.plays_on(again)


async def test_a_mute_of_either_leaves_the_other_playing(page: Page, tmp_path: Path) -> None:
    feed = feed_in(tmp_path)
    async with watching(page, tmp_path, feed) as watched:
        seen = await watched.shown()
        feed.muted.add(Codec.OPUS)
        muted_at = max(feed.captured_at)
        alone = await watched.shown(after=max(muted_at + 100, seen.number or 0))
        feed.muted.clear()
        back = await watched.plays_on(alone, 100)
        await watched.plays_on(back)


async def test_one_that_is_over_plays_from_its_start(page: Page, tmp_path: Path) -> None:
    feed = feed_in(tmp_path, duration_s=5.0)
    feed.start()
    await feed.run()
    async with serve(FakeExports(), tmp_path / "service") as served:
        await page.open(f"{served.url}/player?recording=rec-1#token={served.token()}")
        await page.until("document.body?.dataset.state === 'playing'", patience_s=60)
        await page.until("document.body.dataset.state === 'ended'", patience_s=60)
        assert await page.evaluate("document.querySelector('video').duration") == pytest.approx(5.0, abs=0.3)
    assert page.problems == []


async def test_the_page_says_why_it_cannot_play(page: Page, tmp_path: Path) -> None:
    write_recording(tmp_path / "service" / "recordings" / "one", camera_and_microphone(Codec.H264, 2.0))
    async with serve(FakeExports(), tmp_path / "service") as served:
        cases = [
            ("none", served.token(), "There is no such recording"),
            ("one", "nonsense", "access token is not valid"),
        ]
        for recording_id, token, words in cases:
            await page.open("about:blank")
            await page.open(f"{served.url}/player?recording={recording_id}#token={token}")
            await page.until("document.body?.dataset.state === 'error'")
            assert words in await page.evaluate("document.querySelector('[role=alert]').innerText")

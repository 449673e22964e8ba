"""What the live page shows where there is nothing to play, or another than the viewer asked for, and how it goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from media.frames import Codec
from tests.agent.api.fake_service import FakeExports
from tests.interop.chromium import Page
from tests.interop.live_feed import LiveFeed
from tests.interop.serving import serve
from tests.media.export.recordings import (
    Track,
    camera_and_microphone,
    encode_audio,
    encode_video,
    killed_recording,
    write_recording,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(150)]

PLAYING = "document.body.dataset.state === 'playing'"
LIVE = "document.querySelector('#live').checkVisibility()"
TITLE = "document.querySelector('h1').innerText"
SELECTED = "document.querySelector('select').value"
OPENED = "performance.getEntriesByType('resource').filter((entry) => entry.name.includes('multivariant')).length"
POLLS = "performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('/live')).length"


def says(words: str) -> str:
    """That the page covers its picture with `words`, and does not call that live."""
    said = f"document.querySelector('[role=alert]').innerText.includes({words!r})"
    return f"document.querySelector('[role=alert]').checkVisibility() && {said} && !{LIVE}"


def choose(key: str) -> str:
    return (
        f"{{ const list = document.querySelector('select'); list.value = {key!r}; "
        "list.dispatchEvent(new Event('change')); }"
    )


@contextlib.asynccontextmanager
async def watching(page: Page, folder: Path, who: str = "") -> AsyncIterator[LiveFeed]:
    """A minute goes on being recorded, and the page shows it."""
    feed = LiveFeed(folder / "service" / "recordings" / "rec-1")
    async with serve(FakeExports(), folder / "service") as served:
        feed.start()
        running = asyncio.create_task(feed.run(), name="feed")
        try:
            await page.open(f"{served.url}/player?recording=rec-1{who}#token={served.token()}")
            yield feed
        finally:
            running.cancel()
            await asyncio.wait({running})
            await feed.end()


async def test_who_has_left_is_not_played_again(page: Page, tmp_path: Path) -> None:
    async with watching(page, tmp_path) as feed:
        feed.come("aaron")
        await page.until(f"{PLAYING} && {LIVE}", patience_s=60)
        first, second = ("ada", "aaron") if await page.evaluate(TITLE) == "ada, camera" else ("aaron", "ada")
        feed.leave(first)
        await page.until(f"{PLAYING} && {LIVE} && {TITLE} === '{second}, camera'")
        feed.leave(second)
        await page.until(says(f"{second} has left"))
        opened = await page.evaluate(OPENED)
        await asyncio.sleep(5)
        assert await page.evaluate(says(f"{second} has left"))
        assert await page.evaluate(OPENED) == opened
        feed.come(first)
        await page.until(f"{PLAYING} && {LIVE} && {TITLE} === '{first}, camera'")
        assert page.problems == []


async def test_nobody_is_shown_but_who_was_asked_for(page: Page, tmp_path: Path) -> None:
    async with watching(page, tmp_path, "&participant=bob") as feed:
        await page.until(says("Waiting for bob"))
        await page.until("document.querySelector('select').options.length === 1")
        await asyncio.sleep(3)
        assert await page.evaluate(f"{says('Waiting for bob')} && {SELECTED} === ''")
        feed.come("bob")
        await page.until(f"{PLAYING} && {TITLE} === 'bob, camera' && {SELECTED} === 'bob camera'")
        await page.evaluate("window.kept = document.querySelector('select').options[0]; 0")
        polls = await page.evaluate(POLLS)
        await page.until(f"{POLLS} > {polls + 1}")
        assert await page.evaluate("kept === document.querySelector('select').options[0]")  # it may be open
        feed.leave("bob")
        await page.until(says("bob has left"))
        await asyncio.sleep(3)
        assert await page.evaluate(says("bob has left"))
        await page.evaluate(choose("ada camera"))
        await page.until(f"{PLAYING} && {LIVE} && {TITLE} === 'ada, camera'")
        assert page.problems == []


async def test_a_picture_that_cannot_be_played_does_not_end_the_page(page: Page, tmp_path: Path) -> None:
    tracks = [*camera_and_microphone(Codec.VP8, 3.0, "adam"), *camera_and_microphone(Codec.H264, 3.0, "zoe")]
    write_recording(tmp_path / "service" / "recordings" / "vp8", tracks)
    async with serve(FakeExports(), tmp_path / "service") as served:
        await page.open(f"{served.url}/player?recording=vp8&participant=adam#token={served.token()}")
        await page.until(says("publish H.264 or AV1"))
        await page.evaluate("document.querySelector('#notice-action').click()")
        await page.until(PLAYING)
        assert await page.evaluate("document.querySelector('video').videoWidth") == 0
        await page.evaluate(choose("zoe camera"))
        await page.until(f"{PLAYING} && document.querySelector('video').videoWidth > 0")
        await page.evaluate(choose("adam camera"))
        await page.until(says("publish H.264 or AV1"))
        await page.evaluate(choose("zoe camera"))
        await page.until(f"{PLAYING} && {TITLE} === 'zoe, camera'")
        assert page.problems == []


async def test_one_that_is_over_is_asked_for_less_and_less(page: Page, tmp_path: Path) -> None:
    tracks = [Track("microphone", encode_audio(0.0, 7.0)), Track("camera", encode_video(Codec.H264, 0.2, 2.8))]
    write_recording(tmp_path / "service" / "recordings" / "over", tracks)
    async with serve(FakeExports(), tmp_path / "service") as served:
        await page.open(f"{served.url}/player?recording=over#token={served.token()}")
        await page.until(PLAYING)
        assert await page.evaluate("document.querySelector('video').videoWidth") > 0  # muted at the end, and yet there
        await page.until("document.body.dataset.state === 'ended'")
        assert await page.evaluate(POLLS) <= 3


async def test_what_a_killed_writer_left_plays_from_its_start_to_its_end(page: Page, tmp_path: Path) -> None:
    killed_recording(tmp_path / "service" / "recordings" / "dead", camera_and_microphone(Codec.H264, 5.0))
    async with serve(FakeExports(), tmp_path / "service") as served:
        await page.open(f"{served.url}/player?recording=dead#token={served.token()}")
        await page.until(PLAYING)
        assert await page.evaluate("document.querySelector('video').currentTime") < 1.5
        await page.until("document.querySelector('#status').innerText === 'The end · interrupted'")
        assert await page.evaluate(f"document.querySelector('video').currentTime > 4.0 && !{LIVE}")


async def test_while_nothing_comes_nothing_is_live(page: Page, tmp_path: Path) -> None:
    async with watching(page, tmp_path) as feed:
        await page.until(f"{PLAYING} && {LIVE}", patience_s=60)
        feed.muted.update({Codec.H264, Codec.OPUS})
        await page.until(says("Nothing comes"))
        opened = await page.evaluate(OPENED)
        await asyncio.sleep(4)
        assert await page.evaluate(f"{says('Nothing comes')} && {OPENED}") == opened
        feed.muted.clear()
        await page.until(f"{PLAYING} && {LIVE}")
        feed.pause()
        await page.until(says("Recording paused"))
        feed.unpause()
        await page.until(f"{PLAYING} && {LIVE}")
        assert page.problems == []


async def test_it_goes_on_when_the_service_is_back(page: Page, tmp_path: Path) -> None:
    async with watching(page, tmp_path):
        await page.until(f"{PLAYING} && {LIVE}", patience_s=60)
        await page.cut_off(offline=True)
        await page.until(says("The service does not answer, trying again"))
        await page.cut_off(offline=False)
        await page.until(f"{PLAYING} && {LIVE}")


async def test_who_goes_back_stays_there_until_it_goes_live(page: Page, tmp_path: Path) -> None:
    async with watching(page, tmp_path):
        await page.until(f"{PLAYING} && {LIVE} && document.querySelector('video').currentTime > 8", patience_s=60)
        await page.evaluate("video.currentTime -= 7; window.from = video.currentTime; 0")
        await page.until(f"!{LIVE} && document.querySelector('#go-live').checkVisibility()")
        await page.until(f"{PLAYING} && video.currentTime > from + 2")
        assert await page.evaluate("video.currentTime < from + 5 && hls.latency > 6")
        await page.evaluate("document.querySelector('#go-live').click()")
        await page.until(f"{PLAYING} && {LIVE} && hls.latency < 6 && document.querySelector('#go-live').hidden")
        assert page.problems == []


async def test_a_decoder_that_stumbles_now_and_then_goes_on(page: Page, tmp_path: Path) -> None:
    later = "{ const now = performance.now.bind(performance); window.ahead = 0; performance.now = () => now() + ahead }"
    stumble = "hls.trigger(Hls.Events.ERROR, { type: Hls.ErrorTypes.MEDIA_ERROR, details: 'x', fatal: true });"
    async with watching(page, tmp_path):
        await page.until(PLAYING, patience_s=60)
        await page.evaluate(later)
        for _ in range(5):
            await page.evaluate(f"ahead += 61_000; {stumble} 0")
            assert await page.evaluate("document.body.dataset.state !== 'error'")
        await page.until(PLAYING)
        for _ in range(3):
            await page.evaluate(f"{stumble} 0")
        assert await page.evaluate(says("Playback failed"))
        await page.until("document.querySelector('#status').innerText === 'Cannot play'")

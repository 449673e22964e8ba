"""What the player page says when it cannot play."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agent.credentials import Credentials
from agent.tokens import ServiceGrants
from media.export.job import ExportFailure, ExportResult, ExportState, ExportStatus
from tests.agent.api.fake_service import FakeExports
from tests.interop.chromium import Page
from tests.interop.exported import Exported
from tests.interop.serving import Served, serve

pytestmark = pytest.mark.interop

OTHER_SERVER = Credentials("ws://127.0.0.1:1", "APIother", "another-secret-of-at-least-32-characters")


def named(export_id: str, status: ExportStatus) -> ExportStatus:
    return replace(status, export_id=export_id)


async def refusal(page: Page, url: str) -> str:
    """What the page says at `url`, where it must not play."""
    await page.open("about:blank")  # only the fragment may differ, which loads nothing
    await page.open(url)
    await page.until("document.body?.dataset.state === 'error'")
    assert await page.evaluate("document.querySelector('[role=alert]').checkVisibility()")
    said = await page.evaluate("document.querySelector('[role=alert]').innerText")
    assert isinstance(said, str)
    return said


def without_a_file(status: ExportStatus, name: str, folder: Path) -> ExportStatus:
    """A copy of a complete export in `folder`, of which somebody deleted the file `name`."""
    shutil.copytree(status.request.out_dir, folder)
    assert status.result is not None
    (output,) = status.result.outputs

    def moved(path: str) -> str:
        return str(folder / Path(path).relative_to(status.request.out_dir))

    files = tuple(replace(file, path=moved(file.path)) for file in output.files)
    Path(next(file.path for file in files if file.path.endswith(name))).unlink()
    result = ExportResult((replace(output, entry=moved(output.entry), files=files),))
    return replace(status, request=replace(status.request, out_dir=folder), result=result)


async def test_it_says_what_is_wrong_with_the_token(page: Page, served: Served, exports: Exported) -> None:
    export_id = exports.ids["h264", "hls"]
    cases = [
        (served.token(credentials=OTHER_SERVER), "access token is not valid", "roomhand token"),
        ("nonsense", "access token is not valid", "roomhand token"),
        (served.token(ttl_s=-60), "has expired", "make a new one"),
        (served.token(ServiceGrants(room_list=True)), "does not allow this", "--grant roomRecord"),
        ("", "access token is missing", "--grant roomRecord"),
    ]
    for token, title, advice in cases:
        said = await refusal(page, served.player(export_id, token))
        assert title in said
        assert advice in said


async def test_a_right_token_in_place_of_a_wrong_one_plays(page: Page, served: Served, exports: Exported) -> None:
    export_id = exports.ids["h264", "hls"]
    await refusal(page, served.player(export_id, "nonsense"))
    await page.evaluate(f"location.hash = 'token={served.token()}'")
    await page.until("document.body.dataset.state === 'playing'")


async def test_it_says_what_is_wrong_with_the_export(page: Page, exports: Exported, tmp_path: Path) -> None:
    complete = exports.status("h264", "hls")
    fake = FakeExports()
    failure = ExportFailure("recording_damaged", "tracks/1-audio/000000.m4s is missing")
    fake.statuses["EX_failed"] = replace(complete, state=ExportState.FAILED, result=None, error=failure)
    fake.statuses["EX_aborted"] = replace(complete, state=ExportState.ABORTED, result=None)
    fake.statuses["EX_headless"] = named("EX_headless", without_a_file(complete, "video-000001.m4s", tmp_path / "one"))
    async with serve(fake, tmp_path / "service") as served:
        assert "000000.m4s is missing" in await refusal(page, served.player("EX_failed"))
        assert "was cancelled" in await refusal(page, served.player("EX_aborted"))
        assert "no such export" in await refusal(page, served.player("EX_none"))
        assert "HTTP status 404" in await refusal(page, served.player("EX_headless"))
        assert "Which export?" in await refusal(page, f"{served.url}/player")


async def test_it_says_why_a_file_does_not_come(page: Page, exports: Exported, tmp_path: Path) -> None:
    fake = FakeExports()
    one_file = without_a_file(exports.status("h264", "mp4"), ".mp4", tmp_path / "one")
    fake.statuses["EX_headless"] = named("EX_headless", one_file)
    fake.statuses["EX_hls"] = named("EX_hls", exports.status("h264", "hls"))
    fake.statuses["EX_mp4"] = named("EX_mp4", exports.status("h264", "mp4"))
    async with serve(fake, tmp_path / "service") as served:
        said = await refusal(page, served.player("EX_headless"))
        assert "Format error" not in said
        assert "no file" in said
        for export_id in ("EX_mp4", "EX_hls"):
            await page.open("about:blank")
            await page.open(served.player(export_id))
            await page.until("document.body?.dataset.state === 'playing'")
            await page.evaluate(f"token = '{served.token(ServiceGrants(room_list=True))}'; outputs.onchange() && 0")
            await page.until("document.body.dataset.state === 'error'")
            said = await page.evaluate("document.querySelector('[role=alert]').innerText")
            assert "does not allow this" in said
            assert "roomRecord" in said


async def test_one_that_is_waited_for_survives_an_outage(page: Page, exports: Exported, tmp_path: Path) -> None:
    fake = FakeExports()
    complete = named("EX_late", exports.status("h264", "hls"))
    fake.statuses["EX_late"] = replace(complete, state=ExportState.QUEUED, result=None)
    async with serve(fake, tmp_path / "service") as served:
        await page.open(served.player("EX_late"))
        await page.until("document.body?.dataset.state === 'waiting'")
        await page.cut_off(offline=True)
        await page.until("document.querySelector('[role=alert]').innerText.includes('does not answer, trying again')")
        await page.cut_off(offline=False)
        await page.until("document.body.dataset.state === 'waiting'")
        fake.statuses["EX_late"] = complete
        await page.until("document.body.dataset.state === 'playing'")


async def test_it_plays_what_comes_before_a_file_that_is_lost(page: Page, exports: Exported, tmp_path: Path) -> None:
    fake = FakeExports()
    status = without_a_file(exports.status("h264", "hls"), "video-000002.m4s", tmp_path / "export")
    fake.statuses["EX_endless"] = named("EX_endless", status)
    async with serve(fake, tmp_path / "service") as served:
        await page.open(served.player("EX_endless"))
        await page.until("document.body?.dataset.state === 'playing'")
        await page.evaluate(
            "window.furthest = 0; setInterval(() => { furthest = Math.max(furthest, video.currentTime); }, 20)"
        )
        await page.until("document.body.dataset.state === 'error'")
        assert await page.evaluate("furthest") > 4.0
        assert "HTTP status 404" in await page.evaluate("document.querySelector('[role=alert]').innerText")


async def test_each_output_can_be_chosen(page: Page, exports: Exported, tmp_path: Path) -> None:
    first, second = exports.output("h264", "hls"), replace(exports.output("h264", "hls"), participant_identity="bob")
    fake = FakeExports()
    status = exports.status("h264", "hls")
    fake.statuses["EX_two"] = replace(status, export_id="EX_two", result=ExportResult((first, second)))
    async with serve(fake, tmp_path / "service") as served:
        await page.open(served.player("EX_two"))
        await page.until("document.body?.dataset.state === 'playing'")
        assert await page.evaluate("document.querySelector('h1').innerText") == "alice, camera"
        choose = "const s = document.querySelector('select'); s.value = '1'; s.dispatchEvent(new Event('change'))"
        await page.evaluate(f"{{ {choose} }}")
        await page.until("document.querySelector('h1').innerText === 'bob, camera'")
        await page.until("document.body.dataset.state === 'playing'")
    assert page.problems == []


async def test_a_page_with_errors_is_seen_as_such(page: Page, served: Served) -> None:
    """The other tests rely on it where they find no problems."""
    await page.open(served.player("EX_none"))
    await page.until("document.body?.dataset.state === 'error'")
    await page.evaluate("console.error('oops', 1)")
    await page.evaluate("setTimeout(() => { throw new Error('boom'); })")
    await page.evaluate("document.head.append(Object.assign(document.createElement('style'), { innerText: 'p {}' }))")
    for words in ("404", "oops 1", "boom", "Content Security Policy"):
        async with asyncio.timeout(10):
            while not any(words in problem for problem in page.problems):  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(0.05)

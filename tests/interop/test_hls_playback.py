"""Exports played by a browser: every codec and a layer switch in HLS, the same as MP4, and the picture at its time.

The recordings are white for the first 120 ms of each second of media time and dark else.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from media.export.job import ExportResult, ExportState, ExportStep
from media.frames import Codec
from media.package.packager import package_hls
from media.process.timeline import plan_programs
from media.record.reader import read_recording
from tests.agent.api.fake_service import FakeExports
from tests.interop.chromium import Page
from tests.interop.exported import CASES, LARGE, ONE_SIZE, PRODUCED, SMALL, Exported
from tests.interop.serving import Served, serve
from tests.media.export.recordings import Track, encode_audio, encode_video, shifted, write_recording

pytestmark = pytest.mark.interop

SIZES = {case: [LARGE] if case in set(Codec) else [LARGE, SMALL, LARGE] for case in CASES} | {"vp8": [SMALL]}

_WATCH = """
(() => {
  const video = document.querySelector("video");
  window.seen = { sizes: [], times: [] };
  setInterval(() => {
    const size = [video.videoWidth, video.videoHeight];
    if (size[0] && String(size) !== String(seen.sizes.at(-1))) seen.sizes.push(size);
    if (!video.paused) seen.times.push(video.currentTime);
  }, 20);
})()
"""

_BRIGHTNESS_AT = """
new Promise((resolve) => {
  const video = document.querySelector("video");
  const wanted = %s;
  const look = (now, frame) => {
    // One of before the seek may still be on its way to the screen.
    if (Math.abs(frame.mediaTime - wanted) > 0.1) {
      video.requestVideoFrameCallback(look);
      return;
    }
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.drawImage(video, 0, frame.height / 2, frame.width, frame.height / 2, 0, 0, 1, 1);
    resolve({ brightness: canvas.getImageData(0, 0, 1, 1).data[1], size: [frame.width, frame.height] });
  };
  video.pause();
  video.requestVideoFrameCallback(look);
  video.currentTime = wanted;
})
"""


@dataclass(frozen=True)
class Played:
    """What a browser played, once it came to the end."""

    duration_s: float
    end_s: float
    sizes: list[tuple[int, int]]
    times: list[float]
    frames: int
    dropped: int


async def play_to_the_end(page: Page) -> Played:
    await page.evaluate(_WATCH)
    await page.until("document.querySelector('video').ended")
    values: Any = await page.evaluate(
        """(() => {
             const video = document.querySelector("video");
             const quality = video.getVideoPlaybackQuality();
             return [video.duration, video.currentTime, seen.sizes, seen.times,
                     quality.totalVideoFrames, quality.droppedVideoFrames];
           })()"""
    )
    duration_s, end_s, sizes, times, frames, dropped = values
    return Played(duration_s, end_s, [(width, height) for width, height in sizes], times, frames, dropped)


def check_played(played: Played, exports: Exported, case: str, kind: str) -> None:
    output = exports.output(case, kind)
    assert played.duration_s == pytest.approx(output.duration_s, abs=0.1)
    assert played.end_s == pytest.approx(played.duration_s, abs=0.1)
    assert played.times == sorted(played.times)
    (video,) = [track for track in output.tracks if track.width]
    # A browser counts what its decoder gave out; on a busy machine it need not show all of it.
    assert played.frames >= 0.9 * video.samples
    assert played.dropped <= 0.5 * played.frames


async def brightness_at(page: Page, time_s: float) -> tuple[int, tuple[int, int]]:
    """How bright (0..255) the picture at a time is, and its size."""
    seen = await page.evaluate(_BRIGHTNESS_AT % time_s)
    width, height = seen["size"]
    return seen["brightness"], (width, height)


async def require_decoder(page: Page, case: str) -> None:
    """Skip where this build of the browser lacks the codec (H.265 is often left out)."""
    types = {
        Codec.H264: "avc1.42E01F",
        Codec.H265: "hvc1.1.6.L93.90",
        Codec.VP9: "vp09.00.30.08",
        Codec.AV1: "av01.0.04M.08",
    }
    named = types[PRODUCED[case]]
    if not await page.evaluate(f"MediaSource.isTypeSupported('video/mp4; codecs=\"{named}\"')"):
        pytest.skip(f"this browser has no decoder for {PRODUCED[case]}")


@pytest.mark.parametrize("case", CASES)
async def test_hls_plays_to_its_end(case: str, page: Page, served: Served, exports: Exported) -> None:
    await require_decoder(page, case)
    await page.open(served.player(exports.ids[case, "hls"]))
    await page.until("document.body?.dataset.state === 'playing'")
    played = await play_to_the_end(page)
    assert await page.evaluate("document.body.dataset.state") == "ended"
    check_played(played, exports, case, "hls")
    assert played.sizes == SIZES[case]
    assert page.problems == []


@pytest.mark.parametrize("kind", ["hls", "mp4"])
@pytest.mark.parametrize("case", ["layers", "vp9-layers", "av1-layers"])
async def test_seeking_shows_the_picture_of_that_time(
    case: str, kind: str, page: Page, served: Served, exports: Exported
) -> None:
    await page.open(served.player(exports.ids[case, kind]))
    await page.until("document.body?.dataset.state === 'playing'")
    small = LARGE if (case, kind) in ONE_SIZE else SMALL
    for time_s, size in ((5.06, LARGE), (3.06, small), (1.06, LARGE)):
        brightness, seen = await brightness_at(page, time_s)
        assert (brightness > 180, seen) == (True, size)
        assert (await brightness_at(page, time_s + 0.5))[0] < 80
    assert page.problems == []


@pytest.mark.parametrize("case", CASES)
async def test_mp4_plays_in_a_plain_video_element(case: str, page: Page, served: Served, exports: Exported) -> None:
    await require_decoder(page, case)
    url = f"{served.url}/v1/exports/{exports.ids[case, 'mp4']}/files/{case}-alice.mp4?access_token={served.token()}"
    await page.evaluate(f"""document.body.innerHTML = '<video autoplay src="{url}"></video>'""")
    await page.until("document.querySelector('video').currentTime > 0")
    played = await play_to_the_end(page)
    check_played(played, exports, case, "mp4")
    assert played.sizes == ([LARGE] if (case, "mp4") in ONE_SIZE else SIZES[case])
    assert page.problems == []


async def test_the_page_waits_for_an_export_and_then_plays_it(
    page: Page, exports: Exported, tmp_path_factory: pytest.TempPathFactory
) -> None:
    complete = exports.status("h264", "hls")
    fake = FakeExports()
    fake.statuses["EX_1"] = queued = replace(complete, state=ExportState.QUEUED, result=None, progress=0.0)
    async with serve(fake, tmp_path_factory.mktemp("service")) as served:
        await page.open(served.player("EX_1"))
        await page.until("document.body?.dataset.state === 'waiting'")
        assert "waits" in await page.evaluate("document.querySelector('[role=alert]').innerText")
        fake.statuses["EX_1"] = replace(queued, state=ExportState.ACTIVE, step=ExportStep.PROCESS, progress=0.4)
        await page.until("document.querySelector('progress').value === 0.4")
        fake.statuses["EX_1"] = replace(complete, export_id="EX_1")
        await page.until("document.body.dataset.state === 'playing'")
    assert page.problems == []


@pytest.mark.parametrize("hole", ["at the end", "in between"])
async def test_sound_goes_on_where_the_picture_pauses_for_a_quarter_of_an_hour(
    hole: str, page: Page, exports: Exported, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Longer than players load ahead: the last picture has to last without the end of the video at hand."""
    folder = tmp_path_factory.mktemp("long")
    second, picture = encode_audio(0.0, 1.0), encode_video(Codec.H264, 0.0, 2.0)
    sound = tuple(frame for index in range(905) for frame in shifted(second, float(index)))
    minute = tuple(frame for index in range(30) for frame in shifted(picture, 2.0 * index))
    video = minute if hole == "at the end" else minute + shifted(picture, 900.0)
    view = read_recording(write_recording(folder / "long", [Track("microphone", sound), Track("camera", video)]))
    output = package_hls(view, plan_programs(view, None)[0], folder, lambda _: None)
    files = tuple(replace(file, path=str(folder / file.path)) for file in output.files)
    placed = replace(output, entry=str(folder / output.entry), files=files)
    complete = exports.status("h264", "hls")
    fake = FakeExports()
    request = replace(complete.request, out_dir=folder)
    fake.statuses["EX_1"] = replace(complete, export_id="EX_1", request=request, result=ExportResult((placed,)))
    async with serve(fake, tmp_path_factory.mktemp("service")) as served:
        await page.open(served.player("EX_1"))
        await page.until("document.body?.dataset.state === 'playing'")
        await page.evaluate("document.querySelector('video').currentTime = 57")
        await page.until("document.querySelector('video').currentTime > 66")
        assert page.problems == []

"""Chromium's Media Source Extensions play a recording's own files: init segments, then media segments as they are."""

import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from media.frames import Codec
from media.record.reader import read_recording
from media.record.recorder import Recording
from tests.media.record.encoded_media import descriptor, opus, video

START = 1_000.0
PAGE = """<!doctype html><meta charset=utf-8><script>
async function play(name, type, urls) {
  const element = document.createElement(type.startsWith("audio") ? "audio" : "video");
  element.muted = true;
  document.body.append(element);
  const source = new MediaSource();
  element.src = URL.createObjectURL(source);
  await new Promise(done => source.addEventListener("sourceopen", done, {once: true}));
  const buffer = source.addSourceBuffer(type);
  for (const url of urls) {
    const data = await (await fetch(url)).arrayBuffer();
    await new Promise((done, fail) => {
      buffer.onupdateend = done;
      buffer.onerror = () => fail(new Error("append of " + url + " failed"));
      buffer.appendBuffer(data);
    });
  }
  const ranges = [];
  for (let n = 0; n < buffer.buffered.length; n++) ranges.push([buffer.buffered.start(n), buffer.buffered.end(n)]);
  source.endOfStream();
  element.playbackRate = 4;
  const ended = new Promise((done, fail) => {
    element.onended = done;
    element.onerror = () => fail(new Error(element.error.message));
  });
  await element.play();
  await ended;
  const quality = element.getVideoPlaybackQuality ? element.getVideoPlaybackQuality() : {totalVideoFrames: 0};
  return {name, ranges, width: element.videoWidth, height: element.videoHeight, frames: quality.totalVideoFrames};
}
onload = async () => {
  const results = [];
  for (const [name, type, urls] of await (await fetch("/cases")).json()) {
    if (!MediaSource.isTypeSupported(type)) { results.push({name, unsupported: type}); continue; }
    try { results.push(await play(name, type, urls)); }
    catch (error) { results.push({name, error: String(error)}); }
  }
  await fetch("/results", {method: "POST", body: JSON.stringify(results)});
};
</script><body>"""


class Site:
    """Serves the page, the cases and the recordings; keeps what the page posts."""

    def __init__(self, root: Path, cases: list[tuple[str, str, list[str]]]) -> None:
        site = self
        self.results: list[dict[str, Any]] = []
        self.done = threading.Event()

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(root))

            def do_GET(self) -> None:
                if self.path not in {"/", "/cases"}:
                    super().do_GET()
                    return
                body = (PAGE if self.path == "/" else json.dumps(cases)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html" if self.path == "/" else "application/json")
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                site.results = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()
                site.done.set()

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


def record(root: Path, name: str, codec: Codec) -> tuple[str, str, list[str]]:
    """Record 4 s, video with a change of resolution in the middle; the case for the page."""
    recording = Recording.create(root, name, "room", started_at=START)
    if codec is Codec.OPUS:
        frames = opus(packets=200)
    else:
        first = video(codec, frames=60)
        frames = first + video(
            codec, frames=60, width=320, height=180, first_rtp=first[-1].rtp_timestamp + 3000, start=START + 2
        )
    track = recording.open_track(descriptor(codec), START)
    for frame in frames:
        track.write(frame)
    recording.close(START + 5)
    (view,) = read_recording(recording.path).tracks
    container = "webm" if codec is Codec.VP8 else "mp4"
    urls: list[str] = []
    for segment in view.segments:
        urls += [f"/{name}/{segment.init_path}", f"/{name}/{segment.path}"]
    return name, f'{codec.kind}/{container}; codecs="{view.inits[0].codec_string}"', urls


@pytest.mark.interop
@pytest.mark.timeout(180)
def test_chromium_plays_every_container_we_write(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium on PATH")
    codecs = list(Codec)
    site = Site(tmp_path, [record(tmp_path, codec.value, codec) for codec in codecs])
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    command = [
        chromium,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--mute-audio",
        "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={tmp_path / 'profile'}",
        site.url,
    ]
    try:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            finished = site.done.wait(150)
            process.terminate()
        assert finished, "the page did not answer"
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join()
    # Only H.265 may be missing: many builds leave it out.
    unsupported = [result["name"] for result in site.results if "unsupported" in result]
    assert unsupported in ([], [Codec.H265]), site.results
    played = [result for result in site.results if "ranges" in result]
    assert [result["name"] for result in played] == [codec for codec in codecs if codec not in unsupported], (
        site.results
    )
    for result in played:
        ((start, end),) = result["ranges"]
        assert start == pytest.approx(0, abs=0.01)
        assert end == pytest.approx(4, abs=0.05)
        if result["name"] != Codec.OPUS:
            assert (result["width"], result["height"]) == (320, 180)

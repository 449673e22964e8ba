"""Chromium plays a participant's own file, whole and as a crash leaves it, in a plain video element."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from media.frames import Codec
from media.record.reader import read_recording
from media.record.recorder import Recording
from media.record.recording_writer import RecordingConfig
from media.record.track_recorder import TrackRecorder
from tests.interop.chromium import Page
from tests.interop.static_site import static_site
from tests.media.export.recordings import encode_audio, encode_video
from tests.media.record.encoded_media import descriptor

pytestmark = pytest.mark.interop

CODECS = [Codec.H264, Codec.VP8, Codec.VP9, Codec.AV1]
DURATION_S = 3.0


def write(root: Path, codec: Codec) -> Path:
    """The muxed file of a camera and a microphone."""
    media = [*encode_video(codec, 0.0, DURATION_S), *encode_audio(0.0, DURATION_S)]
    frames = sorted(media, key=lambda frame: frame.arrival_time)
    config = RecordingConfig(mux_participants=True)
    recording = Recording.create(root, codec.value, "room", started_at=0.0, config=config)
    recorders: dict[Codec, TrackRecorder] = {}
    for frame in frames:
        if frame.codec not in recorders:
            recorders[frame.codec] = recording.open_track(descriptor(frame.codec, frame.codec.value), 0.0)
        recorders[frame.codec].write(frame)
    recording.close(DURATION_S + 1)
    view = read_recording(recording.path)
    (entry,) = view.muxed
    path = view.file_of(entry)
    whole = path.read_bytes()
    (path.parent / f"torn{path.suffix}").write_bytes(whole[: len(whole) * 4 // 5])
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[Codec, Path], Path]]:
    """The address, the files and the folder that is served."""
    root = tmp_path_factory.mktemp("muxed")
    files = {codec: write(root, codec) for codec in CODECS}
    with static_site(root) as address:
        yield address, files, root


@pytest.mark.timeout(180)
@pytest.mark.parametrize("codec", CODECS)
async def test_muxed_files_play_to_their_end(
    codec: Codec, page: Page, site: tuple[str, dict[Codec, Path], Path], tmp_path: Path
) -> None:
    url, files, root = site
    (root / "index.html").write_text("<!doctype html><title>files</title><body></body>")
    await page.open(f"{url}/index.html")
    path = files[codec]
    for name, least_s in ((path.name, DURATION_S - 0.1), (f"torn{path.suffix}", 1.0)):
        address = f"/{path.relative_to(root).parent}/{name}"
        await page.evaluate(f"""document.body.innerHTML = '<video autoplay src="{address}"></video>'""")
        await page.until(
            "document.querySelector('video').ended || document.querySelector('video').error !== null", patience_s=90
        )
        seen = await page.evaluate(
            """(() => { const video = document.querySelector("video");
                 return [video.currentTime, video.videoWidth, video.videoHeight, video.webkitAudioDecodedByteCount,
                         video.getVideoPlaybackQuality().totalVideoFrames]; })()"""
        )
        end_s, width, height, audio_bytes, decoded = seen
        # The frame that a crash cut off is an error to the AV1 decoder, and none to the others.
        whole_needed = name == path.name or codec is not Codec.AV1
        assert not whole_needed or await page.evaluate("document.querySelector('video').error") is None
        assert (width, height) == (320, 180), (codec, name, seen)
        assert end_s >= least_s, (codec, name, seen)
        assert audio_bytes > 0, (codec, name, seen)
        assert decoded >= 0.9 * 25 * least_s, (codec, name, seen)
    await page.screenshot(tmp_path / f"{codec}.png")
    assert (tmp_path / f"{codec}.png").stat().st_size > 1_000

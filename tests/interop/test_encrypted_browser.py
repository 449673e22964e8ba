"""What Chromium encrypts with livekit-client's worker, recorded in the clear with the room's key."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import RoomAgent, RoomRequest, load_settings
from agent.tokens import Credentials, ParticipantTokenRequest, mint_participant_token
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.faults.recorded import check_all_decodes
from tests.integration.conftest import livekit_server, server_binary
from tests.integration.participants import room_name
from tests.integration.publishing import eventually
from tests.interop.chromium import Page

__all__ = ["livekit_server", "server_binary"]

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

SCRIPTS = Path(__file__).parent / "node_modules/livekit-client/dist"
KEY = "correct horse battery staple"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[str]:
    """An address on loopback, which browsers trust with keys, that has livekit-client's scripts."""
    if not SCRIPTS.exists():
        pytest.skip("livekit-client is not there; `make interop` installs it")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SCRIPTS)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


async def publish(page: Page, site: str, server: Credentials, room: str, codec: str) -> None:
    """Have the page publish its camera and microphone, encrypted."""
    await page.open(f"{site}/")
    for script in (SCRIPTS / "livekit-client.umd.js", Path(__file__).parent / "encrypt.js"):
        await page.evaluate(f"{script.read_text()}\n;true")
    token = mint_participant_token(server, ParticipantTokenRequest(room, "browser"))
    arguments = ", ".join(map(json.dumps, (server.url, token, {"key": KEY, "videoCodec": codec})))
    await page.evaluate(f"void publishEncrypted({arguments}).then(() => {{ globalThis.published = true; }})")
    await page.until("globalThis.published", patience_s=60)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_a_browsers_encrypted_media_are_recorded_in_the_clear(
    page: Page,
    site: str,
    livekit_server: Credentials,
    tmp_path: Path,
    codec: str,
) -> None:
    room = room_name()
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    await publish(page, site, livekit_server, room, codec)
    async with RoomAgent(livekit_server, RoomRequest(room, record=True, e2ee_key=KEY), settings) as agent:

        def enough() -> bool | None:
            frames = agent.counters().recording_frames
            return (frames.get("video", 0) >= 50 and frames.get("audio", 0) >= 100) or None

        await eventually(enough, timeout_s=60)
        status = await agent.stop_recording()
    await page.evaluate("room.disconnect()")
    assert status.undecryptable == ()
    view = read_recording(Path(status.path))
    assert verify_recording(view.path).problems == ()
    assert {track.descriptor.codec.value for track in view.tracks} == {codec, "opus"}
    check_all_decodes(view)


async def test_a_wrong_key_records_nothing_of_it_and_says_so(
    page: Page,
    site: str,
    livekit_server: Credentials,
    tmp_path: Path,
) -> None:
    room = room_name()
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    await publish(page, site, livekit_server, room, "vp8")
    async with RoomAgent(livekit_server, RoomRequest(room, record=True, e2ee_key="another"), settings) as agent:

        def told() -> bool | None:
            recording = agent.state().recording
            return (recording is not None and len(recording.undecryptable) == 2) or None

        await eventually(told, timeout_s=60)
        status = await agent.stop_recording()
    await page.evaluate("room.disconnect()")
    assert sum(track.samples for track in read_recording(Path(status.path)).tracks) == 0

"""What Chromium encrypts with livekit-client's worker, recorded in the clear with the room's key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.faults.recorded import check_all_decodes
from tests.integration.conftest import livekit_server, server_binary
from tests.integration.participants import room_name
from tests.integration.publishing import eventually
from tests.interop.chromium import Page
from tests.interop.livekit_client import SCRIPTS, publish
from tests.interop.static_site import static_site

__all__ = ["livekit_server", "server_binary"]

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

KEY = "correct horse battery staple"


@pytest.fixture
def site() -> Iterator[str]:
    """An address on loopback, which browsers trust with keys, that has livekit-client's scripts."""
    if not SCRIPTS.exists():
        pytest.skip("livekit-client is not there; `make interop` installs it")
    with static_site(SCRIPTS) as address:
        yield address


async def publish_encrypted(page: Page, site: str, server: Credentials, room: str, codec: str) -> None:
    """Have the page publish its camera and microphone, encrypted."""
    await page.open(f"{site}/")
    await publish(page, server, room, "publishEncrypted", {"key": KEY, "videoCodec": codec})


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
    await publish_encrypted(page, site, livekit_server, room, codec)
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
    await publish_encrypted(page, site, livekit_server, room, "vp8")
    async with RoomAgent(livekit_server, RoomRequest(room, record=True, e2ee_key="another"), settings) as agent:

        def told() -> bool | None:
            recording = agent.state().recording
            return (recording is not None and len(recording.undecryptable) == 2) or None

        await eventually(told, timeout_s=60)
        status = await agent.stop_recording()
    await page.evaluate("room.disconnect()")
    assert sum(track.samples for track in read_recording(Path(status.path)).tracks) == 0

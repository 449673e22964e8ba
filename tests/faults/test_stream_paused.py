"""A way so narrow that the server withholds the picture altogether, and wide again."""

import asyncio
from pathlib import Path

import pytest

from agent.service.local_server import LocalServer
from media.frames import Codec, MediaKind
from media.record.entries import GapReason
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.integration.commands import CommandLine, line_with
from tests.integration.narrow_link import NarrowLink, why_not
from tests.integration.publishing import Publisher

WITHOUT_LINK = why_not()
pytestmark = [
    pytest.mark.faults,
    pytest.mark.server,
    pytest.mark.timeout(300),
    pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a narrow link {WITHOUT_LINK}"),
]

PAUSING: dict[str, object] = {"congestion_control": {"enabled": True, "allow_pause": True}}
WIDE_BPS, NARROW_BPS = 10_000_000, 130_000  # sound and its redundancy fit, the lowest layer beside them does not
WITHHELD_S = 10.0


async def test_a_picture_that_the_server_withholds_is_a_gap_with_that_reason(
    server_binary: Path, tmp_path: Path
) -> None:
    with NarrowLink() as link:
        server = LocalServer(server_binary, log_file=tmp_path / "server.log", address=link.address, rtc=PAUSING)
        async with server as running, Publisher(running.credentials, "paused", width=1280, height=720):
            commands = CommandLine(running.credentials, tmp_path)
            link.limit(WIDE_BPS)
            options = ("--record", "--recording-id", "r", "--out", "recs", "--json")
            process = await commands.start("join", "paused", *options, behind=link.inside)
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                await asyncio.wait_for(process.stdout.readline(), 60)
                await asyncio.sleep(8)
                link.limit(NARROW_BPS)
                await line_with(process.stderr, "recording_stream_paused", timeout_s=90)
                await asyncio.sleep(WITHHELD_S)
                link.limit(WIDE_BPS)
                await line_with(process.stderr, "recording_stream_resumed", timeout_s=90)
                await asyncio.sleep(5)
            finally:
                process.terminate()
                await process.communicate()
    view = read_recording(tmp_path / "recs" / "r")
    assert verify_recording(view.path).problems == ()
    (video,) = [track for track in view.tracks if track.descriptor.kind is MediaKind.VIDEO]
    assert video.descriptor.codec is Codec.VP8
    withheld = [gap for gap in video.gaps if gap.reason is GapReason.STREAM_PAUSED]
    assert withheld
    # On so narrow a link the server lets pictures through now and then.
    assert sum(gap.duration for gap in withheld) / video.timescale > 1

"""The bandwidth feedback of the tap against a real server, on a wide way and on a narrow one."""

import asyncio
import json
import os
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from agent.credentials import Credentials
from agent.service.local_server import LocalServer
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.frames import MediaKind
from media.tap.tap import Tap, TapOptions
from tests.integration.narrow_link import NarrowLink, why_not
from tests.integration.publishing import Publisher, eventually
from tests.integration.tap_behind_link import INTERVAL_S, Counter

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
HIGHEST_BPS = 1_600_000  # at least, once the publisher has found what its own way carries
NARROW_BPS = 800_000  # the middle layer takes about 550,000; the highest one, with a quarter of its frames, 950,000
WATCHED = round(4.0 / INTERVAL_S)
WITHOUT_LINK = why_not()


def tap_in(server: Credentials, room: str, counter: Counter, *, feedback: bool) -> Tap:
    def token() -> str:
        identity = f"tap-feedback-{feedback}"
        request = ParticipantTokenRequest(room, identity, hidden=True, recorder=True, can_publish=False)
        return mint_participant_token(server, request)

    return Tap(TapOptions(server.url, token, bandwidth_feedback=feedback), counter, SteadyClock())


async def subscribe_all(tap: Tap, counter: Counter) -> None:
    def both() -> list[str] | None:
        sids = [track.sid for item in counter.participants.values() for track in item.tracks]
        return sids if len(sids) == 2 else None

    for track_sid in await eventually(both):
        await tap.subscribe(track_sid)


async def test_on_a_wide_way_the_feedback_takes_nothing_away(livekit_server: Credentials) -> None:
    told, silent = Counter(), Counter()
    async with Publisher(livekit_server, "feedback-wide", width=1280, height=720):
        taps = [
            tap_in(livekit_server, "feedback-wide", told, feedback=True),
            tap_in(livekit_server, "feedback-wide", silent, feedback=False),
        ]
        for tap, counter in zip(taps, (told, silent), strict=True):
            await tap.start()
            await subscribe_all(tap, counter)
        await eventually(lambda: True if told.height == silent.height == 720 else None, timeout_s=45)
        before = told.frames[MediaKind.VIDEO], silent.frames[MediaKind.VIDEO]
        await eventually(lambda: True if silent.frames[MediaKind.VIDEO] - before[1] >= 60 else None, timeout_s=40)
        assert told.frames[MediaKind.VIDEO] - before[0] >= 55
        assert told.height == 720
        for tap in taps:
            await tap.aclose()


@pytest.mark.faults
@pytest.mark.skipif(WITHOUT_LINK is not None, reason=f"a narrow link {WITHOUT_LINK}")
async def test_on_a_narrow_way_a_lower_layer_comes_whole_and_sound_is_unharmed(
    server_binary: Path, tmp_path: Path
) -> None:
    wide = Counter()
    with NarrowLink() as link:
        server = LocalServer(server_binary, log_file=tmp_path / "server.log", address=link.address)
        async with server as running, Publisher(running.credentials, "narrow", width=1280, height=720):
            here = tap_in(running.credentials, "narrow", wide, feedback=True)
            await here.start()
            await subscribe_all(here, wide)
            async with asyncio.timeout(60):
                while await video_rate(here) < HIGHEST_BPS:
                    pass
            assert wide.height == 720
            link.limit(NARROW_BPS)
            async with asyncio.timeout(60):
                await _steady_behind(link, running.credentials, wide)
            await here.aclose()


async def video_rate(tap: Tap) -> float:
    """Bits per second that a tap receives, in three seconds."""

    def received() -> int:
        return sum(item.bytes_received + item.header_bytes_received for item in tap.stats().values())

    before = received()
    await asyncio.sleep(3)
    return (received() - before) * 8 / 3


async def _steady_behind(link: NarrowLink, server: Credentials, wide: Counter) -> None:
    """Until the tap behind the link received whole frames of a lower layer, and all sound, for four seconds."""
    process = await asyncio.create_subprocess_exec(
        *(*link.inside, sys.executable, "-m", "tests.integration.tap_behind_link", "--seconds=60", "--room=narrow"),
        *(f"--url={server.url}", f"--key={server.api_key}", f"--secret={server.api_secret}"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    seen: deque[tuple[dict[str, Any], int, int]] = deque(maxlen=WATCHED)
    try:
        async for line in process.stdout:
            seen.append((json.loads(line), wide.frames[MediaKind.VIDEO], link.queue()[1]))
            if len(seen) == WATCHED and _is_steady(seen):
                return
        raise AssertionError(f"never steady; in the end {list(seen)}")
    finally:
        process.kill()
        await process.wait()


def _is_steady(seen: deque[tuple[dict[str, Any], int, int]]) -> bool:
    (first, wide_before, dropped_before), (last, wide_after, dropped_after) = seen[0], seen[-1]
    sent = wide_after - wide_before
    heights = {item["height"] for item, _, _ in seen}
    return (
        heights == {360}
        and sent >= 20
        and last["frames"] - first["frames"] >= 0.8 * sent
        and last["audio_lost"] == first["audio_lost"]
        and last["audio_frames"] > first["audio_frames"]
        and dropped_after == dropped_before
    )

"""A network that loses 5% of all datagrams each way: media, feedback and retransmissions alike."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.credentials import Credentials
from media.frames import Codec, MediaKind
from media.record.reader import read_recording
from media.record.verify import verify_recording
from tests.faults.faulty_network import faulty_network
from tests.faults.observer import observing
from tests.faults.recorded import behind_s, rtp_timestamps, unmatched
from tests.faults.watched import recording_room
from tests.integration.participants import room_name
from tests.integration.publishing import eventually

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(400)]

LOSS = 0.05
SECONDS = 60.0
LEAST_RECORDED = 0.999
UNDER_WAY_S = 1.0


@asynccontextmanager
async def load(server: Credentials, room: str, codec: Codec) -> AsyncIterator[asyncio.subprocess.Process]:
    """720p25 at 1.7 Mb/s and Opus, from a process of its own."""
    options = ("--url", server.url, "--key", server.api_key, "--secret", server.api_secret)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", *options, "--room", room, "--codec", codec,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 120) == b"ready\n"
        yield process
    finally:
        process.stdin.close()
        await process.wait()


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264])
async def test_five_per_cent_loss_both_ways(livekit_server: Credentials, tmp_path: Path, codec: Codec) -> None:
    room = room_name()
    async with (
        load(livekit_server, room, codec),
        observing(livekit_server, room) as observer,
        faulty_network(livekit_server, seed=5, loss=LOSS) as network,
    ):
        async with recording_room(network.credentials, room, tmp_path) as recorder:
            await recorder.more_video(25)
            await eventually(lambda: len(recorder.frames) == 2 or None, timeout_s=30)
            await asyncio.sleep(SECONDS)
            stats = recorder.tap.stats()
            await asyncio.sleep(2.5)  # what is still being asked for again comes or is given up
        lost = network.dropped / (network.carried + network.dropped)
    assert 0.8 * LOSS < lost < 1.2 * LOSS
    view = read_recording(tmp_path / "one")
    assert verify_recording(view.path).problems == ()
    shares: dict[MediaKind, float] = {}
    for track in view.tracks:
        seen = observer.tracks[track.descriptor.track_sid]
        recorded = rtp_timestamps(view, track)
        begin = min(i for i, stamp in enumerate(seen.rtp_timestamps) if not unmatched([stamp], recorded, 90))
        end = max(i for i, stamp in enumerate(seen.rtp_timestamps) if not unmatched([stamp], recorded, 90))
        clock_rate = track.timescale
        last = seen.rtp_timestamps[end]
        # What was lost in the last moments is still being asked for when the recorder leaves.
        sent = [one for one in seen.rtp_timestamps[begin : end + 1] if behind_s(one, last, clock_rate) > UNDER_WAY_S]
        missing = unmatched(sent, recorded, 90)
        share = shares[track.descriptor.kind] = 1 - len(missing) / len(sent)
        told = sum(gap.duration for gap in track.gaps) / track.timescale
        counted = stats[track.descriptor.track_sid]
        figures = {
            "packets": counted.packets_received,
            "lost": counted.packets_lost,
            "recovered": counted.packets_recovered,
            "nacks": counted.nack_count,
            "plis": counted.pli_count,
        }
        print(
            f"{codec} {track.descriptor.kind}: {len(sent) - len(missing)} of {len(sent)} frames recorded "
            f"({share:.3%}), gaps told {told:.2f} s, network lost {lost:.2%}, {json.dumps(figures)}"
        )
    assert shares[MediaKind.VIDEO] >= LEAST_RECORDED
    assert shares[MediaKind.AUDIO] >= LEAST_RECORDED

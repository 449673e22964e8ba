"""What we publish while the encoder is really short of CPU: the steps down, and what a viewer has meanwhile.

`python -m pytest -s tests/faults/test_publishing_cpu.py` prints what was decided and what came.
"""

import asyncio
from contextlib import AsyncExitStack
from statistics import fmean

import pytest

from agent.credentials import Credentials
from quality import publishing
from quality.allocation import frames_worth, size_worth
from tests.faults.adapting import longest_stop_s
from tests.integration.cpu_quota import CpuGroup, why_not
from tests.integration.participants import room_name
from tests.integration.watched_agent import Second, WatchedAgent
from tests.integration.watched_sender import Sender, watched_sender

WITHOUT_QUOTA = why_not()
pytestmark = [
    pytest.mark.faults,
    pytest.mark.server,
    pytest.mark.timeout(500),
    pytest.mark.skipif(WITHOUT_QUOTA is not None, reason=f"a share of a processor {WITHOUT_QUOTA}"),
]

SENDER = "sender"
LINES = 720
JOIN_S, CALM_S = 60.0, 10.0
SHARE = 0.2  # of what it takes at ease: a few frames a second of the whole picture
CALM_STEPS_S = 45  # each step settles for 6 s and is watched for 15
MOVES = ("fps", "lines", "codec")
AFTER_S = 45.0  # a new track's bandwidth comes up within 12, and it is watched for 30
UNDONE_S = 25.0  # until the track before is there again, and well
SEEN = 8  # seconds before and after
LONGEST_STOP_S = 5.0  # what is left of the processor encodes a picture a second at the end


async def test_frames_size_and_in_the_end_the_codec_are_given_up_until_more_is_seen(
    livekit_server: Credentials,
) -> None:
    async with AsyncExitStack() as stack:
        group, room = stack.enter_context(CpuGroup()), room_name()
        sender = await stack.enter_async_context(
            watched_sender(group.inside, livekit_server, room, "--codec=vp9", source=f"pattern:1280x{LINES}@30")
        )
        viewer = await stack.enter_async_context(WatchedAgent(livekit_server, room))
        await viewer.until(lambda it: shown(it) or None, timeout_s=JOIN_S)
        await asyncio.sleep(CALM_S)
        group.limit(SHARE * await sender.cores(CALM_S))
        swamped_at = len(viewer.seconds)
        await until_codec_or_calm(sender)
        decided = [(item["limit"], item["move"], item["course"]) for item in sender.decisions]
        assert decided[0][1:] in {("fps", "down"), ("lines", "down")}, "another codec costs whoever watches most"
        assert set(decided) <= {("cpu", move, course) for move in MOVES for course in ("down", "undone")}
        began = len(viewer.seconds)
        await until_next_step(sender)
        ended = len(viewer.seconds)
        codecs = [item for item in sender.decisions if item["move"] == "codec"]
        undone = any(item["course"] == "undone" for item in codecs)
        await asyncio.sleep(UNDONE_S if undone else 0.0)
        swamped = fps(viewer.seconds[swamped_at : swamped_at + SEEN])
        before, after = fps(viewer.seconds[began - SEEN : began]), fps(viewer.seconds[-SEEN:])
        stop_s = longest_stop_s(viewer.seconds[began - 1 :], SENDER)
        print(*[(item["move"], item["course"], item["reason"]) for item in sender.decisions], sep="\n")
        print(f"{swamped:.1f} frames a second at first, {before:.1f} before the last step, {after:.1f} after", end=", ")
        print(f"{stop_s:.1f} s without in between")
        assert after > swamped
        assert stop_s <= LONGEST_STOP_S
        assert all(item["video_codec"] == "vp8" for item in codecs if item["course"] == "down")
        worth_before, worth_after = (worth(viewer.seconds[at - SEEN : at]) for at in (began, ended))
        print(f"worth {worth_before:.2f} before it, {worth_after:.2f} after")
        assert not codecs or undone or worth_after > worth_before - publishing.BETTER, "what does not help is undone"


async def until_codec_or_calm(sender: Sender) -> None:
    """Until another codec was asked for, or what was done before suffices for `CALM_STEPS_S`."""
    count = calm_s = 0
    while calm_s < CALM_STEPS_S:
        await asyncio.sleep(1)
        if any(item["move"] == "codec" for item in sender.decisions):
            return
        calm_s = calm_s + 1 if len(sender.decisions) == count else 0
        count = len(sender.decisions)


async def until_next_step(sender: Sender) -> None:
    """For `AFTER_S`, or until something else is decided: what comes then is its doing too."""
    count = len(sender.decisions)
    for _ in range(round(AFTER_S)):
        await asyncio.sleep(1)
        if len(sender.decisions) > count:
            return


def fps(seconds: list[Second]) -> float:
    return fmean(track.fps if (track := second.track(SENDER)) else 0.0 for second in seconds)


def worth(seconds: list[Second]) -> float:
    """Of frame rate and size together: libwebrtc makes pictures smaller by itself, each codec's in its own time."""
    tracks = [track for second in seconds if (track := second.track(SENDER))]
    return sum(frames_worth(track.fps) * size_worth(track.height / LINES) for track in tracks) / len(seconds)


def shown(viewer: WatchedAgent) -> bool:
    """Whether its last second had pictures."""
    track = viewer.seconds[-1].track(SENDER) if viewer.seconds else None
    return track is not None and track.fps > 0

"""A room whose only receiver is a room agent behind a narrow link, and what its tests ask of what came."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.service.local_server import LocalServer
from tests.integration.narrow_link import NarrowLink
from tests.integration.publishing import Publisher
from tests.integration.watched_agent import Second, WatchedAgent, in_words

WIDE_BPS = 10_000_000
SPEAKER, CAMERA = "speaker", "camera"
NOISE = 6  # hard to code, yet not so hard that encoders skip frames of the lower layers
JOIN_S = 90.0  # the publishers' own estimators let their highest layers out by then, on a busy machine too
DELAY_MS = 25.0
CAMERA_FPS = 15  # two encoders, a server and the receiver share the machine


@dataclass
class Scene:
    """The link, and who is behind it. Videos are a speaker's (720p, with sound) and a camera's (540p)."""

    link: NarrowLink
    agent: WatchedAgent

    @property
    def decided(self) -> str:
        """All decisions in words: of a list, pytest shows the beginning."""
        return "\n".join(map(in_words, self.agent.decisions))

    async def phase(self, seconds: float, *, rate_bps: int | None = None, loss: int | None = None) -> list[Second]:
        """Let `seconds` pass, at another rate or loss where given; what came in them."""
        if rate_bps is not None:
            await asyncio.to_thread(self.link.limit, rate_bps)
        if loss is not None:
            await asyncio.to_thread(self.link.lose, loss)
        began = len(self.agent.seconds)
        await asyncio.sleep(seconds)
        return self.agent.seconds[began:]


@asynccontextmanager
async def adapting(server_binary: Path, folder: Path) -> AsyncIterator[Scene]:
    """A scene in which both videos come in their highest layers, over UDP, with `DELAY_MS` each way."""
    async with AsyncExitStack() as stack:
        link = stack.enter_context(NarrowLink(delayed=True))
        link.limit(WIDE_BPS)
        link.delay(DELAY_MS)
        server = LocalServer(server_binary, log_file=folder / "server.log", address=link.address)
        credentials = (await stack.enter_async_context(server)).credentials
        link.let_tcp_only_to(int(credentials.url.rpartition(":")[2]))
        for publisher in (
            Publisher(
                credentials, "adapting", width=1280, height=720, bitrate_bps=1_700_000, noise=NOISE, identity=SPEAKER
            ),
            Publisher(
                credentials,
                "adapting",
                width=960,
                height=540,
                bitrate_bps=800_000,
                noise=NOISE,
                identity=CAMERA,
                audio=False,
                fps=CAMERA_FPS,
            ),
        ):
            await stack.enter_async_context(publisher)
        agent = await stack.enter_async_context(WatchedAgent(credentials, "adapting", behind=link.inside))
        await agent.until(lambda it: shows(it.seconds[-1:], {SPEAKER: 720, CAMERA: 540}) or None, timeout_s=JOIN_S)
        yield Scene(link, agent)


def shows(seconds: Iterable[Second], heights: dict[str, int]) -> bool:
    """Whether those videos came at those heights in each of the seconds, of which there is one at least."""
    looked = False
    for second in seconds:
        looked = True
        for name, height in heights.items():
            track = second.track(name)
            if track is None or track.height != height or track.fps == 0:
                return False
    return looked


def longest_stop_s(seconds: list[Second], name: str) -> float:
    """The longest time without a picture of that video."""
    assert seconds, "nobody looked"
    # No look at all is no picture, either: the agent hangs.
    longest = max((second.at - before.at for before, second in pairwise(seconds)), default=0.0)
    since: float | None = None
    for before, second in pairwise(seconds):
        track = second.track(name)
        if track is not None and track.fps > 0:
            since = None
            continue
        since = before.at if since is None else since
        longest = max(longest, second.at - since)
    return longest


def busiest_minute(decisions: list[dict[str, Any]], name: str) -> int:
    """Requests for one video's layers in the minute that has most."""
    times = [item["at"] for item in decisions if item["track"] == name]
    return max((sum(at <= other < at + 60 for other in times) for at in times), default=0)


def taken_back(decisions: list[dict[str, Any]], name: str) -> int:
    """How often a request for one video was for what the one before it had left."""
    steps = [(item["from_quality"], item["to_quality"]) for item in decisions if item["track"] == name]
    return sum(after == before[::-1] for before, after in pairwise(steps))


async def assert_told(agent: WatchedAgent, *, least: int = 0) -> None:
    """Ends the agent: each decision, `least` at least, was one line in the log, with its reason, and counted."""
    await agent.end()
    assert len(agent.decisions) >= least
    lines = [
        (line["participant_identity"], line["from_quality"], line["to_quality"], line["reason"])
        for line in agent.logged("layer_decision")
    ]
    told = [(item["track"], item["from_quality"], item["to_quality"], item["reason"]) for item in agent.decisions]
    assert lines == told
    assert all(reason for *_, reason in told)
    assert sum(agent.counters["layer_switches"].values()) == len(told)

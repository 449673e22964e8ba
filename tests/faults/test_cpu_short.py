"""A receiver that is really short of CPU: it asks for less before it loses much, and for all again afterwards.

`python -m pytest -s tests/faults/test_cpu_short.py` prints the figures of docs/performance.md.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from agent.credentials import Credentials
from tests.faults.adapting import NOISE, assert_told
from tests.integration.cpu_quota import CpuGroup, why_not
from tests.integration.participants import room_name
from tests.integration.publishing import Publisher
from tests.integration.watched_agent import Second, WatchedAgent

WITHOUT_QUOTA = why_not()
pytestmark = [
    pytest.mark.faults,
    pytest.mark.server,
    pytest.mark.timeout(500),
    pytest.mark.skipif(
        WITHOUT_QUOTA is not None or not Path("/proc/self/schedstat").exists(),
        reason=f"a share of a processor {WITHOUT_QUOTA or 'needs the kernel to keep schedstat'}",
    ),
]

SENDERS = ("ada", "bob")
SHARE = 0.5  # of what the agent takes while it is at ease
CALM_S, SHORT_S = 15.0, 45.0
LOWERED_S = 30.0  # short for 5 s, told once a second, and a layer switch
BACK_S = 200.0  # a raise of the budget after 20 s of calm each, and the server's own time
SCARCE_FROM, SCARCE_TO, SCARCE_STEP, SCARCE_STEP_S = 120, 30, 5, 6  # percent of what it takes at ease; seconds each
SCARCE_DROPPED = 0.02  # of what is shown meanwhile
LATER = 20  # samples at the end, when layers have changed


@dataclass(frozen=True, slots=True)
class Suffered:
    """What became of the pictures of one run."""

    fps: float
    dropped: int
    freezes: int
    silent_s: int

    @classmethod
    def of(cls, seconds: list[Second]) -> "Suffered":
        tracks = [track for second in seconds for name in SENDERS if (track := second.track(name)) is not None]
        return cls(
            fmean(track.fps for track in tracks),
            sum(track.frames_dropped for track in tracks),
            sum(track.freezes for track in tracks),
            sum(track.fps == 0 for track in tracks),
        )


async def watch(server: Credentials, stack: AsyncExitStack, group: CpuGroup, *, loop: bool) -> WatchedAgent:
    """An agent to which both videos come in 720p."""
    room = room_name()
    for name in SENDERS:
        sender = Publisher(
            server, room, width=1280, height=720, bitrate_bps=1_700_000, noise=NOISE, identity=name, audio=False
        )
        await stack.enter_async_context(sender)
    agent = await stack.enter_async_context(WatchedAgent(server, room, behind=group.inside, loop=loop))
    await agent.until(lambda it: largest(it) or None, timeout_s=90)
    return agent


def some(agent: WatchedAgent) -> float:
    """A share of the processor that it took in the last seconds."""
    return SHARE * fmean(second.cores for second in agent.seconds[-8:])


def largest(agent: WatchedAgent) -> bool:
    """Whether the last second had both videos in 720p."""
    return bool(agent.seconds) and shows_largest(agent.seconds[-1])


def shows_largest(second: Second) -> bool:
    """Whether it had both videos in 720p."""
    tracks = [second.track(name) for name in SENDERS]
    return all(track is not None and track.height == 720 and track.fps > 0 for track in tracks)


async def lowered_when_short(agent: WatchedAgent, group: CpuGroup, cores: float) -> float:
    """Limit it to `cores` for `SHORT_S`; seconds until it asked for lower layers."""
    told, began = len(agent.logged("cpu_budget")), agent.now
    group.limit(cores)
    await agent.until(lambda it: it.logged("cpu_budget")[told:] or None, timeout_s=LOWERED_S)
    lowered = await agent.until(
        lambda it: next((item for item in it.decisions if item["at"] > began and item["decision"] == "limit"), None),
        timeout_s=10,
    )
    assert lowered["to_quality"] in {"LOW", "MEDIUM"}
    await asyncio.sleep(max(0.0, began + SHORT_S - agent.now))
    return float(lowered["at"]) - began


async def lowered_when_scarcer(agent: WatchedAgent, group: CpuGroup, cores: float) -> tuple[int, dict[str, Any]]:
    """Take the agent's `cores` away bit by bit; at how many percent a lower layer was asked for, and that decision."""
    began = agent.now
    for percent in range(SCARCE_FROM, SCARCE_TO, -SCARCE_STEP):
        group.limit(cores * percent / 100)
        for _ in range(SCARCE_STEP_S):
            await asyncio.sleep(1.0)
            lowered = next(
                (item for item in agent.decisions if item["at"] > began and item["decision"] == "limit"), None
            )
            if lowered is not None:
                return percent, lowered
    raise AssertionError(f"no layer was lowered down to {SCARCE_TO}% of {cores:.2f} cores: {agent.seconds[-3:]}")


async def test_layers_go_down_while_cpu_is_short_so_that_pictures_go_on(livekit_server: Credentials) -> None:
    async with AsyncExitStack() as stack:
        group = stack.enter_context(CpuGroup())
        agent = await watch(livekit_server, stack, group, loop=True)
        await asyncio.sleep(CALM_S)
        cores, began = some(agent), agent.now
        after_s = await lowered_when_short(agent, group, cores)
        short = [second for second in agent.seconds if second.at > began]
        group.limit(None)
        print(f"{cores:.2f} cores for {SHORT_S:.0f} s. With the loop: {Suffered.of(short)},")
        print(f"lowered after {after_s:.0f} s, of the end {Suffered.of(short[-LATER:])}")
        print([(line["cores"], line["decoding_cores"]) for line in agent.logged("cpu_budget")])
        await assert_told(agent, least=1)
    async with AsyncExitStack() as stack:
        group = stack.enter_context(CpuGroup())
        agent = await watch(livekit_server, stack, group, loop=False)
        await asyncio.sleep(CALM_S)
        began = agent.now
        group.limit(cores)
        await asyncio.sleep(SHORT_S)
        group.limit(None)
        alone = [second for second in agent.seconds if second.at > began]
        print(f"without it: {Suffered.of(alone)}, of the end {Suffered.of(alone[-LATER:])}")
    assert Suffered.of(short[-LATER:]).fps > Suffered.of(alone[-LATER:]).fps


async def test_where_cpu_gets_scarce_bit_by_bit_layers_go_down_before_frames_are_lost(
    livekit_server: Credentials,
) -> None:
    async with AsyncExitStack() as stack:
        group = stack.enter_context(CpuGroup())
        agent = await watch(livekit_server, stack, group, loop=True)
        await asyncio.sleep(CALM_S)
        began, cores = agent.now, some(agent) / SHARE
        percent, lowered = await lowered_when_scarcer(agent, group, cores)
        group.limit(None)
        before = [second for second in agent.seconds if began < second.at <= lowered["at"]]
        suffered = Suffered.of(before)
        shown = sum(track.fps for second in before for name in SENDERS if (track := second.track(name)))
        print(f"at {percent}% of {cores:.2f} cores, {lowered['at'] - began:.0f} s after: {suffered}, {shown:.0f} shown")
        assert suffered.dropped <= SCARCE_DROPPED * shown


async def test_layers_come_back_once_there_is_cpu_again(livekit_server: Credentials) -> None:
    async with AsyncExitStack() as stack:
        group = stack.enter_context(CpuGroup())
        agent = await watch(livekit_server, stack, group, loop=True)
        await asyncio.sleep(CALM_S)
        began = agent.now
        await lowered_when_short(agent, group, some(agent))
        group.limit(None)
        ended = agent.now
        smaller = [second for second in agent.seconds if second.at > began and not shows_largest(second)]
        assert smaller, "something was to come back"
        await agent.until(lambda it: largest(it) or None, timeout_s=BACK_S)
        print(f"in full size again {agent.now - ended:.0f} s after")
        assert any(item["at"] > smaller[0].at and item["to_quality"] == "HIGH" for item in agent.decisions)
        await assert_told(agent, least=1)

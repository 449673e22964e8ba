"""Which bandwidth feedback of the tap serves a recording best, on links that are too narrow for what is published.

Run as root: python -m tests.bench.feedback_comparison --without [--server remb|twcc]. A publisher sends 720p25 with
simulcast (q, h, f) and Opus to a real server; taps in network namespaces receive both, each through `tc tbf`.
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import load_settings
from agent.credentials import Credentials
from agent.service.local_server import LocalServer, find_server
from media.frames import Codec
from tests.integration.narrow_link import NarrowLink, why_not
from tests.integration.publishing import FPS, Publisher

ROOT = Path(__file__).parents[2]
WARM_UP_S = 15.0  # the publisher's own estimator lets its highest layer out by then
NOISE = 6  # hard to code, yet not so hard that encoders skip frames of the lower layers
LINKS: dict[str, tuple[tuple[float, float], ...]] = {
    "10": ((0, 10),),
    "3": ((0, 3),),
    "1.5": ((0, 1.5),),
    "0.6": ((0, 0.6),),
    "10, 1.5, 10": ((0, 10), (10, 1.5), (35, 10)),
    "3, 0.6, 3": ((0, 3), (10, 0.6), (35, 3)),
    "4, 0.6, 4": ((0, 4), (10, 0.6), (35, 4)),
}
STEADY_S, STEPS_S = 30.0, 60.0
SERVERS: dict[str, Mapping[str, object]] = {
    "remb": {},
    "twcc": {"congestion_control": {"use_send_side_bwe": True}},
    "twcc-interceptor": {"congestion_control": {"use_send_side_bwe_interceptor": True}},
}


Queue = list[tuple[float, float, int]]
"""Seconds since the start, seconds a packet waits, packets dropped so far."""


@dataclass(frozen=True, slots=True)
class Case:
    """A link with its rates in Mb/s by seconds since the start, and whether the tap tells of it."""

    link: str
    feedback: bool

    @property
    def steps(self) -> tuple[tuple[float, float], ...]:
        """When which rate."""
        return LINKS[self.link]

    @property
    def seconds(self) -> float:
        """How long it is watched."""
        return STEADY_S if len(self.steps) == 1 else STEPS_S


@dataclass(frozen=True, slots=True)
class Run:
    """What one tap received over one link, and the shaper's queue meanwhile."""

    samples: list[dict[str, Any]]
    queue: Queue


async def run(server: str, links: list[Case], codec: Codec, loss: int, log: Path | None) -> list[Run]:
    """One tap for each case, all at once, with one server and one publisher."""
    binary = find_server(load_settings().cache_dir, print)
    async with AsyncExitStack() as stack:
        here = [stack.enter_context(NarrowLink()) for _ in links]
        for link, case in zip(here, links, strict=True):
            link.limit(round(case.steps[0][1] * 1e6))
            if loss:
                link.lose(loss)
        local = LocalServer(binary, log_file=log, address=here[0].address, rtc=SERVERS[server])
        running = await stack.enter_async_context(local)
        publisher = Publisher(running.credentials, "bench", codec=codec, width=1280, height=720, noise=NOISE)
        await stack.enter_async_context(publisher)
        await asyncio.sleep(WARM_UP_S)
        runs = (_observe(link, running.credentials, case) for link, case in zip(here, links, strict=True))
        return await asyncio.gather(*runs)


async def _observe(link: NarrowLink, server: Credentials, case: Case) -> Run:
    process = await asyncio.create_subprocess_exec(
        *(*link.inside, sys.executable, "-m", "tests.integration.tap_behind_link"),
        # A random secret may begin with a hyphen.
        *(f"--url={server.url}", f"--key={server.api_key}", f"--secret={server.api_secret}", "--room=bench"),
        *("--seconds", str(case.seconds), *([] if case.feedback else ["--no-feedback"])),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    samples = [json.loads(await process.stdout.readline())]
    began = time.monotonic() - samples[0]["at"]
    queue: Queue = []
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(_watch(link, case.steps, began, queue), name="bench.link")
        samples += [json.loads(line) async for line in process.stdout]
        watcher.cancel()
    await process.wait()
    return Run(samples, queue)


async def _watch(link: NarrowLink, steps: tuple[tuple[float, float], ...], began: float, queue: Queue) -> None:
    waiting = list(steps[1:])
    rate = steps[0][1] * 1e6
    while True:
        at = time.monotonic() - began
        if waiting and at >= waiting[0][0]:
            rate = waiting.pop(0)[1] * 1e6
            await asyncio.to_thread(link.limit, round(rate))
        backlog, drops = await asyncio.to_thread(link.queue)
        queue.append((at, backlog * 8 / rate, drops))
        await asyncio.sleep(0.1)


HEADER = (
    "feedback          link Mb/s      fps   height                     kb/s   queue ms p50/p95   dropped   lost   NACK"
    "   PLI   freeze s   audio lost   back in s   cores"
)


def row(server: str, case: Case, result: Run) -> str:
    """A line of the table; the first five seconds of a steady link are its start."""
    first = next(item for item in result.samples if item["at"] > 5)
    last = result.samples[-1]
    span = last["at"] - first["at"]
    waits = sorted(wait for at, wait, _ in result.queue if at > 5)
    heights = [item["height"] for item in result.samples if item["at"] > 5]
    shares = " ".join(
        f"{height}:{heights.count(height) * 100 // len(heights)}%" for height in sorted(set(heights), reverse=True)
    )
    total = {
        key: last[key] - first[key]
        for key in ("frames", "bytes", "lost", "nacks", "plis", "freezes_s", "audio_lost", "cpu_s")
    }
    kilobits = total["bytes"] * 8 / span / 1000
    return (
        f"{server if case.feedback else 'none':17} {case.link:11} {total['frames'] / span:6.1f}   {shares:24}"
        f" {kilobits:6.0f}   {_at(waits, 0.5):7.0f} / {_at(waits, 0.95):6.0f} {result.queue[-1][2]:9}"
        f" {total['lost']:6} {total['nacks']:6} {total['plis']:5} {total['freezes_s']:10.1f}"
        f" {total['audio_lost']:12} {_recovery(case.steps, result):>11} {total['cpu_s'] / span:7.3f}"
    )


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] * 1000 if values else 0.0


def _recovery(steps: tuple[tuple[float, float], ...], result: Run) -> str:
    """Seconds from the last step up until the highest layer comes at its full rate for a second."""
    if len(steps) < 2:
        return "-"
    up = steps[-1][0]
    for before, after in zip(result.samples, result.samples[2:], strict=False):
        fps = (after["frames"] - before["frames"]) / (after["at"] - before["at"])
        if before["at"] >= up and after["height"] == 720 and fps > 0.8 * FPS:
            return f"{after['at'] - up:.1f}"
    return "never"


def _timeline(result: Run) -> None:
    for before, after in itertools.pairwise(result.samples):
        span = after["at"] - before["at"]
        waits = [wait for at, wait, _ in result.queue if before["at"] < at <= after["at"]]
        print(
            f"  {after['at']:5.1f} s {(after['frames'] - before['frames']) / span:5.1f} fps {after['height']:4}p"
            f" {(after['bytes'] - before['bytes']) * 8 / span / 1000:6.0f} kb/s"
            f" estimate {(after['estimate_bps'] or 0) / 1000:5.0f} kb/s"
            f" queue {max(waits, default=0) * 1000:4.0f} ms"
            f" lost {after['lost'] - before['lost']:3} nack {after['nacks'] - before['nacks']:3}"
            f" pli {after['plis'] - before['plis']:2} audio lost {after['audio_lost'] - before['audio_lost']:3}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--link", choices=LINKS, action="append", help="all at once; by default the steady, then the steps"
    )
    parser.add_argument("--server", choices=SERVERS, default="remb", help="what the server is configured to read")
    parser.add_argument("--without", action="store_true", help="a tap without feedback on each link besides")
    parser.add_argument("--codec", type=Codec, default=Codec.VP8)
    parser.add_argument("--loss", type=int, default=0, help="percent of datagrams lost at random besides")
    parser.add_argument("--log", type=Path, default=None, help="where the server writes its log")
    parser.add_argument("--timeline", action="store_true")
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    print(HEADER)
    steady = [name for name, steps in LINKS.items() if len(steps) == 1]
    groups = [options.link] if options.link else [steady, [name for name in LINKS if name not in steady]]
    for group in groups:
        cases = [Case(name, told) for name in group for told in ((False, True) if options.without else (True,))]
        results = asyncio.run(run(options.server, cases, options.codec, options.loss, options.log))
        for case, result in zip(cases, results, strict=True):
            print(row(options.server, case, result), flush=True)
            if options.timeline:
                _timeline(result)


if __name__ == "__main__":
    main()

"""Which bandwidth feedback of the tap serves a recording best, on links that are too narrow for what is published.

Run as root: python -m tests.bench.feedback_comparison [--only LINK] [--feedback none|remb|twcc]. A publisher sends
720p25 with simulcast (q, h, f) and Opus to a real server; a tap in a network namespace receives both through `tc tbf`.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import load_settings
from agent.service.local_server import LocalServer, find_server
from agent.tokens import Credentials
from media.frames import Codec
from tests.integration.narrow_link import NarrowLink, why_not
from tests.integration.publishing import FPS, Publisher

ROOT = Path(__file__).parents[2]
WARM_UP_S = 8.0  # the publisher's own estimator lets its highest layer out by then
NOISE = 24  # enough for the encoders to need all of their 1.7 Mb/s
LINKS: dict[str, tuple[tuple[float, float], ...]] = {
    "10": ((0, 10),),
    "3": ((0, 3),),
    "1.5": ((0, 1.5),),
    "0.6": ((0, 0.6),),
    "10, 1.5, 10": ((0, 10), (10, 1.5), (35, 10)),
    "3, 0.6, 3": ((0, 3), (10, 0.6), (35, 3)),
}
STEADY_S, STEPS_S = 30.0, 60.0
SERVERS: dict[str, Mapping[str, object]] = {
    "none": {},
    "remb": {},
    "twcc": {"congestion_control": {"use_send_side_bwe": True}},
    "twcc-interceptor": {"congestion_control": {"use_send_side_bwe_interceptor": True}},
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one tap received over one link, and the shaper's queue meanwhile."""

    samples: list[dict[str, Any]]
    queue: list[tuple[float, float, int]]
    """Seconds since the start, seconds a packet waits, packets dropped so far."""


async def run(feedback: str, steps: tuple[tuple[float, float], ...], seconds: float, codec: Codec, loss: int) -> Run:
    """One tap over one link."""
    binary = find_server(load_settings().cache_dir, print)
    with tempfile.TemporaryDirectory() as folder, NarrowLink() as link:
        log = Path(folder) / "server.log"
        link.limit(round(steps[0][1] * 1e6))
        if loss:
            link.lose(loss)
        server = LocalServer(binary, log_file=log, address=link.address, rtc=SERVERS[feedback])
        async with (
            server as running,
            Publisher(running.credentials, "bench", codec=codec, width=1280, height=720, noise=NOISE),
        ):
            await asyncio.sleep(WARM_UP_S)
            result = await _observe(link, running.credentials, feedback, steps, seconds)
        if keep := os.environ.get("KEEP_LOG"):
            Path(keep).write_bytes(log.read_bytes())
        return result


async def _observe(
    link: NarrowLink, server: Credentials, feedback: str, steps: tuple[tuple[float, float], ...], seconds: float
) -> Run:
    process = await asyncio.create_subprocess_exec(
        *(*link.inside, sys.executable, "-m", "tests.integration.tap_behind_link"),
        *("--url", server.url, "--key", server.api_key, "--secret", server.api_secret, "--room", "bench"),
        *("--seconds", str(seconds), *(["--no-feedback"] if feedback == "none" else [])),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    samples = [json.loads(await process.stdout.readline())]
    began = time.monotonic() - samples[0]["at"]
    watcher = asyncio.create_task(_watch(link, steps, began), name="bench.link")
    async for line in process.stdout:
        samples.append(json.loads(line))
    watcher.cancel()
    queue = (await asyncio.gather(watcher, return_exceptions=True))[0]
    await process.wait()
    if not isinstance(queue, list):
        raise RuntimeError(f"the link's watcher ended early: {queue!r}")
    return Run(samples, queue)


async def _watch(
    link: NarrowLink, steps: tuple[tuple[float, float], ...], began: float
) -> list[tuple[float, float, int]]:
    seen: list[tuple[float, float, int]] = []
    waiting = list(steps[1:])
    rate = steps[0][1] * 1e6
    try:
        while True:
            at = time.monotonic() - began
            if waiting and at >= waiting[0][0]:
                rate = waiting.pop(0)[1] * 1e6
                await asyncio.to_thread(link.limit, round(rate))
            backlog, drops = await asyncio.to_thread(link.queue)
            seen.append((at, backlog * 8 / rate, drops))
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return seen


HEADER = (
    "feedback          link Mb/s      fps   height          kb/s   queue ms p50/p95   dropped   lost   NACK   PLI"
    "   freeze s   audio lost   back in s   cores"
)


def row(feedback: str, name: str, steps: tuple[tuple[float, float], ...], result: Run) -> str:
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
    dropped = result.queue[-1][2]
    return (
        f"{feedback:17} {name:11} {total['frames'] / span:6.1f}   {shares:18} {total['bytes'] * 8 / span / 1000:6.0f}"
        f"   {_at(waits, 0.5):7.0f} / {_at(waits, 0.95):6.0f} {dropped:9} {total['lost']:6} {total['nacks']:6}"
        f" {total['plis']:5} {total['freezes_s']:10.1f} {total['audio_lost']:12} {_recovery(steps, result):>11}"
        f" {total['cpu_s'] / span:7.3f}"
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
    for before, after in zip(result.samples, result.samples[1:], strict=False):
        span = after["at"] - before["at"]
        waits = [wait for at, wait, _ in result.queue if before["at"] < at <= after["at"]]
        print(
            f"  {after['at']:5.1f} s {(after['frames'] - before['frames']) / span:5.1f} fps {after['height']:4}p"
            f" {(after['bytes'] - before['bytes']) * 8 / span / 1000:6.0f} kb/s queue {max(waits, default=0) * 1000:4.0f} ms"
            f" lost {after['lost'] - before['lost']:3} nack {after['nacks'] - before['nacks']:3}"
            f" pli {after['plis'] - before['plis']:2} audio lost {after['audio_lost'] - before['audio_lost']:3}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=LINKS, action="append")
    parser.add_argument("--feedback", choices=SERVERS, action="append")
    parser.add_argument("--codec", type=Codec, default=Codec.VP8)
    parser.add_argument("--loss", type=int, default=0, help="percent of datagrams lost at random besides")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--timeline", action="store_true")
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    print(HEADER)
    for name in options.only or LINKS:
        for feedback in options.feedback or SERVERS:
            steps = LINKS[name]
            seconds = options.seconds or (STEADY_S if len(steps) == 1 else STEPS_S)
            result = asyncio.run(run(feedback, steps, seconds, options.codec, options.loss))
            print(row(feedback, name, steps, result), flush=True)
            if options.timeline:
                _timeline(result)


if __name__ == "__main__":
    main()

"""`make bench`: CPU of recording 720p25 and Opus by the tap, beside decoding and encoding again, in one run.

Same server, same room, same media, same seconds, so that the ratio means something on a shared
machine. Frames are counted between the same two moments at publisher and receivers.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from agent.config import load_settings
from agent.service.local_server import LocalServer, find_server
from agent.tokens import Credentials
from media.frames import Codec

ROOM = "bench"
WARM_UP_S = 5.0  # the publisher's bandwidth estimate and encoder settle


class Talker:
    """A child that says `ready`, and answers a line with a line of JSON."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        raise SystemExit(f"bench: a process ended early, exit code {self._process.wait()}")

    def ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, dict)
        return answer

    def end(self) -> None:
        self._process.communicate(timeout=30)


def run(server: Credentials, codec: Codec, seconds: float, out: Path) -> None:
    where = ["--url", server.url, "--key", server.api_key, "--secret", server.api_secret, "--room", f"{ROOM}-{codec}"]
    load = Talker("tests.bench.load", *where, "--codec", codec.value)
    load.wait_ready()
    ways = {way: Talker("tests.bench.receive", way, *where, "--out", str(out)) for way in ("tap", "sdk")}
    for talker in ways.values():
        talker.wait_ready()
    time.sleep(WARM_UP_S)
    before = {way: talker.ask() for way, talker in ways.items()}
    sent_before, started = load.ask()["frames_sent"], time.monotonic()
    time.sleep(seconds)
    after = {way: talker.ask() for way, talker in ways.items()}
    sent, elapsed = load.ask()["frames_sent"] - sent_before, time.monotonic() - started
    for talker in (*ways.values(), load):
        talker.end()
    cores = {way: (after[way]["cpu_s"] - before[way]["cpu_s"]) / elapsed for way in ways}
    frames = {way: after[way]["frames"] - before[way]["frames"] for way in ways}
    print(f"{codec.value} 720p25 1.7 Mb/s + Opus, {elapsed:.1f} s, {sent} frames sent")
    for way, text in (("tap", "record with the tap"), ("sdk", "decode, x264 veryfast, AAC")):
        rss = after[way]["max_rss_bytes"] / 1e6
        print(f"  {text:<28} {cores[way]:6.3f} cores  {frames[way]:5d} frames received  {rss:5.0f} MB")
    print(f"  ratio {cores['sdk'] / cores['tap']:.1f} : 1")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    binary = find_server(load_settings().cache_dir, print)
    with tempfile.TemporaryDirectory(prefix="roomhand-bench-") as folder:
        async with LocalServer(binary) as running:
            for codec in (Codec.VP8, Codec.H264):
                out = Path(folder) / codec.value
                out.mkdir()
                await asyncio.to_thread(run, running.credentials, codec, options.seconds, out)


if __name__ == "__main__":
    asyncio.run(main())

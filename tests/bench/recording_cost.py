"""`make bench`: CPU of recording 720p25 and Opus by the tap, beside decoding and encoding again, in one run.

Same server, same room, same media, same seconds, so that the ratio means something on a shared
machine. Frames are counted between the same two moments at publisher and receivers.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from agent.config import load_settings
from agent.credentials import Credentials
from agent.service.local_server import LocalServer, find_server
from media.frames import Codec
from tests.bench.talker import Talker

ROOM = "bench"
WARM_UP_S = 5.0  # the publisher's bandwidth estimate and encoder settle
QUIET_S = 2.0  # with the video paused: what is under way arrives, and the SDK's cached statistics catch up


def run(server: Credentials, codec: Codec, seconds: float, out: Path, clip: Path | None) -> None:
    where = ["--url", server.url, "--key", server.api_key, "--secret", server.api_secret, "--room", f"{ROOM}-{codec}"]
    shown = ["--clip", str(clip)] if clip else []
    load = Talker("tests.bench.load", *where, "--codec", codec.value, *shown)
    load.wait_ready()
    ways = {way: Talker("tests.bench.receive", way, *where, "--out", str(out)) for way in ("tap", "sdk")}
    for talker in ways.values():
        talker.wait_ready()
    time.sleep(WARM_UP_S)
    sent_before, before = count(load, ways)
    load.ask("resume")
    used_before, started = {way: talker.ask() for way, talker in ways.items()}, time.monotonic()
    time.sleep(seconds)
    used_after, elapsed = {way: talker.ask() for way, talker in ways.items()}, time.monotonic() - started
    sent_after, after = count(load, ways)
    sent = sent_after - sent_before
    for talker in (*ways.values(), load):
        talker.end()
    cores = {way: (used_after[way]["cpu_s"] - used_before[way]["cpu_s"]) / elapsed for way in ways}
    frames = {way: after[way]["frames"] - before[way]["frames"] for way in ways}
    bits = 8 * (used_after["tap"]["bytes"] - used_before["tap"]["bytes"])
    print(f"{codec.value} 720p25 + Opus, {bits / elapsed / 1e6:.2f} Mb/s, {elapsed:.1f} s, {sent} frames sent")
    for way, text in (("tap", "record with the tap"), ("sdk", "decode, x264 veryfast, AAC")):
        rss = after[way]["max_rss_bytes"] / 1e6
        print(f"  {text:<28} {cores[way]:6.3f} cores  {frames[way]:5d} frames received  {rss:5.0f} MB")
    print(f"  ratio {cores['sdk'] / cores['tap']:.1f} : 1")


def count(load: Talker, ways: dict[str, Talker]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Frames sent and received, with nothing under way."""
    load.ask("pause")
    time.sleep(QUIET_S)
    sent = int(load.ask()["frames_sent"])
    return sent, {way: talker.ask() for way, talker in ways.items()}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clip", type=Path, help="a 720p file to publish instead of moving noise")
    options = parser.parse_args()
    binary = find_server(load_settings().cache_dir, print)
    with tempfile.TemporaryDirectory(prefix="roomhand-bench-") as folder:
        async with LocalServer(binary) as running:
            for codec in (Codec.VP8, Codec.H264):
                out = Path(folder) / codec.value
                out.mkdir()
                await asyncio.to_thread(run, running.credentials, codec, options.seconds, out, options.clip)


if __name__ == "__main__":
    asyncio.run(main())

"""What one recording process costs as its room grows: cores a track, memory, bytes, frames lost.

Publishers send H.264 that was encoded before, so that the machine has cores left for what is measured. Frames are
counted with the publishers paused, so that nothing is under way. Then another process decodes one of the same tracks
and encodes it again, as Python users do without Roomhand, while recording goes on.
"""

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import load_settings
from agent.credentials import Credentials
from agent.service.local_server import LocalServer, find_server
from tests.bench.encoded_clip import FPS, encode_clip
from tests.bench.talker import Talker

TRACKS_PER_PROCESS = 10
WARM_UP_S = 60.0  # at most: until every track comes at its full rate
QUIET_S = 2.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Step:
    """One size of room."""

    tracks: int
    width: int
    height: int
    bitrate_bps: int


STEPS = (
    Step(1, 1280, 720, 1_700_000),
    Step(4, 1280, 720, 1_700_000),
    Step(10, 1280, 720, 1_700_000),
    Step(20, 1280, 720, 1_700_000),
    Step(40, 640, 360, 450_000),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step took; bytes and frames over the measured time."""

    cores: float
    load_cores: float
    server_cores: float
    seconds: float
    frames_sent: int
    frames_recorded: int
    bytes_received: int
    bytes_written: int
    rss_bytes: int
    first_sample_s: tuple[float, ...]
    transcoding_cores: float
    transcoded_share: float
    """Of one track's frames: below 1 the machine had too little left, and `transcoding_cores` is too low."""


def process_cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class Room:
    """Publishers and one recorder in a room of their own."""

    def __init__(self, server: Credentials, server_pid: int, step: Step, folder: Path) -> None:
        name = f"scale-{step.tracks}"
        where = ["--url", server.url, "--key", server.api_key, "--secret", server.api_secret, "--room", name]
        clip = folder / f"{step.width}x{step.height}.h264"
        if not clip.exists():
            encode_clip(clip, step.width, step.height, step.bitrate_bps)
        self._step = step
        self._server_pid = server_pid
        self._loads: list[Talker] = []
        for first in range(0, step.tracks, TRACKS_PER_PROCESS):
            count = min(TRACKS_PER_PROCESS, step.tracks - first)
            numbers = ["--tracks", str(count), "--identity", f"load-{first}"]
            self._loads.append(Talker("tests.bench.encoded_load", *where, "--clip", str(clip), *numbers))
        for load in self._loads:
            load.wait_ready()
        self._where = where
        self._out = folder / name
        self._out.mkdir()
        self._tap = Talker("tests.bench.receive", "tap", *where, "--out", str(self._out))
        self._tap.wait_ready()

    def measure(self, seconds: float) -> Outcome:
        """Wait for the full rate, then measure for `seconds`."""
        self._warm_up()
        sent_before, before = self._count()
        self._ask_loads("resume")
        used_before, started = self._used(), time.monotonic()
        time.sleep(seconds)
        used_after, elapsed = self._used(), time.monotonic() - started
        sent_after, after = self._count()
        tap, load, server = ((b - a) / elapsed for a, b in zip(used_before, used_after, strict=True))
        transcoding_cores, transcoded_share = self._transcode(seconds / 2)
        return Outcome(
            cores=tap,
            load_cores=load,
            server_cores=server,
            seconds=elapsed,
            frames_sent=sent_after - sent_before,
            frames_recorded=after["frames"] - before["frames"],
            bytes_received=after["bytes"] - before["bytes"],
            bytes_written=after["bytes_written"] - before["bytes_written"],
            rss_bytes=after["rss_bytes"],
            first_sample_s=tuple(after["first_sample_s"]),
            transcoding_cores=transcoding_cores,
            transcoded_share=transcoded_share,
        )

    def _transcode(self, seconds: float) -> tuple[float, float]:
        """Cores for decoding and encoding one track, and the share of its frames that came."""
        self._ask_loads("resume")
        transcoding = Talker("tests.bench.receive", "sdk", *self._where, "--out", str(self._out), "--one")
        transcoding.wait_ready()
        time.sleep(1)
        before, started = transcoding.ask(), time.monotonic()
        time.sleep(seconds)
        after, elapsed = transcoding.ask(), time.monotonic() - started
        transcoding.end()
        return (after["cpu_s"] - before["cpu_s"]) / elapsed, (after["frames"] - before["frames"]) / elapsed / FPS

    def end(self) -> None:
        """End all processes in order."""
        for talker in (self._tap, *self._loads):
            talker.end()

    def _warm_up(self) -> None:
        deadline = time.monotonic() + WARM_UP_S
        wanted = 0.97 * FPS * self._step.tracks
        rate = 0.0
        while time.monotonic() < deadline:
            before = self._tap.ask()["frames"]
            time.sleep(2)
            rate = (self._tap.ask()["frames"] - before) / 2
            if rate >= wanted:
                return
        print(f"  only {rate:.0f} of {FPS * self._step.tracks} frames a second came; the machine is too busy")

    def _used(self) -> tuple[float, float, float]:
        load = sum(process_cpu_s(item.pid) for item in self._loads)
        return process_cpu_s(self._tap.pid), load, process_cpu_s(self._server_pid)

    def _ask_loads(self, line: str) -> int:
        return sum(int(load.ask(line)["frames_sent"]) for load in self._loads)

    def _count(self) -> tuple[int, dict[str, Any]]:
        self._ask_loads("pause")
        time.sleep(QUIET_S)
        return self._ask_loads(""), self._tap.ask()


def show(step: Step, outcome: Outcome) -> None:
    """Print one line."""
    rate = 8 * outcome.bytes_received / outcome.seconds / step.tracks / 1e6
    per_track = outcome.cores / step.tracks
    written = outcome.bytes_written / max(1, outcome.bytes_received)
    times = outcome.transcoding_cores / outcome.transcoded_share / per_track if outcome.transcoded_share else 0.0
    transcoded = f"{times:.0f} times as much a track" if times else "so nothing to compare with"
    print(
        f"{step.tracks:3} x {step.width}x{step.height}, {rate:.2f} Mb/s each: {outcome.cores:.3f} cores, "
        f"{per_track:.4f} a track; {outcome.rss_bytes / 1e6:.0f} MB; "
        f"{written:.3f} bytes written per byte received; frames {outcome.frames_recorded} of {outcome.frames_sent}; "
        f"load {outcome.load_cores:.2f}, server {outcome.server_cores:.2f} cores; "
        f"decoding and encoding one: {outcome.transcoding_cores:.2f} cores for {outcome.transcoded_share:.0%} of its "
        f"frames, {transcoded}",
        flush=True,
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--tracks", type=int, nargs="*", help="only steps of so many tracks")
    options = parser.parse_args()
    sizes = [step.tracks for step in STEPS]
    if unknown := sorted(set(options.tracks or ()) - set(sizes)):
        parser.error(f"there is no step of {unknown[0]} tracks; there are {', '.join(map(str, sizes))}")
    binary = find_server(load_settings().cache_dir, print)
    first_samples: list[float] = []
    with tempfile.TemporaryDirectory(prefix="roomhand-scale-") as folder:
        for step in STEPS:
            if options.tracks and step.tracks not in options.tracks:
                continue
            async with LocalServer(binary) as running:
                room = await asyncio.to_thread(Room, running.credentials, running.pid, step, Path(folder))
                try:
                    outcome = await asyncio.to_thread(room.measure, options.seconds)
                finally:
                    await asyncio.to_thread(room.end)
            show(step, outcome)
            first_samples += outcome.first_sample_s
    first_samples.sort()
    if first_samples:
        p95 = first_samples[min(len(first_samples) - 1, int(0.95 * len(first_samples)))]
        median = first_samples[len(first_samples) // 2]
        print(f"from subscription to the first sample on disk: median {median:.2f} s, p95 {p95:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())

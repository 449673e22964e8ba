"""A room agent with the quality loop on a real server, behind a link whose rate changes; a table second by second.

Run as root: python -m tests.bench.live_adaptation 10:20 1.2:40 10:40 [--no-loop] [--loss PERCENT] [--delay MS]
[--jitter MS] [--queue MS] [--bucket BYTES] [--cameras N] [--tcp]. Each phase is Mb/s:seconds, and where wanted :percent
lost. A speaker (720p, sound) and cameras (540p) publish through the SDK, three layers each: at less than 960 pixels the
SDK makes no smaller picture. Delay is one way; the bottleneck's queue stands before it. A bucket of 1600 bytes is
almost a wire (less lets no packet pass); shapers have larger ones. With `--tcp` media come over TCP where the SDK
prefers it.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from agent.config import load_settings
from agent.service.local_server import LocalServer, find_server
from quality.allocation import Layer, Subscription, priority, utility
from quality.presets import simulcast_layers
from quality.stats import VideoQuality
from tests.integration.narrow_link import BUCKET_BYTES, QUEUE_MS, NarrowLink, why_not
from tests.integration.publishing import FPS, Publisher
from tests.integration.watched_agent import Second, TrackSecond, WatchedAgent, in_words

WARM_UP_S = 15.0  # the publishers' own estimators let their highest layers out by then
NOISE = 6  # hard to code, yet not so hard that encoders skip frames of the lower layers
SPEAKER = "speaker"
SPEAKER_SIZE, CAMERA_SIZE = (1280, 720), (960, 540)
SPEAKER_BPS, CAMERA_BPS = 1_700_000, 800_000  # LiveKit's presets for these sizes
CAMERA_FPS = 20  # three encoders and the receiver share the machine
RECOVERED_RATIO = 0.95  # of the mean utility before the link got narrow
RECOVERED_S = 3.0
JOIN_S = 40.0
PACKET_BYTES = 1_600  # a bucket of less lets no packet of full size pass
MOST_LOSS = 90


@dataclass(frozen=True, slots=True)
class Phase:
    """`rate_bps` for `seconds`, with `loss` percent lost besides."""

    rate_bps: float
    seconds: float
    loss: int

    @classmethod
    def parse(cls, text: str, loss: int = 0) -> "Phase":
        """From "1.2:40", with `loss`, or "1.2:40:8"; ValueError with what to give."""
        number = r"(\d+(?:\.\d+)?)"
        found = re.fullmatch(rf"{number}:{number}(?::(\d+))?", text)
        rate, seconds, lost = found.groups() if found else ("0", "0", None)
        phase = cls(float(rate) * 1e6, float(seconds), loss if lost is None else int(lost))
        if not (phase.rate_bps > 0 and phase.seconds > 0 and phase.loss <= MOST_LOSS):
            raise ValueError(f"{text!r} is no phase; give Mb/s:seconds[:percent lost, {MOST_LOSS} at most], as 1.2:40")
        return phase

    def __str__(self) -> str:
        return f"{self.rate_bps / 1e6:g} Mb/s" + (f", {self.loss}% lost" if self.loss else "")


@dataclass(frozen=True, slots=True)
class Row:
    """A second of the agent's, and the link's then: phase, queue (seconds a packet waits), packets dropped by it."""

    second: Second
    phase: int
    queue_s: float
    drops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How everything is set up."""

    phases: tuple[Phase, ...]
    loop: bool
    cameras: int
    delay_ms: float
    jitter_ms: float
    queue_ms: int
    bucket_bytes: int
    log: Path | None
    tcp: bool


async def run(room: Room) -> tuple[list[Row], WatchedAgent]:
    """All phases in turn."""
    binary = find_server(load_settings().cache_dir, print)
    async with AsyncExitStack() as stack:
        link = stack.enter_context(NarrowLink(delayed=True))
        _limit(link, room.phases[0], room)
        link.delay(room.delay_ms, jitter_ms=room.jitter_ms)
        running = await stack.enter_async_context(LocalServer(binary, log_file=room.log, address=link.address))
        if not room.tcp:
            link.let_tcp_only_to(int(running.credentials.url.rpartition(":")[2]))
        for number in range(room.cameras + 1):
            speaks = number == 0
            width, height = SPEAKER_SIZE if speaks else CAMERA_SIZE
            publisher = Publisher(
                running.credentials,
                "live",
                width=width,
                height=height,
                bitrate_bps=SPEAKER_BPS if speaks else CAMERA_BPS,
                fps=FPS if speaks else CAMERA_FPS,
                noise=NOISE,
                simulcast=True,
                identity=SPEAKER if speaks else f"camera-{number}",
                audio=speaks,
                pauses=True,
            )
            await stack.enter_async_context(publisher)
        await asyncio.sleep(WARM_UP_S)
        agent = WatchedAgent(running.credentials, "live", behind=link.inside, loop=room.loop)
        await stack.enter_async_context(agent)
        await agent.until(lambda it: _all_there(it, room.cameras + 1), timeout_s=JOIN_S)
        rows = await _watch(link, agent, room)
        await agent.end()
        return rows, agent


def _all_there(agent: WatchedAgent, videos: int) -> bool | None:
    if not agent.seconds:
        return None
    shown = [item for item in agent.seconds[-1].tracks if item.kind == "video" and item.fps > 0]
    return len(shown) == videos or None


def _limit(link: NarrowLink, phase: Phase, room: Room) -> None:
    link.limit(round(phase.rate_bps), queue_ms=room.queue_ms, bucket_bytes=room.bucket_bytes)


async def _watch(link: NarrowLink, agent: WatchedAgent, room: Room) -> list[Row]:
    rows: list[Row] = []
    began = agent.now
    told = 0
    print(HEADER, flush=True)
    for number, phase in enumerate(room.phases):
        await asyncio.to_thread(_limit, link, phase, room)
        await asyncio.to_thread(link.lose, phase.loss)
        print(f"--- {agent.now - began:6.1f} s: {phase}", flush=True)
        until = time.monotonic() + phase.seconds
        seen = len(agent.seconds)
        while time.monotonic() < until:
            backlog, drops = await asyncio.to_thread(link.queue)
            for second in agent.seconds[seen:]:
                rows.append(Row(second, number, backlog * 8 / phase.rate_bps, drops))
                print(line(rows, phase, began), flush=True)
            seen = len(agent.seconds)
            for event in agent.decisions[told:]:
                print(in_words(event, began), flush=True)
            told = len(agent.decisions)
            await asyncio.sleep(0.1)
    return rows


HEADER = (
    "   at   link kb/s (got, queue ms, dropped)   RTT now, mean (n)   told kb/s   cores\n"
    "        each video: kb/s size fps  freezes  lost  buffer/minimum ms  asked  score"
)


def line(rows: list[Row], phase: Phase, began: float) -> str:
    """A second in a line, and one for each video."""
    row = rows[-1]
    second = row.second
    dropped = row.drops - rows[-2].drops if len(rows) > 1 else row.drops
    mean = "  -  " if second.mean_round_trip_s is None else f"{second.mean_round_trip_s * 1000:5.0f}"
    head = (
        f"{second.at - began:6.1f} s {phase.rate_bps / 1000:6.0f} ({second.bitrate_bps / 1000:5.0f},"
        f" {row.queue_s * 1000:4.0f}, {max(0, dropped):3})"
        f"  RTT {second.round_trip_s * 1000:4.0f}, {mean} ({second.responses})"
        f"  told {second.available_incoming_bps / 1000:6.0f}  {second.cores:4.2f}  {second.protocol}"
    )
    return "\n".join([head, *(_track_line(item) for item in sorted(second.tracks, key=lambda item: item.track))])


def _track_line(item: TrackSecond) -> str:
    name = item.track if item.kind == "video" else "sound"
    buffer = f"{_ms(item.jitter_buffer_s)}/{_ms(item.jitter_buffer_minimum_s)}"
    shown = f"{item.width:4}x{item.height:<3} {item.fps:4.1f} fps" if item.kind == "video" else " " * 17
    frozen = f"{item.freezes} ({item.freeze_s:.1f} s)" if item.freezes else ""
    return (
        f"         {name:9} {item.bitrate_bps / 1000:5.0f} kb/s {shown} {frozen:10} {item.loss_ratio:4.0%}"
        f"  nack {item.nacks:3} pli {item.plis:2}  {buffer:>11} ms  {item.requested:6}"
        f" {'PAUSED ' if item.paused else ''}{item.score if item.score is not None else '-'} {' '.join(item.patterns)}"
    )


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


def worth(item: TrackSecond) -> float:
    """The weighted utility of what a video brought in a second; a freeze takes its time off."""
    speaks = item.track == SPEAKER
    size = SPEAKER_SIZE if speaks else CAMERA_SIZE
    layers = tuple(Layer(each.quality, each.width, each.height, 25.0, 0.0) for each in simulcast_layers(*size))
    subscription = Subscription(item.sid, layers, active_speaker=speaks)
    if not item.fps or not item.height:
        return 0.0
    shown = Layer(VideoQuality.HIGH, item.width, item.height, item.fps, item.bitrate_bps)
    return priority(subscription) * utility(shown, subscription)


def total(second: Second) -> float:
    """All videos' weighted utility."""
    return sum(worth(item) for item in second.tracks if item.kind == "video")


def summary(rows: list[Row], agent: WatchedAgent, room: Room) -> str:
    """What each track had in each phase, and how long recovery took."""
    lines = ["", "phase  track  mean utility  freezes (s)  fps  kb/s  sizes"]
    for number, phase in enumerate(room.phases):
        seconds = [row.second for row in rows if row.phase == number]
        lines.append(f"{phase}, {phase.seconds:g} s: utility {_mean([total(each) for each in seconds]):.3f}")
        names = sorted({item.track for each in seconds for item in each.tracks if item.kind == "video"})
        lines.extend(_phase_line(name, [found for each in seconds if (found := each.track(name))]) for name in names)
    names = sorted({item.track for row in rows for item in row.second.tracks if item.kind == "video"})
    for name in names:
        asked = busiest([event["at"] for event in agent.decisions if event["track"] == name])
        seen = busiest(size_changes(rows, name))
        lines.append(f"{name}: switches in the busiest minute: asked for {asked}, seen {seen}")
    lines.extend(recoveries(rows, room))
    lines.append(f"counters: {agent.counters.get('layer_switches')}")
    return "\n".join(lines)


def _phase_line(name: str, items: list[TrackSecond]) -> str:
    heights = [item.height for item in items if item.fps]
    sizes = " ".join(
        f"{height}:{heights.count(height) * 100 // len(heights)}%" for height in sorted(set(heights), reverse=True)
    )
    return (
        f"   {name:10} {_mean([worth(item) for item in items]):.3f}  {sum(item.freezes for item in items)}"
        f" ({sum(item.freeze_s for item in items):.1f} s)  {_mean([item.fps for item in items]):.1f} fps"
        f"  {_mean([item.bitrate_bps for item in items]) / 1000:.0f} kb/s  {sizes}"
    )


def _mean(values: list[float]) -> float:
    return fmean(values) if values else 0.0


def busiest(times: list[float]) -> int:
    """How many of `times` the busiest minute has."""
    return max((sum(at <= other < at + 60 for other in times) for at in times), default=0)


def size_changes(rows: list[Row], name: str) -> list[float]:
    """When another size of a video came."""
    seen = [(row.second.at, item.height) for row in rows if (item := row.second.track(name)) and item.fps]
    return [after[0] for before, after in pairwise(seen) if before[1] != after[1]]


def recoveries(rows: list[Row], room: Room) -> list[str]:
    """For each widening: seconds until the utility of the last phase as wide is held again."""
    found = []
    for number, (before, after) in enumerate(pairwise(room.phases), start=1):
        if after.rate_bps <= before.rate_bps:
            continue
        earlier = [index for index in range(number) if room.phases[index].rate_bps >= after.rate_bps]
        if not earlier:
            continue
        wide = [total(row.second) for row in rows if row.phase == earlier[-1]]
        aim = RECOVERED_RATIO * _mean(wide[len(wide) // 2 :])
        took = _recovery([row.second for row in rows if row.phase >= number], aim)
        told = "not within the run" if took is None else f"{took:.0f} s"
        found.append(f"recovery after {before} -> {after}: {told} (to {aim:.2f})")
    return found


def _recovery(seconds: list[Second], aim: float) -> float | None:
    for index, first in enumerate(seconds):
        held = [each for each in seconds[index:] if each.at < first.at + RECOVERED_S]
        if len(held) >= RECOVERED_S and _mean([total(each) for each in held]) >= aim:
            return first.at - seconds[0].at
    return None


def at_least(least: int) -> Callable[[str], int]:
    """A whole number of an option."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, {least} or more")
        return int(text)

    return number


def options(arguments: list[str]) -> Room:
    """What is to be measured; ends the process with what to give instead where it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phases", nargs="+", metavar="MBPS:SECONDS[:LOSS]")
    parser.add_argument("--no-loop", action="store_true", help="every video pinned at HIGH: the server alone decides")
    parser.add_argument("--loss", type=at_least(0), default=0, help="percent of datagrams lost at random")
    parser.add_argument("--delay", type=at_least(0), default=25, help="milliseconds, one way")
    parser.add_argument("--jitter", type=at_least(0), default=0, help="milliseconds at most, each way")
    parser.add_argument("--queue", type=at_least(1), default=QUEUE_MS, help="milliseconds that the bottleneck holds")
    parser.add_argument(
        "--bucket", type=at_least(PACKET_BYTES), default=BUCKET_BYTES, help="bytes that pass at once after a pause"
    )
    parser.add_argument("--cameras", type=at_least(0), default=2)
    parser.add_argument("--tcp", action="store_true", help="let media come over TCP too")
    parser.add_argument("--log", type=Path, default=None, help="where the server writes its log")
    given = parser.parse_args(arguments)
    try:
        phases = tuple(Phase.parse(text, given.loss) for text in given.phases)
    except ValueError as error:
        parser.error(str(error))
    return Room(
        phases=phases,
        loop=not given.no_loop,
        cameras=given.cameras,
        delay_ms=given.delay,
        jitter_ms=given.jitter,
        queue_ms=given.queue,
        bucket_bytes=given.bucket,
        log=given.log,
        tcp=given.tcp,
    )


def main() -> None:
    """Measure and print."""
    room = options(sys.argv[1:])
    if reason := why_not(delayed=True):
        sys.exit(reason)
    rows, agent = asyncio.run(run(room))
    print(summary(rows, agent, room))


if __name__ == "__main__":
    main()

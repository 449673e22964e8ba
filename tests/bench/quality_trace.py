"""Records what a tap's statistics say while its network is made worse: traces for the tests of patterns.

    python -m tests.bench.quality_trace out.jsonl 20:0 3:1 20:0

Each `SECONDS:LOSS` is a stretch of the run; LOSS is the share of all datagrams, each way, that is lost on the tap's way
(1: all of them). A publisher of 720p25 and a tone runs in a process of its own, on a local server.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from agent.config import load_settings
from agent.credentials import Credentials
from agent.logs import configure_logs
from agent.room.tap_snapshots import tap_snapshots
from agent.service.local_server import LocalServer, find_server
from media.clock import SteadyClock
from media.frames import Codec
from tests.faults.faulty_network import FaultyNetwork, faulty_network
from tests.faults.test_lossy_network import load
from tests.integration.tap_behind_link import Counter
from tests.integration.test_bandwidth_feedback import subscribe_all, tap_in
from tests.quality.recorded_traces import encode

ROOM = "trace"


def stretch(text: str) -> tuple[int, float]:
    """`SECONDS:LOSS`."""
    seconds, _, loss = text.partition(":")
    return int(seconds), float(loss)


async def record(server: Credentials, out: Path, stretches: list[tuple[int, float]], codec: str) -> None:
    """Run all stretches, one after the other, and write a line a second."""
    clock = SteadyClock()
    async with load(server, ROOM, Codec(codec)), faulty_network(server) as network:
        counter = Counter()
        tap = tap_in(network.credentials, ROOM, counter, feedback=True)
        await tap.start()
        await subscribe_all(tap, counter)
        await asyncio.sleep(5)  # an encoder and an estimate take their time to begin
        with out.open("w") as lines:
            for seconds, loss in stretches:
                lose(network, loss)
                for _ in range(seconds):
                    await asyncio.sleep(1)
                    lines.write(encode(tap_snapshots(tap, lambda _sid: False, lambda _sid: None, clock.now())))
        await tap.aclose()


def lose(network: FaultyNetwork, loss: float) -> None:
    """Lose this share from now on."""
    for relay in network.relays.values():
        relay.loss = loss


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("stretches", nargs="+", type=stretch)
    parser.add_argument("--codec", default="vp8")
    options = parser.parse_args()
    configure_logs("console", "warning")
    with tempfile.TemporaryDirectory() as folder:
        server = LocalServer(find_server(load_settings().cache_dir, print), log_file=Path(folder) / "server.log")
        async with server as running:
            await record(running.credentials, options.out, options.stretches, options.codec)


if __name__ == "__main__":
    asyncio.run(main())

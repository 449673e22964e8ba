"""A publisher for benchmarks, in a process of its own: 720p25 at 1.7 Mb/s and Opus, until standard input ends.

Prints `ready`. The line `pause` or `resume` stops or restarts the video; each line is answered with one of JSON:
video frames sent so far. Ends when standard input does.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from agent.credentials import Credentials
from media.frames import Codec
from tests.integration.publishing import Publisher

BITRATE_BPS = 1_700_000  # LiveKit's preset for 720p
NOISE = 24  # enough for the encoders to need all of it


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "secret", "room"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--codec", type=Codec, default=Codec.VP8)
    parser.add_argument("--clip", type=Path, default=None)
    options = parser.parse_args()
    server = Credentials(options.url, options.key, options.secret)
    publisher = Publisher(
        server,
        options.room,
        codec=options.codec,
        width=1280,
        height=720,
        simulcast=False,
        bitrate_bps=BITRATE_BPS,
        noise=NOISE,
        clip=options.clip,
    )
    async with publisher:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            publisher.paused = {"pause": True, "resume": False}.get(line.strip(), publisher.paused)
            sys.stdout.write(json.dumps({"frames_sent": await publisher.frames_sent()}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())

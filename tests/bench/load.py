"""A publisher for benchmarks, in a process of its own: 720p25 at 1.7 Mb/s and Opus, until standard input ends.

Prints `ready`, and at the end one line of JSON: video frames sent by then.
"""

import argparse
import asyncio
import json
import sys

from agent.tokens import Credentials
from media.frames import Codec
from tests.integration.publishing import Publisher

BITRATE_BPS = 1_700_000  # LiveKit's preset for 720p


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "secret", "room"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--codec", type=Codec, default=Codec.VP8)
    options = parser.parse_args()
    server = Credentials(options.url, options.key, options.secret)
    publisher = Publisher(
        server, options.room, codec=options.codec, width=1280, height=720, simulcast=False, bitrate_bps=BITRATE_BPS
    )
    async with publisher:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for _ in iter(int, 1):
            line = await asyncio.to_thread(sys.stdin.readline)
            stats = await publisher.frames_sent()
            sys.stdout.write(json.dumps({"frames_sent": stats}) + "\n")
            sys.stdout.flush()
            if not line:
                return


if __name__ == "__main__":
    asyncio.run(main())

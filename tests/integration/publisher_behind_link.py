"""A room agent in a process of its own (behind a narrow link): it publishes, and prints what it decides as JSON."""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, replace

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.logs import configure_logs
from agent.room.events import PublishAdapted
from agent.room.publish_options import PublishOptions, VideoCodec
from agent.room.state import ConnectionState
from quality.stats import TrackSource


def tell(event: object) -> None:
    """One line for each decision."""
    if isinstance(event, PublishAdapted):
        sys.stdout.write(json.dumps(asdict(event)) + "\n")
        sys.stdout.flush()


async def publish(server: Credentials, room: str, source: str, screen: str, options: PublishOptions) -> None:
    """Publish `source`, and `screen` as a screen share beside it, until the process is ended."""
    request = RoomRequest(room, identity="sender", publish=source, publish_options=options)
    agent = RoomAgent(server, request, load_settings())
    agent.add_listener(tell)
    async with agent:
        if screen:
            await agent.publish(screen, replace(options, source=TrackSource.SCREEN_SHARE))
        while agent.state().connection is not ConnectionState.DISCONNECTED:
            await asyncio.sleep(1)
            if counted := agent.counters().pre_encoded:
                sys.stdout.write(json.dumps({"pre_encoded": counted}) + "\n")
                sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "secret", "room", "source"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--screen", default="")
    parser.add_argument("--codec", default="vp8")
    parser.add_argument("--no-adaptive", action="store_true")
    parser.add_argument("--pre-encoded", action="store_true")
    options = parser.parse_args()
    configure_logs("console", "warning")
    server = Credentials(options.url, options.key, options.secret)
    wanted = PublishOptions(
        audio=False,
        adaptive=not options.no_adaptive,
        video_codec=VideoCodec(options.codec),
        pre_encoded=options.pre_encoded,
    )
    asyncio.run(publish(server, options.room, options.source, options.screen, wanted))


if __name__ == "__main__":
    main()

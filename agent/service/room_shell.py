"""What surrounds the room agent in its process: pipes, signals, settings, logs.

Standard output carries protocol lines only: whatever native libraries print goes to standard error.
SIGTERM, the end of standard input and the parent's death all mean: drain, then end.
"""

import asyncio
import os
import signal
import sys
from typing import BinaryIO

from agent.config import load_settings
from agent.errors import EXIT_CODES
from agent.logs import bind_context, configure_logs
from agent.service.line_writer import LineWriter
from agent.service.local_server import end_with_parent
from agent.service.protocol import MAX_LINE_BYTES, RoomEnded, StartRoom, decode_down
from agent.service.room_agent_port import AgentFactory
from agent.service.room_runner import RoomRunner


def run_room_process(factory: AgentFactory) -> None:
    """Run the room that the first line on standard input names, with an agent that `factory` makes.

    Ends the process with the exit code of the error that ended the room, 0 when none did.
    """
    reports = take_standard_output()
    end_with_parent()
    settings = load_settings()
    configure_logs(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(_run(reports, factory)))


def take_standard_output() -> BinaryIO:
    """The pipe to the supervisor, in a descriptor of its own; descriptor 1 is standard error from now on."""
    private = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(private, "wb", buffering=0)


async def _run(reports: BinaryIO, factory: AgentFactory) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    commands = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    writer = await LineWriter.open(reports)
    first = await commands.readline()
    if not first:
        return 0
    start = decode_down(first)
    if not isinstance(start, StartRoom):
        raise TypeError("the first line to a room's process is StartRoom")
    bind_context(room=start.options.room)
    ended = await RoomRunner(factory, start.options, commands, writer, stop).run()
    await writer.aclose()
    return _exit_code(ended)


def _exit_code(ended: RoomEnded) -> int:
    return EXIT_CODES.get(ended.error.code, 1) if ended.error else 0

"""`serve` as a program, with rooms whose agents are fakes; prints its URL."""

import asyncio
import sys
from pathlib import Path

from agent.config import load_settings
from agent.logs import configure_logs
from agent.service.serve import Commands, run_service

FAKE_ROOM = (sys.executable, str(Path(__file__).with_name("fake_room_process.py")))

# The real one has tests of its own. Like it, this one does not outlive a service that is killed.
IDLE = """
import os, time
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.2)
"""
IDLE_WORKER = (sys.executable, "-c", IDLE)

COMMANDS = Commands(room=FAKE_ROOM, export_worker=IDLE_WORKER)


def _print(url: str) -> None:
    sys.stdout.write(url + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    configure_logs("json", "info")
    asyncio.run(run_service(load_settings(), on_listening=_print, commands=COMMANDS))

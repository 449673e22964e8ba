"""What logs say, and what they never say: the lines of a process that logs in every way ours do."""

import json
import subprocess
import sys
from typing import Any

import pytest

from agent.logs import REDACTED, redact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
PROGRAM = f"""
import logging, threading
import structlog
from agent.logs import bind_context, configure_logs
configure_logs("json", "info")
bind_context(room="standup", recording="r-1")
log = structlog.get_logger("ours")
log.info("joining", url="wss://x/rtc?access_token={JWT}&a=1", api_secret="hush",
         nested={{"token": "t", "n": ["{JWT}"]}})
log.debug("too quiet")
logging.getLogger("library").warning("header %s", "Bearer {JWT}")
threading.Thread(target=lambda: log.warning("from a thread")).start()
try:
    raise ValueError("broken {JWT}")
except ValueError:
    log.exception("failed")
"""

# What a participant may call itself and its track, in each way it comes into a line.
HOSTILE_PROGRAM = """
import logging
import structlog
from agent.logs import bind_context, configure_logs
configure_logs("console", "info")
name = "bob" + chr(27) + "[2J" + chr(0x9b) + "31m" + chr(0x202e)
bind_context(room=name)
log = structlog.get_logger("ours")
log.info("joined", identity=name, several=name + chr(10) + "forged", listed=[name])
logging.getLogger("library").warning("no track of %s" + chr(10) + "forged", name)
try:
    raise ValueError(name)
except ValueError:
    log.exception("failed")
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    return [json.loads(line) for line in run.stderr.splitlines()]


def test_secrets_and_tokens_are_redacted_wherever_they_stand(lines: list[dict[str, Any]]) -> None:
    text = json.dumps(lines)
    assert "hush" not in text
    assert "eyJ" not in text
    assert lines[0]["api_secret"] == REDACTED
    assert lines[0]["nested"] == {"token": REDACTED, "n": [REDACTED]}
    assert lines[0]["url"] == f"wss://x/rtc?access_token={REDACTED}&a=1"
    assert lines[1]["event"] == f"header Bearer {REDACTED}"


def test_room_and_recording_are_on_every_line_of_every_thread_and_library(lines: list[dict[str, Any]]) -> None:
    assert len(lines) == 4
    assert {(line["room"], line["recording"]) for line in lines} == {("standup", "r-1")}


def test_lines_have_level_logger_time_and_exception(lines: list[dict[str, Any]]) -> None:
    failed = next(line for line in lines if line["event"] == "failed")
    assert (failed["level"], failed["logger"]) == ("error", "ours")
    assert f"ValueError: broken {REDACTED}" in failed["exception"]
    assert failed["timestamp"].endswith("Z")
    assert "too quiet" not in [line["event"] for line in lines]


def test_what_is_no_secret_stays() -> None:
    assert redact({"room": "standup", "bytes": 12, "list": ["a", ("b",)]}) == {
        "room": "standup",
        "bytes": 12,
        "list": ["a", ["b"]],
    }


def test_names_control_no_terminal_and_make_no_lines_on_the_console() -> None:
    run = subprocess.run([sys.executable, "-c", HOSTILE_PROGRAM], capture_output=True, text=True, check=True)
    first, second, third, *traceback = run.stderr.splitlines()
    assert all(char.isprintable() for char in run.stderr if char != "\n")
    shown = r"bob\x1b[2J\x9b31m\u202e"
    assert f"identity={shown}" in first
    assert f"room={shown}" in first
    assert r"\nforged'" in first
    assert rf"no track of {shown}\nforged" in second
    assert "failed" in third
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == f"ValueError: {shown}"

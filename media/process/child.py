"""The child process that does one piece of CPU work: `python -m media.process.child`.

Protocol, one JSON value a line. In: the task, `{"task": name, ...}`; standard input then stays open, and its end
means that the parent died, so the child ends at once. Out: any number of `{"progress": 0..1}`, then
one `{"result": ...}` or `{"error": {"code", "message", "retryable"}}`.
"""

import importlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable

from media.errors import MediaError
from media.json_text import parse_json
from media.record.entries import JsonValue
from media.record.storage import storage_error

Task = Callable[[dict[str, JsonValue], Callable[[float], None]], dict[str, JsonValue]]

TASKS = {
    "mp4": "media.process.mp4:run_task",
    "hls": "media.package.packager:run_task",
    "verify": "media.export.verification:run_task",
}
"""What can be asked for, and the function that does it; imported only when needed."""

# Often enough for a person who watches, seldom enough to cost nothing.
_PROGRESS_INTERVAL_S = 0.2

log = logging.getLogger(__name__)


def main() -> int:
    """Do the task on standard input. 0 when it was done or failed in an orderly way."""
    request = parse_json(sys.stdin.readline())
    threading.Thread(target=_die_with_parent, name="parent-watch", daemon=True).start()
    try:
        result = _load(TASKS[request["task"]])(request, _ProgressLines())
    except MediaError as error:
        _say({"error": {"code": error.code, "message": str(error), "retryable": error.retryable}})
    except OSError as error:
        failure = storage_error(error, f"export ({request['task']})")
        _say({"error": {"code": failure.code, "message": str(failure), "retryable": failure.retryable}})
    else:
        _say({"result": result})
    return 0


class _ProgressLines:
    """Writes progress lines, but not more often than anybody can use."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._last_s >= _PROGRESS_INTERVAL_S:
            self._last_s = now
            _say({"progress": round(fraction, 4)})


def _load(target: str) -> Task:
    module, name = target.split(":")
    task: Task = getattr(importlib.import_module(module), name)
    return task


def _say(line: dict[str, JsonValue]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _die_with_parent() -> None:
    while sys.stdin.readline():
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

"""CPU work in child processes: a native crash or a cancel touches one export, and dead parents leave no orphans."""

import json
import selectors
import subprocess
from collections.abc import Callable
from typing import IO, ClassVar

from media.errors import ExportError
from media.json_text import parse_json
from media.own_programs import own_program
from media.process.output import JsonObject

# How soon a cancel is noticed.
_POLL_S = 0.2


class ExportCancelled(Exception):
    """The export was cancelled while a step ran. No failure, so it is not in the error tree."""


class StepFailed(ExportError):
    """A child reported an error; `code` and `retryable` are those of the error it met."""

    def __init__(self, code: str, message: str, retryable: bool) -> None:
        super().__init__(message)
        self.reported_code = code
        self.reported_retryable = retryable


class ChildDied(ExportError):
    """A child ended without an answer: killed (out of memory?) or crashed in native code."""

    retryable: ClassVar[bool] = True


def run_child(request: JsonObject, on_progress: Callable[[float], None], cancelled: Callable[[], bool]) -> JsonObject:
    """Run one task of `media.process.child` and return its result.

    Raises StepFailed with the child's error, ExportCancelled (the child is gone then), ChildDied.
    """
    with subprocess.Popen(own_program("media.process.child"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            answer = _answer(child.stdout, on_progress, cancelled)
        except BrokenPipeError:
            answer = None
        finally:
            if child.poll() is None:
                child.kill()
    if answer is None:
        raise ChildDied(f"the {request['task']} process ended with status {child.returncode}; see the worker's log")
    return answer


def _answer(
    output: IO[bytes], on_progress: Callable[[float], None], cancelled: Callable[[], bool]
) -> JsonObject | None:
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if cancelled():
                raise ExportCancelled("the export was cancelled")
            if not selector.select(_POLL_S):
                continue
            chunk = output.read1(65536) if hasattr(output, "read1") else output.read(1)
            if not chunk:
                return None
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                values = parse_json(line)
                if "progress" in values:
                    on_progress(values["progress"])
                elif "error" in values:
                    raise StepFailed(**values["error"])
                else:
                    result: JsonObject = values["result"]
                    return result

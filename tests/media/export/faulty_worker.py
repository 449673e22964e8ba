"""A real worker that stops dead at a named point, so that a test can kill -9 it exactly there."""

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from media.export import worker, workflow
from media.export.job import Completed
from media.export.processes import StepFailed
from media.export.store import ExportStore
from media.export.workflow import StepSettings
from media.process.output import JsonObject

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])

_PATIENCE_S = 30.0


def run(database: Path, flag: Path, point: str, *, older: bool) -> None:
    """The process. `point` is "<step>:before", "<step>:after", "<step>:disk_full", "segment:before",
    "result:before" or "" for none.

    When it is reached `flag` appears, and the worker goes on once that is gone. `older`: an earlier version, which
    counted other things as samples, and did not say so.
    """
    if older:
        _be_older()
    step, _, moment = point.partition(":")
    stop = functools.partial(_stop, flag)
    if step == "segment":
        _stop_before(worker, "verify_recorded_file", stop, lambda _: True)
    elif step == "result":
        _stop_before(ExportStore, "apply", stop, lambda arguments: isinstance(arguments[-1], Completed))
    elif step:
        setattr(workflow._Run, step, _wrapped(getattr(workflow._Run, step), moment, stop))
    steps = StepSettings(retry_interval_s=0.05, recording_poll_s=0.05, interrupted_grace_s=3600.0)
    worker.run_worker(database, worker.WorkerSettings(idle_exit_s=0.5, steps=steps))


def _be_older() -> None:
    real = workflow._Run.process

    def process(*arguments: Any) -> JsonObject:
        output: Any = real(*arguments)
        for track in output["tracks"]:
            track["samples"] += 1
        return cast(JsonObject, output)

    setattr(workflow._Run, "process", process)  # noqa: B010 - as below: mypy lets no method be assigned
    workflow.STEP_FORMAT -= 1


def _stop(flag: Path) -> None:
    flag.touch()
    while flag.exists():
        time.sleep(0.02)


def _stop_before(owner: Any, name: str, stop: Callable[[], None], applies: Callable[[tuple[Any, ...]], bool]) -> None:
    real = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        if applies(arguments):
            stop()
        return real(*arguments)

    setattr(owner, name, call)


def _wrapped(real: Callable[..., JsonObject], moment: str, stop: Callable[[], None]) -> Callable[..., JsonObject]:
    @functools.wraps(real)
    def call(*arguments: Any) -> JsonObject:
        if moment == "disk_full":
            raise StepFailed("disk_full", "no space left; free some space", retryable=True)
        if moment == "before":
            stop()
        result = real(*arguments)
        if moment == "after":
            stop()
        return result

    return call


class FaultyWorker:
    """A worker process of a test."""

    def __init__(self, database: Path, point: str = "", *, older: bool = False) -> None:
        self.flag = database.with_name("stopped")
        self.flag.unlink(missing_ok=True)
        self.process: BaseProcess = _CONTEXT.Process(
            target=run, args=(database, self.flag, point), kwargs={"older": older}
        )
        self.process.start()

    def wait_until_stopped(self) -> None:
        """Return once the worker has come to its point."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.flag.exists():
            assert self.process.is_alive(), "the worker ended before it came to its point"
            assert time.monotonic() < deadline, "the worker did not come to its point"
            time.sleep(0.02)

    def go_on(self) -> None:
        """Let a stopped worker go on."""
        self.flag.unlink()

    def kill(self) -> None:
        """kill -9."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def join(self) -> None:
        """Wait for its idle exit."""
        self.process.join(_PATIENCE_S)
        assert self.process.exitcode == 0

"""`roomhand demo`: the main job on a local server, checked."""

import asyncio
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.config import load_settings
from agent.errors import RoomhandError
from media.record.storage import translated

if TYPE_CHECKING:
    from agent.demo.run import Demo, DemoResult


def demo(
    duration: Annotated[float, typer.Option(min=3, max=3600, help="Seconds to record.")] = 20.0,
    clip: Annotated[Path | None, typer.Option(help="Publish this file instead of the pattern.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave server, service and page up until Ctrl-C.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for recordings, exports and logs.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Publish into a room, record it without transcoding, export it, and check all of it."""
    from agent.demo.run import Demo, DemoOptions, default_work_dir

    output = Output(as_json=json_output)
    work_dir = (out or default_work_dir()).resolve()
    with translated(f"make {work_dir}"):
        work_dir.mkdir(parents=True, exist_ok=True)
    output.note(f"demo: recordings, exports and logs go to {work_dir}")
    result = asyncio.run(_run(Demo(load_settings(), DemoOptions(duration, clip, keep, work_dir), output)))
    if json_output:
        output.document({"verdicts": [asdict(item) for item in result.verdicts], "recording": result.recording.path})
    failed = [item.name for item in result.verdicts if not item.ok]
    if failed:
        raise RoomhandError(f"the demo's checks failed: {', '.join(failed)}; the logs are in {work_dir}")
    output.text(f"all {len(result.verdicts)} checks passed")


async def _run(course: "Demo") -> "DemoResult":
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None

    def on_signal() -> None:
        # While the page is kept up a signal ends it in order; before that it ends the run.
        if stop.is_set() or not course.finished:
            running.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        return await course.run(stop=stop)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None

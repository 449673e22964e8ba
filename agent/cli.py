"""`roomhand`: the commands put together, and the one place where errors become exit codes."""

import errno
import json
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from agent.commands.demo import demo
from agent.commands.export import export, export_worker, exports
from agent.commands.join import join
from agent.commands.recording import recording
from agent.commands.recording_quality import quality
from agent.commands.recordings import recordings
from agent.commands.serve import serve
from agent.commands.server import server
from agent.commands.token import token
from agent.config import load_settings
from agent.errors import Interrupted, RoomhandError, exit_code
from agent.logs import configure_logs
from agent.printable import printable_lines
from media.errors import MediaError
from media.record.storage import storage_error

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO}  # what writing to an open file raises, without its name


class _Commands(TyperGroup):
    """Ctrl-C is an error like any other; typer would end the process without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped by a signal before it was done") from error


app = typer.Typer(
    name="roomhand",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A hand in a LiveKit room: joins, publishes, subscribes, adapts, records without transcoding, exports.",
    epilog="Exit codes: 0 done, 1 internal, 2 usage or settings, others in docs/errors.md.",
)
app.command()(server)
app.command()(token)
app.command()(join)
app.command()(serve)
app.add_typer(recording, name="recording")
recordings.command("quality")(quality)
app.add_typer(recordings, name="recordings")
app.command()(export)
app.add_typer(exports, name="exports")
app.command()(demo)
app.command("export-worker", hidden=True)(export_worker)


@app.callback()
def _configure() -> None:
    settings = load_settings()
    configure_logs(settings.log_format, settings.log_level)


def report_error(error: RoomhandError | MediaError, *, as_json: bool) -> int:
    """Print `error` on standard error for a person or a program; its exit code."""
    if as_json:
        line = json.dumps({"error": {"code": error.code, "message": str(error)}})
    else:
        line = printable_lines(f"roomhand: {error} [{error.code}]")
    sys.stderr.write(line + "\n")
    return exit_code(error)


def main() -> None:
    """The console script. Never ends in a traceback for an error of ours, or of a file's."""
    as_json = "--json" in sys.argv
    try:
        app()
    except (RoomhandError, MediaError) as error:
        sys.exit(report_error(error, as_json=as_json))
    except OSError as error:
        if error.filename is None and error.errno not in _DISK_ERRORS:
            raise  # the network's, or a fault of ours
        sys.exit(report_error(storage_error(error, f"use {error.filename or 'a file'}"), as_json=as_json))

"""`roomhand export` and `roomhand exports list|show|cancel`: work for the export queue, and how it stands."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.commands.recordings import deletion_line, limits_or, recording_path
from agent.config import load_settings
from agent.errors import RoomhandError
from agent.printable import printable
from media.errors import ExportError, MediaError, StorageError
from media.export.job import ExportFormat, ExportRequest, ExportState, ExportStatus, status_to_json
from media.record.reader import read_recording

if TYPE_CHECKING:
    from media.export.queue import ExportQueue

exports = typer.Typer(no_args_is_help=True, help="List, show, cancel, delete and prune exports.")

POLL_INTERVAL_S = 0.25
ExportArgument = Annotated[str, typer.Argument(help="An export's id.")]


def _queue() -> "ExportQueue":
    from media.export.queue import ExportQueue

    return ExportQueue(load_settings().export_database)


def export(
    recording: Annotated[str, typer.Argument(help="A recording's folder, or its id in the recordings folder.")],
    export_format: Annotated[ExportFormat, typer.Option("--format", help="What to make.")] = ExportFormat.MP4,
    out: Annotated[Path, typer.Option("--out", help="Folder for the result.")] = Path("exports"),
    participant: Annotated[str | None, typer.Option(help="Only this participant, by identity.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it is done, and show progress.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Queue an export; prints its id at once. A worker in the background does it, even if this command ends."""
    from media.export.worker import ensure_worker

    output = Output(as_json=json_output)
    path = recording_path(recording).resolve()
    read_recording(path)
    queue = _queue()
    export_id = queue.submit(ExportRequest(path, export_format, out.resolve(), participant))
    ensure_worker(load_settings().export_database)
    if not wait:
        if json_output:
            output.document(status_to_json(queue.status(export_id)))
        else:
            output.text(export_id)
            output.note(f"ask for it with: roomhand exports show {export_id}")
        return
    status = wait_for_export(queue, export_id, output, load_settings().export_database)
    if json_output:
        output.document(status_to_json(status))
    else:
        print_status(output, status)
    if status.state is not ExportState.COMPLETE:
        raise export_error(status)


def wait_for_export(queue: "ExportQueue", export_id: str, output: Output, database: Path) -> ExportStatus:
    """Follow an export to its end, with progress; a worker that dies meanwhile is replaced.

    Raises ExportError where workers do nothing but end.
    """
    from media.export.worker import WorkerWatch

    watch = WorkerWatch(database)
    with output.progress(f"export {export_id}") as report:
        while not (status := queue.status(export_id)).state.final:
            report(status.step.value if status.step else status.state.value, status.progress)
            watch.look(status, time.monotonic())
            time.sleep(POLL_INTERVAL_S)
    return status


def export_error(status: ExportStatus) -> RoomhandError | MediaError:
    """The error of an export that did not complete, with its own code."""
    from agent.service.protocol import ErrorReport, error_from_report

    if status.error is None:
        return ExportError(f"export {status.export_id} is {status.state.value}")
    message = f"export {status.export_id} failed: {status.error.message}"
    return error_from_report(ErrorReport(status.error.code, message))


def print_status(output: Output, status: ExportStatus) -> None:
    """An export for a person."""
    step = f", {status.step.value}" if status.step else ""
    output.text(f"{status.export_id}  {status.request.format.value}  {status.state.value}{step}  {status.progress:.0%}")
    if status.error:
        output.text(f"  {status.error.code}: {status.error.message}")
    for item in status.result.outputs if status.result else ():
        identity = printable(item.participant_identity)
        output.text(f"  {identity} {item.source}: {item.entry}  {item.duration_s:.2f} s")
        for track in item.tracks:
            reason = f" ({track.reason})" if track.reason else ""
            output.text(
                f"    {track.kind.value} {track.codec.value} {track.handling.value}{reason}, {track.samples} samples"
            )
        for check in item.checks:
            output.text(f"    {'ok ' if check.ok else 'BAD'} {check.name}: {check.actual} (expected {check.expected})")


@exports.command("list")
def list_command(json_output: JsonOption = False) -> None:
    """List all exports, newest last."""
    output = Output(as_json=json_output)
    found = _queue().list()
    if json_output:
        output.document([status_to_json(item) for item in found])
        return
    if not found:
        output.text("no exports yet")
        return
    rows = [
        (
            item.export_id,
            item.request.format.value,
            item.request.recording_path.name,
            item.state.value,
            f"{item.progress:.0%}",
        )
        for item in found
    ]
    output.table("exports", ("id", "format", "recording", "state", "progress"), rows)


@exports.command("show")
def show_command(export_id: ExportArgument, json_output: JsonOption = False) -> None:
    """Show an export: state, progress, result and checks."""
    output = Output(as_json=json_output)
    status = _queue().status(export_id)
    if json_output:
        output.document(status_to_json(status))
    else:
        print_status(output, status)


@exports.command("cancel")
def cancel_command(export_id: ExportArgument, json_output: JsonOption = False) -> None:
    """Cancel an export that is not done."""
    output = Output(as_json=json_output)
    queue = _queue()
    queue.cancel(export_id)
    status = queue.status(export_id)
    if json_output:
        output.document(status_to_json(status))
    else:
        print_status(output, status)


@exports.command("delete")
def delete_command(export_id: ExportArgument, json_output: JsonOption = False) -> None:
    """Delete an export that has ended, with its files; of another's in the same folder none goes."""
    from media.export.prune import delete_export

    output, queue = Output(as_json=json_output), _queue()
    try:
        deletion = delete_export(queue, export_id, time.time())
    finally:
        queue.close()
    if json_output:
        output.document(deletion)
    else:
        output.text(f"deleted {deletion.export_id}: {deletion.size_bytes / 1e6:.1f} MB")


@exports.command("prune")
def prune_command(
    max_age: Annotated[
        float | None, typer.Option(min=0, help="Delete what ended so many seconds ago; default the setting.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=0, help="Delete the oldest while all take more; default the setting.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Exports folder; default ROOMHAND_EXPORTS_DIR.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Delete old exports in the exports folder; never one that has not ended."""
    from agent.service.retention import export_retention_limits
    from media.export.prune import prune_exports

    output, settings = Output(as_json=json_output), load_settings()
    limits = limits_or(export_retention_limits(settings), max_age, max_bytes, "ROOMHAND_EXPORT_RETENTION_")
    queue = _queue()
    try:
        unfinished = 0 if dry_run else queue.finish_removals()
        root = (directory or settings.exports_dir).absolute()
        pruned = prune_exports(queue, root, limits, time.time(), dry_run=dry_run)
    finally:
        queue.close()
    if json_output:
        output.document(pruned)
    else:
        for item in pruned.deleted:
            output.text(deletion_line(item.export_id, item, dry_run=dry_run))
        if not pruned.deleted:
            output.text("nothing to delete")
    if failed := unfinished + len(pruned.failed):
        raise StorageError(f"{failed} exports could not be deleted; the log says why")


def export_worker(
    idle_exit: Annotated[float | None, typer.Option(help="Stop after so many seconds without work.")] = None,
) -> None:
    """Run the export worker in the foreground (`export` and `serve` start one by themselves)."""
    from media.export.worker import WorkerSettings, run_worker

    run_worker(load_settings().export_database, WorkerSettings(idle_exit_s=idle_exit))

"""`roomhand recordings list|show|verify|repair|delete|prune`."""

import datetime as dt
import errno
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.config import load_settings
from agent.errors import InvalidSettings
from agent.printable import printable
from media.errors import RecordingDamaged, RecordingNotFound, StorageError
from media.record.reader import RecordingView, TrackView, list_recordings, read_recording
from media.record.storage import storage_error

if TYPE_CHECKING:
    from media.export.prune import ExportDeletion
    from media.record.prune import Pruned
    from media.record.retention import Deletion, RetentionLimits

recordings = typer.Typer(no_args_is_help=True, help="List, show, verify, repair, delete and prune recordings.")

RecordingArgument = Annotated[str, typer.Argument(help="A recording's folder, or its id in the recordings folder.")]
DirOption = Annotated[Path | None, typer.Option("--dir", help="Recordings folder; default ROOMHAND_RECORDINGS_DIR.")]


def recording_path(recording: str, directory: Path | None = None) -> Path:
    """The folder that `recording` names: a path, or an id below the recordings folder.

    Raises RecordingNotFound for what no folder can be called, or StorageError.
    """
    path = Path(recording)
    try:
        if path.is_dir():
            return path
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise RecordingNotFound(
                f"no recording is called {recording[:20]}...: {error.strerror}; "
                "`roomhand recordings list` shows those there are"
            ) from error
        raise storage_error(error, f"look at {path}") from error
    return (directory or load_settings().recordings_dir) / recording


def _date(unix_s: float) -> str:
    return dt.datetime.fromtimestamp(unix_s, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@recordings.command("list")
def list_command(directory: DirOption = None, json_output: JsonOption = False) -> None:
    """List the recordings in the recordings folder."""
    output = Output(as_json=json_output)
    folder = directory or load_settings().recordings_dir
    found = list_recordings(folder)
    if json_output:
        output.document([asdict(item) for item in found])
        return
    if not found:
        output.text(f"no recordings in {folder}")
        return
    rows = [
        (
            item.recording_id,
            item.room,
            _date(item.started_at),
            f"{item.duration_s:.1f} s",
            item.tracks,
            f"{(item.size_bytes + item.muxed_bytes) / 1e6:.1f} MB",
            item.problem or item.state.value,
        )
        for item in found
    ]
    output.table(f"recordings in {folder}", ("id", "room", "started", "length", "tracks", "size", "state"), rows)


@recordings.command("show")
def show_command(recording: RecordingArgument, directory: DirOption = None, json_output: JsonOption = False) -> None:
    """Show a recording and its tracks."""
    output = Output(as_json=json_output)
    view = read_recording(recording_path(recording, directory))
    if json_output:
        output.document(view)
        return
    ended = _date(view.ended_at) if view.ended_at else "not closed"
    output.text(f"{view.recording_id}  room {printable(view.room)}  {view.state.value}")
    output.text(f"{_date(view.started_at)} to {ended}, {view.duration_s:.2f} s, in {view.path}")
    output.table("tracks", _TRACK_COLUMNS, track_rows(view))


_TRACK_COLUMNS = (
    "track",
    "participant",
    "source",
    "codec",
    "sizes",
    "from",
    "to",
    "frames",
    "segments",
    "gaps",
    "clock",
)


def track_rows(view: RecordingView) -> list[tuple[object, ...]]:
    """A row of text for each track of a recording."""
    return [_track_row(track) for track in view.tracks]


def _track_row(track: TrackView) -> tuple[object, ...]:
    sizes = dict.fromkeys(f"{init.width}x{init.height}" for init in track.inits if init.width)
    first = track.media_time_s(track.segments[0].decode_time) if track.segments else 0.0
    last = track.media_time_s(track.segments[-1].end_decode_time) if track.segments else 0.0
    clock = track.clock_mappings[-1].source.value if track.clock_mappings else "-"
    return (
        track.number,
        track.descriptor.participant_identity,
        track.descriptor.source,
        track.descriptor.codec.value,
        " ".join(sizes) or "-",
        f"{first:.3f} s",
        f"{last:.3f} s",
        track.samples,
        len(track.segments),
        len(track.gaps),
        clock,
    )


@recordings.command("verify")
def verify_command(recording: RecordingArgument, directory: DirOption = None, json_output: JsonOption = False) -> None:
    """Check every segment against the journal: hash, samples, continuity."""
    from media.record.verify import verify_recording

    output = Output(as_json=json_output)
    report = verify_recording(recording_path(recording, directory))
    if json_output:
        output.document(report)
    else:
        output.text(f"{report.recording_id}: {report.segments} segments, {report.samples} samples checked")
        for problem in report.problems:
            output.text(f"  {problem.code}: {problem.message}")
    if report.problems:
        raise RecordingDamaged(
            f"{len(report.problems)} problems in {report.recording_id}; `recordings repair` keeps what is whole"
        )


@recordings.command("repair")
def repair_command(recording: RecordingArgument, directory: DirOption = None, json_output: JsonOption = False) -> None:
    """Rebuild journal and manifest from the segments that are there."""
    from media.record.repair import repair_recording

    output = Output(as_json=json_output)
    report = repair_recording(recording_path(recording, directory))
    if json_output:
        output.document(report)
        return
    output.text(f"{report.recording_id}: repaired")
    for line in report.actions:
        output.text(f"  {line}")


@recordings.command("delete")
def delete_command(recording: RecordingArgument, directory: DirOption = None, json_output: JsonOption = False) -> None:
    """Delete a recording for good; never one that is being recorded or exported. Exports made of it stay."""
    from agent.service.retention import delete
    from media.export.queue import ExportQueue

    output, path = Output(as_json=json_output), recording_path(recording, directory).absolute()
    queue = ExportQueue(load_settings().export_database)
    try:
        deletion = delete(path.parent, path.name, _recorded_ids, queue, time.time())
    finally:
        queue.close()
    if json_output:
        output.document(deletion)
    else:
        output.text(f"deleted {deletion.recording_id}: {deletion.size_bytes / 1e6:.1f} MB")


def _recorded_ids() -> list[str]:
    """What rooms of the service write or are to go on with."""
    from agent.service.desired_rooms import DesiredRooms

    return [room.recording_id for room in DesiredRooms(load_settings().state_dir).load() if room.recording_id]


@recordings.command("prune")
def prune_command(
    max_age: Annotated[
        float | None, typer.Option(min=0, help="Delete what ended so many seconds ago; default the setting.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=0, help="Delete the oldest while all take more; default the setting.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    directory: DirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Delete old recordings; never one that is being recorded, exported, not handed off yet, or damaged."""
    from agent.service.retention import prune, retention_limits
    from media.export.queue import ExportQueue

    output, settings = Output(as_json=json_output), load_settings()
    limits = limits_or(retention_limits(settings), max_age, max_bytes, "ROOMHAND_RETENTION_")
    root = directory or settings.recordings_dir
    queue = ExportQueue(settings.export_database)
    try:
        pruned = prune(
            root.absolute(),
            limits,
            _recorded_ids,
            queue,
            time.time(),
            dry_run=dry_run,
        )
    finally:
        queue.close()
    _tell_pruned(output, pruned, dry_run=dry_run)
    if pruned.failed:
        raise StorageError(f"{len(pruned.failed)} recordings could not be deleted; the log says why")


def limits_or(known: "RetentionLimits", max_age: float | None, max_bytes: int | None, prefix: str) -> "RetentionLimits":
    """The limits that options give, where they do in place of the settings'. Raises InvalidSettings without any."""
    limits = replace(
        known,
        max_age_s=known.max_age_s if max_age is None else max_age,
        max_bytes=known.max_bytes if max_bytes is None else max_bytes,
    )
    if not limits.any:
        raise InvalidSettings(f"say what to keep: --max-age SECONDS, --max-bytes BYTES, or {prefix} settings")
    return limits


def deletion_line(name: str, item: "Deletion | ExportDeletion", *, dry_run: bool) -> str:
    """One deletion, for a person."""
    verb, size = "would delete" if dry_run else "deleted", f"{item.size_bytes / 1e6:.1f} MB"
    return f"{verb} {name}: {item.reason.value}, ended {item.age_s:.0f} s ago, {size}"


def _tell_pruned(output: Output, pruned: "Pruned", *, dry_run: bool) -> None:
    if output.as_json:
        output.document(pruned)
        return
    for item in pruned.deleted:
        output.text(deletion_line(item.recording_id, item, dry_run=dry_run))
    for kept in pruned.held:
        output.note(f"kept {kept.recording_id}: {kept.hold.value if kept.hold else ''}")
    if not pruned.deleted:
        output.text("nothing to delete")

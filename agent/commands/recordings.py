"""`roomhand recordings list|show|verify|repair`."""

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.config import load_settings
from media.errors import RecordingDamaged
from media.record.reader import RecordingView, TrackView, list_recordings, read_recording
from media.record.repair import repair_recording
from media.record.verify import verify_recording

recordings = typer.Typer(no_args_is_help=True, help="List, show, verify and repair recordings.")

RecordingArgument = Annotated[str, typer.Argument(help="A recording's folder, or its id in the recordings folder.")]
DirOption = Annotated[Path | None, typer.Option("--dir", help="Recordings folder; default ROOMHAND_RECORDINGS_DIR.")]


def recording_path(recording: str, directory: Path | None = None) -> Path:
    """The folder that `recording` names: a path, or an id below the recordings folder."""
    path = Path(recording)
    if path.is_dir():
        return path
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
            f"{item.size_bytes / 1e6:.1f} MB",
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
    output.text(f"{view.recording_id}  room {view.room}  {view.state.value}")
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
    output = Output(as_json=json_output)
    report = repair_recording(recording_path(recording, directory))
    if json_output:
        output.document(report)
        return
    output.text(f"{report.recording_id}: repaired")
    for line in report.actions:
        output.text(f"  {line}")

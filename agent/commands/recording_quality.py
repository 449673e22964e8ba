"""`roomhand recordings quality`: how good a recording is, as text, JSON or a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.commands.recordings import DirOption, RecordingArgument, recording_path
from media.record.reader import read_recording
from media.record.storage import write_durably

if TYPE_CHECKING:
    from quality.report import QualityReport
    from quality.report_spans import PatternSpan


def quality(
    recording: RecordingArgument,
    page: Annotated[Path | None, typer.Option("--html", help="Write the report as a page to this file.")] = None,
    directory: DirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Tell how good a recording is: its tracks, its participants, and what was wrong."""
    from agent.quality_report import read_quality_report, report_json
    from quality.report_html import render

    output = Output(as_json=json_output)
    report = read_quality_report(read_recording(recording_path(recording, directory)))
    if page is not None:
        write_durably(page, render(report).encode())
    if json_output:
        output.document(report_json(report))
        return
    output.text(_headline(report))
    output.table("tracks", _TRACK_COLUMNS, _track_rows(report))
    output.table("participants", _PARTICIPANT_COLUMNS, _participant_rows(report))
    if spans := report.spans:
        output.table("degradations", ("when", "what", "participant", "why"), [_span_row(span) for span in spans])
    else:
        output.text("no degradation was seen")


_TRACK_COLUMNS = ("participant", "track", "score", "MOS", "seen or heard", "loss", "bitrate", "freezes")
_PARTICIPANT_COLUMNS = ("participant", "quality", "score", "MOS", "the server's MOS", "same word")


def _span_row(span: "PatternSpan") -> tuple[str, ...]:
    when = f"{span.began_at_s:.0f} to {span.ended_at_s:.0f} s"
    return when, f"{span.pattern}{span.often}", span.participant_identity, span.reason


def _headline(report: "QualityReport") -> str:
    if report.quality is None:
        return f"{report.recording.recording_id}: nobody was judged"
    figures = f"score {report.score:.0f} of 100, MOS {report.mos:.1f}"
    return f"{report.recording.recording_id}: {report.quality.value}, {figures}"


def _track_rows(report: "QualityReport") -> list[tuple[str, ...]]:
    return [
        (
            item.track.participant_identity,
            item.track.name or item.track.source,
            f"{item.score:.0f}",
            f"{item.mos:.1f}",
            "-" if item.model_mos is None else f"{item.model_mos:.1f}",
            f"{item.loss_ratio:.1%}",
            f"{item.bitrate_bps / 1000:.0f} kb/s",
            f"{item.freeze_count}",
        )
        for item in report.tracks
    ]


def _participant_rows(report: "QualityReport") -> list[tuple[str, ...]]:
    return [
        (
            item.participant_identity + (" (recorder)" if item.own else ""),
            item.quality.value,
            f"{item.score:.0f}",
            f"{item.mos:.1f}",
            "-" if item.server_mos is None else f"{item.server_mos:.1f}",
            f"{item.agreement.same} of {item.agreement.compared}",
        )
        for item in report.participants
    ]

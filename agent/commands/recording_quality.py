"""`roomhand recordings quality`: how good a recording is, as text, JSON or a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.commands.recordings import DirOption, RecordingArgument, recording_path
from agent.errors import InvalidSettings
from media.record.reader import read_recording
from media.record.storage import translated, write_durably

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
    path = recording_path(recording, directory)
    view = read_recording(path)
    if page is not None:
        _check_page(path, page)
    report = read_quality_report(view)
    if page is not None:
        write_durably(page, render(report).encode())
    if json_output:
        output.document(report_json(report))
        return
    output.text(_headline(report))
    output.table("tracks", _TRACK_COLUMNS, _track_rows(report))
    output.table("participants", _PARTICIPANT_COLUMNS, _participant_rows(report))
    if spans := report.spans:
        output.table("degradations", ("when", "what", "participant", "track", "why"), _span_rows(report, spans))
    else:
        output.text("no degradation was seen")


def _check_page(recording: Path, page: Path) -> None:
    """InvalidSettings where no page can be written to `page`, or something that it is not would be lost."""
    from agent.quality_report import PAGE_NAME

    with translated(f"write {page}"):
        target = page.resolve()
        if target.exists() and not target.is_file():
            raise InvalidSettings(f"{page} is a folder, or no regular file; give --html the name of a file")
        if not target.parent.is_dir():
            raise InvalidSettings(f"there is no folder {target.parent}; make it, or give --html another place")
    if target.is_relative_to(recording.resolve()) and target.is_file() and target.name != PAGE_NAME:
        raise InvalidSettings(f"{page} is a file of the recording itself; give --html another place")


_TRACK_COLUMNS = ("participant", "track", "score", "MOS", "seen or heard", "loss", "bitrate", "freezes")
_PARTICIPANT_COLUMNS = ("participant", "quality", "score", "MOS", "the server's MOS", "same word")


def _span_rows(report: "QualityReport", spans: "list[PatternSpan]") -> list[tuple[str, ...]]:
    from quality.report_time import as_span

    names = {item.track.track_sid: item.track.name or item.track.source for item in report.tracks}
    return [
        (
            as_span(span.began_at_s, span.ended_at_s),
            f"{span.pattern}{span.often}",
            span.participant_identity,
            names[span.track_sid],
            span.reason,
        )
        for span in spans
    ]


def _headline(report: "QualityReport") -> str:
    name = report.recording.recording_id
    if report.quality is None:
        return f"{name}: nobody was judged"
    if not report.qualities:
        return f"{name}: all tracks were muted all the time"
    return f"{name}: {report.quality.value}, score {report.score:.0f} of 100, MOS {report.mos:.1f}"


def _track_rows(report: "QualityReport") -> list[tuple[str, ...]]:
    return [
        (
            item.track.participant_identity,
            item.track.name or item.track.source,
            f"{item.score:.0f}" if item.qualities else "muted",
            f"{item.mos:.1f}" if item.qualities else "-",
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
            item.quality.value if item.qualities else "muted",
            f"{item.score:.0f}" if item.qualities else "-",
            f"{item.mos:.1f}" if item.qualities else "-",
            "-" if item.server_mos is None else f"{item.server_mos:.1f}",
            f"{item.agreement.same} of {item.agreement.compared}",
        )
        for item in report.participants
    ]

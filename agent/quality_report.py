"""Reports of recordings' quality: read from quality.jsonl, written beside it as JSON and as a page. Blocking."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.errors import QualityNotFound
from media.errors import RecordingNotFound
from media.record.entries import JsonValue, RecordingState
from media.record.reader import QUALITY_NAME, RecordingView, read_lines
from media.record.storage import translated, write_durably
from quality.report import (
    REPORT_VERSION,
    ParticipantReport,
    QualityReport,
    ReportBuilder,
    ReportedRecording,
    ReportedTrack,
    TrackReport,
)
from quality.report_html import render
from quality.report_spans import PatternSpan
from quality.samples import ParticipantSample, TrackSample

REPORT_NAME = "quality.json"
PAGE_NAME = "quality.html"
DIGITS = 4
MOST = 1e18  # no figure is near it, and sums of them are numbers
EARLIEST_S = -60.0  # the clocks of who began a recording and of who goes on with it differ by less
LATEST_S = 366 * 86_400.0  # no recording is as long, and nothing could be seen in plots of more


@dataclass(frozen=True, slots=True)
class _PatternLine:
    track_sid: str
    pattern: str
    began_at: float
    reason: str
    figures: dict[str, float]


_TRACK: TypeAdapter[ReportedTrack] = TypeAdapter(ReportedTrack)
_SAMPLE: TypeAdapter[TrackSample] = TypeAdapter(TrackSample)
_PARTICIPANT: TypeAdapter[ParticipantSample] = TypeAdapter(ParticipantSample)
_PATTERN: TypeAdapter[_PatternLine] = TypeAdapter(_PatternLine)
_REPORT: TypeAdapter[QualityReport] = TypeAdapter(QualityReport)
_TRACK_REPORT: TypeAdapter[TrackReport] = TypeAdapter(TrackReport)
_PARTICIPANT_REPORT: TypeAdapter[ParticipantReport] = TypeAdapter(ParticipantReport)


def read_quality_report(view: RecordingView) -> QualityReport:
    """The report of a recording, finished or not; a line that cannot be read is left out and counted.

    A closed recording's is taken from its quality.json. Raises QualityNotFound where no track was judged,
    RecordingNotFound where it was deleted meanwhile, StorageError.
    """
    return stored_report(view) or build_report(view, read_samples(view.path, view.started_at))


def read_samples(path: Path, started_at: float, before: float | None = None) -> ReportBuilder:
    """A builder with the recording's samples, of before that Unix time if one is given. Raises StorageError."""
    builder = ReportBuilder(started_at)
    for event in read_lines(path, QUALITY_NAME):
        at = event.get("at") if event is not None else None
        if before is None or not isinstance(at, int | float) or at < before:
            add_line(builder, event)
    return builder


def add_line(builder: ReportBuilder, event: Mapping[str, JsonValue] | None) -> None:
    """Take in a line of quality.jsonl; one that cannot be read (None) is counted."""
    try:
        _add(builder, event or {})
    except (ValidationError, TypeError, ValueError):
        builder.unreadable_lines += 1


def build_report(view: RecordingView, builder: ReportBuilder) -> QualityReport:
    """The report of what `builder` took in. Raises QualityNotFound where no track was judged, RecordingNotFound."""
    if builder.empty:
        raise _nothing_judged(view, builder.unreadable_lines)
    return builder.build(
        ReportedRecording(view.recording_id, view.room, view.state.value, view.started_at, view.ended_at)
    )


def _nothing_judged(view: RecordingView, unreadable_lines: int) -> QualityNotFound | RecordingNotFound:
    name = view.recording_id
    if not view.path.exists():
        return RecordingNotFound(f"recording {name} was deleted meanwhile")
    if unreadable_lines:
        return QualityNotFound(
            f"none of the {unreadable_lines} lines in {QUALITY_NAME} of recording {name} is a quality sample of a "
            "track; read it with the version that wrote it, or take it from a backup"
        )
    if view.state in {RecordingState.COMPLETE, RecordingState.INTERRUPTED}:
        return QualityNotFound(
            f"recording {name} has no quality samples: no track was received, or its {QUALITY_NAME} is missing "
            "or has no whole line; a backup may have it"
        )
    return QualityNotFound(f"recording {name} has no quality samples yet; they come some seconds after its first track")


def stored_report(view: RecordingView) -> QualityReport | None:
    """The report that was written when the recording ended; None where there is none, or samples came after it."""
    if view.state is not RecordingState.COMPLETE:
        return None
    stored, samples = view.path / REPORT_NAME, view.path / QUALITY_NAME
    with translated(f"read {stored}"):
        try:
            if not stored.is_file() or stored.stat().st_mtime_ns < samples.stat().st_mtime_ns:
                return None  # one that is something else is in the way of who writes it, but of no report
            data = stored.read_bytes()
        except FileNotFoundError:
            return None
    try:
        report = _REPORT.validate_json(data)
    except ValidationError:
        return None
    # Figures in the file have only so many digits.
    current = report.version == REPORT_VERSION and report.recording.ended_at == _rounded(view.ended_at)
    return report if current else None


def _add(builder: ReportBuilder, event: Mapping[str, JsonValue]) -> None:
    """Raises ValidationError, TypeError or ValueError for a line that is none of ours."""
    payload = event.get("payload")
    if not isinstance(payload, dict):
        raise TypeError("a line without a payload")
    values: dict[str, Any] = {
        **payload,
        "at": event.get("at"),
        "participant_identity": event.get("participant_identity"),
    }
    figures = payload.get("figures")
    said = [*values.values(), *(figures.values() if isinstance(figures, dict) else ())]
    if any(isinstance(value, int | float) and not abs(value) <= MOST for value in said):
        raise ValueError("a figure that is no number")
    if event.get("type") in _TIMED:
        _check_times(values, builder.started_at)
    match event.get("type"):
        case "quality_track":
            builder.add_track(_TRACK.validate_python(values))
        case "track_quality":
            builder.add_sample(_SAMPLE.validate_python(values))
        case "participant_quality":
            builder.add_participant(_PARTICIPANT.validate_python(values))
        case "quality_pattern_began":
            line = _PATTERN.validate_python(values)
            builder.begin_pattern(_span(line, str(values["participant_identity"]), builder.started_at))
        case "quality_pattern_ended":
            line = _PATTERN.validate_python(values)
            builder.end_pattern(line.track_sid, line.pattern, float(values["at"]) - builder.started_at)
        case _:
            return  # what a later version adds


_TIMED = {"track_quality", "participant_quality", "quality_pattern_began", "quality_pattern_ended"}


def _check_times(values: Mapping[str, Any], started_at: float) -> None:
    for at in (values["at"], values.get("began_at", started_at)):
        if not EARLIEST_S <= at - started_at <= LATEST_S:
            raise ValueError("a time at which the recording was not")


def _span(line: _PatternLine, identity: str, started_at: float) -> PatternSpan:
    began_at_s = max(0.0, line.began_at - started_at)
    return PatternSpan(line.track_sid, identity, line.pattern, began_at_s, began_at_s, False, line.reason, line.figures)


def report_json(report: QualityReport) -> dict[str, Any]:
    """The report as JSON values, as docs/quality.md describes them; figures have at most four digits."""
    # One by one: each call keeps other threads, an event loop among them, from running.
    plain = _REPORT.dump_python(replace(report, tracks=(), participants=()), mode="json")
    plain["tracks"] = [_TRACK_REPORT.dump_python(track, mode="json") for track in report.tracks]
    plain["participants"] = [_PARTICIPANT_REPORT.dump_python(item, mode="json") for item in report.participants]
    rounded = _rounded(plain)
    assert isinstance(rounded, dict)
    return rounded


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


def write_quality_report(path: Path, report: QualityReport) -> None:
    """Put quality.json and quality.html into the recording's folder `path`. Raises StorageError."""
    text = json.dumps(report_json(report), ensure_ascii=False, allow_nan=False, indent=1)
    write_durably(path / PAGE_NAME, render(report).encode())
    write_durably(path / REPORT_NAME, text.encode() + b"\n")

"""A report as one self-contained page: no scripts, nothing loaded from elsewhere, all that people named escaped."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise

from quality.report import ParticipantPoint, ParticipantReport, QualityReport, TrackReport
from quality.report_parts import (
    as_length,
    as_percent,
    as_words,
    dot,
    line_keys,
    named,
    share_bar,
    share_words,
    table_head,
    tile_list,
    time_axis,
    verdict,
)
from quality.report_plots import Piece, strip
from quality.report_spans import PatternSpan
from quality.report_style import STYLE
from quality.report_time import as_clock, as_span
from quality.report_track import track_anchor, track_card, track_name
from quality.score import ConnectionQuality

_SEEN = {
    True: "The server judges the same way to the recorder, every 5 s.",
    False: "The server judges the way to itself, which it may find better than the way on to the recorder.",
}
_WORDS = tuple(ConnectionQuality)
_HEIGHTS = {word.value: 1 - number / len(_WORDS) for number, word in enumerate(_WORDS)}
_WORD_KEYS = (
    '<p class="soft">The higher, the better: '
    + line_keys(*((word.value, word.value) for word in _WORDS), ("none", "muted"))
    + " &nbsp; empty: nothing is known</p>"
)
_STATES = {
    "recording": "still being recorded: this is how far its samples are written",
    "paused": "paused",
    "storage_error": "the disk refuses what is recorded",
    "interrupted": "its writer died",
}
MANY_TRACKS = 4  # from here on an overview is shorter than what it is of
MANY_PATTERNS = 200  # more rows of them help nobody; the JSON has all
AT_END_S = 10.0  # a pattern of the last samples, which may be some seconds apart


def render(report: QualityReport) -> str:
    """The page, in HTML."""
    recording = report.recording
    title = f"Quality of {recording.recording_id}"
    body = (
        _header(report),
        _patterns(report),
        f"<h2>Participants</h2>{_WORD_KEYS}",
        *(_participant(number, item, report.duration_s) for number, item in enumerate(_own_last(report.participants))),
        "<h2>Tracks</h2>",
        _overview(report.tracks),
        *(track_card(number, item, report.duration_s) for number, item in enumerate(report.tracks)),
        _footer(report),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _header(report: QualityReport) -> str:
    recording = report.recording
    started = datetime.fromtimestamp(recording.started_at, UTC).strftime("%-d %B %Y, %H:%M:%S UTC")
    state = "" if recording.state == "complete" else f" · {_STATES.get(recording.state, escape(recording.state))}"
    tiles = {
        "participants recorded": str(sum(not item.own for item in report.participants)),
        "tracks": str(len(report.tracks)),
        "degradations": str(sum(report.patterns.values())),
        "packets lost": as_percent(_loss(report.tracks)),
        "frozen": as_length(sum(track.freeze_s for track in report.tracks)),
        "agreement with the server": _agreed(report),
    }
    return (
        f'<header><h1>{escape(recording.recording_id)}</h1><p class="soft">Room {named(recording.room)} · {started} · '
        f"{as_length(report.duration_s)}{state}</p>"
        '<p class="soft">All times below count from that start, pauses included.</p>'
        f'<section class="card hero" aria-label="In all">{_hero(report)}</section>'
        f'<section class="card" aria-label="Figures"><dl class="tiles first">{tile_list(tiles)}</dl></section></header>'
    )


def _hero(report: QualityReport) -> str:
    if report.quality is None or report.score is None or report.mos is None:
        return '<div class="word">Not judged</div><p>Nobody was judged.</p>'
    if not report.qualities:
        return '<div class="word">Muted</div><p>All tracks were muted all the time.</p>'
    worst = min((item for item in report.participants if not item.own), key=lambda item: item.score)
    word = f"{dot(report.quality)}{report.quality.value.capitalize()}"
    about = f"score {report.score:.0f} of 100 · MOS {report.mos:.1f} of 4.5"
    who = f"That is the mean of {named(worst.participant_identity)}, the participant with the lowest score."
    return (
        f'<div class="word">{word}<small>{about}{_seen_and_heard(report)}</small></div>'
        f'<div><p class="soft">{who} Of the time of all tracks:</p>{share_bar(report.qualities)}</div>'
    )


def _seen_and_heard(report: QualityReport) -> str:
    """The track that looked or sounded worst, by the models."""
    judged = [track for track in report.tracks if track.model_mos is not None]
    if not judged:
        return ""
    worst = min(judged, key=lambda track: track.model_mos or 0.0)
    verb = "seen" if worst.track.kind == "video" else "heard"
    return f"<br>worst as {verb}: {track_name(worst)}, MOS {worst.model_mos:.1f}"


def _patterns(report: QualityReport) -> str:
    spans = report.spans
    if not spans:
        return '<h2>Degradations</h2><section class="card"><p>None was seen.</p></section>'
    tracks = {track.track.track_sid: (number, track) for number, track in enumerate(report.tracks)}
    rows = "".join(_pattern_row(span, tracks, report.duration_s) for span in spans[:MANY_PATTERNS])
    others = sum(span.count for span in spans[MANY_PATTERNS:])
    more = f'<p class="soft">… and {others} more.</p>' if others else ""
    return (
        '<h2>Degradations</h2><p class="soft">Each is told when it is sure, some seconds after its cause, and ends '
        'once it has been absent for 5 s.</p><section class="card scroll"><table class="stack">'
        f"{table_head('When', 'What', 'Where', 'Why')}<tbody>{rows}</tbody></table>{more}</section>"
    )


def _pattern_row(span: PatternSpan, tracks: Mapping[str, tuple[int, TrackReport]], duration_s: float) -> str:
    number, track = tracks[span.track_sid]
    # Of a track that left while the recording was paused nothing tells the end of what held on it.
    at_end = not span.told_end and span.ended_at_s > duration_s - AT_END_S
    end = "the end" if at_end else as_clock(span.ended_at_s)
    lasted = as_length(span.ended_at_s - span.began_at_s)
    return (
        f'<tr><td class="num">{as_clock(span.began_at_s)} to {end} <span class="soft">({lasted})</span></td>'
        f'<td class="pattern">{escape(as_words(span.pattern))}{span.often}</td>'
        f'<td><a href="#{track_anchor(number)}">{track_name(track)}</a></td>'
        f'<td class="why">{escape(span.reason)}</td></tr>'
    )


def _overview(tracks: Sequence[TrackReport]) -> str:
    """Many tracks in a table, the worst first."""
    if len(tracks) < MANY_TRACKS:
        return ""
    worst_first = sorted(enumerate(tracks), key=lambda each: (not each[1].qualities, each[1].score))
    head = table_head("Track", "Score (lowest)", "Packets lost", "Frozen", "Degradations", "There")
    rows = "".join(_overview_row(number, item) for number, item in worst_first)
    return (
        '<section class="card scroll" tabindex="0" role="region" aria-label="All tracks"><table>'
        f"{head}<tbody>{rows}</tbody></table></section>"
    )


def _overview_row(number: int, item: TrackReport) -> str:
    score = f"{dot(item.quality)}{item.score:.0f} ({item.score_min:.0f})" if item.qualities else "muted"
    figures = (
        as_percent(item.loss_ratio),
        as_length(item.freeze_s) if item.track.kind == "video" else "–",
        str(sum(span.count for span in item.patterns)),
        as_span(item.starts_at_s, item.ends_at_s),
    )
    cells = "".join(f'<td class="num">{figure}</td>' for figure in (score, *figures))
    return f'<tr><td><a href="#{track_anchor(number)}">{track_name(item)}</a></td>{cells}</tr>'


def _own_last(participants: Sequence[ParticipantReport]) -> list[ParticipantReport]:
    return sorted(participants, key=lambda item: item.own)


def _participant(number: int, item: ParticipantReport, duration_s: float) -> str:
    role = "the recorder: all that it received" if item.own else "as it reached the recorder"
    figures = item.agreement
    if figures.compared:
        told = (
            f"Same word as the server in {as_percent(figures.same / figures.compared)} of {figures.compared} samples"
            f"{_others(figures.adjacent, figures.further)}. {_SEEN[item.own]}"
        )
    else:
        told = "The server said nothing of it."
    title = f'{named(item.participant_identity)} <span class="soft">{role}</span>'
    return (
        f'<section class="card"><div class="head"><h3>{title}</h3>'
        f"{verdict(item)}</div>"
        f"{_word_strips(f'p{number}', item, duration_s)}{time_axis(duration_s)}"
        f'<p class="soft">{told}</p></section>'
    )


def _others(adjacent: int, further: int) -> str:
    said = [f"the next word in {adjacent}" if adjacent else "", f"further away in {further}" if further else ""]
    known = [text for text in said if text]
    return f"; {', '.join(known)}" if known else ""


def _word_strips(name: str, item: ParticipantReport, duration_s: float) -> str:
    spans = _spans(item)
    ours = [_piece(begin, end, "muted" if point.muted else point.quality.value) for begin, end, point in spans]
    counted = [
        _piece(begin, end, "muted" if point.muted else point.as_server_quality.value) for begin, end, point in spans
    ]
    theirs = [
        _piece(begin, end, point.server_quality.value)
        for begin, end, point in spans
        if point.server_quality is not None
    ]
    identity = item.participant_identity
    mine = strip(f"{name}o", f"Our word for {identity}", share_words(item.qualities), ours, duration_s)
    server = strip(
        f"{name}s", f"The server's word for {identity}", share_words(item.server_qualities), theirs, duration_s
    )
    mos = f" · MOS {item.server_mos:.1f}" if item.server_mos is not None else ""
    differs = any(point.as_server_quality is not point.quality for point in item.points)
    text = "Our word where what was mended counts as lost, as it does for the server"
    as_server = strip(f"{name}c", f"{identity}, losses counted as by the server", text, counted, duration_s)
    between = f"<span>counted as by the server</span>{as_server}" if differs else ""
    return f'<div class="strip words"><span>ours</span>{mine}{between}<span>server{mos}</span>{server}</div>'


def _piece(begin_s: float, end_s: float, word: str) -> Piece:
    return Piece(begin_s, end_s, word, word, _HEIGHTS.get(word, 1.0))


def _spans(item: ParticipantReport) -> list[tuple[float, float, ParticipantPoint]]:
    """Each point with the time it stands for: since the one before, or the usual step where that was long ago."""
    times = [point.at_s for point in item.points]
    steps = sorted(after - before for before, after in pairwise(times))
    usual_s = steps[len(steps) // 2] if steps else 2.0
    begins = [max(0.0, times[0] - usual_s)] if times else []
    begins += [before if after - before <= 3 * usual_s else after - usual_s for before, after in pairwise(times)]
    return list(zip(begins, times, item.points, strict=True))


def _footer(report: QualityReport) -> str:
    lines = f" {report.unreadable_lines} unreadable lines were left out." if report.unreadable_lines else ""
    text = (
        "Scores and words are on the scale of LiveKit's server: over 80 excellent, over 40 good, over 20 poor. "
        "What people see or hear comes from statistics by models (ITU-T G.107 for speech), not from people. "
        "The server judges participants by what it receives of them and sends to them, the recorder by what reached it."
    )
    return f'<footer class="soft"><p>{text}{lines}</p></footer>'


def _loss(tracks: Sequence[TrackReport]) -> float:
    lost = sum(track.packets_lost for track in tracks)
    expected = lost + sum(track.packets for track in tracks)
    return lost / expected if expected else 0.0


def _agreed(report: QualityReport) -> str:
    figures = report.agreement
    return as_percent(figures.same / figures.compared) if figures.compared else "–"

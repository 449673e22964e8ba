"""A track's values as a table, for who cannot see plots or wants figures: some rows over the recording's time."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil

from quality.report import TrackReport
from quality.report_parts import as_bitrate, as_length, as_percent, table_head
from quality.report_points import TrackPoint
from quality.report_time import as_span

MOST_ROWS = 24


def value_table(item: TrackReport) -> str:
    """Closed until somebody opens it; means are over the time in which the track was not muted."""
    each = max(1, ceil(len(item.points) / MOST_ROWS))
    columns = _columns(item)
    head = table_head("Time", "Score (lowest)", *columns)
    rows = "".join(_row(columns, item.points[at : at + each]) for at in range(0, len(item.points), each))
    return (
        '<details><summary>Values as a table</summary><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Values"><table>{head}<tbody>{rows}</tbody></table></div></details>'
    )


_Cell = Callable[[Sequence[TrackPoint]], str]


def _columns(item: TrackReport) -> dict[str, _Cell]:
    video = item.track.kind == "video"
    columns: dict[str, _Cell] = {
        "Seen (MOS)" if video else "Heard (MOS)": lambda points: _said(
            _mean(points, lambda point: point.model_mos), lambda value: f"{value:.1f}"
        ),
        "Bitrate": lambda points: _said(_mean(points, lambda point: point.bitrate_bps), as_bitrate),
        "Packets lost": lambda points: _said(_mean(points, lambda point: point.loss_ratio), as_percent),
    }
    if not video:
        return columns
    return columns | {
        "Picture": _sizes,
        "Frames per second": lambda points: _said(_mean(points, lambda point: point.fps), lambda value: f"{value:.1f}"),
        "Frozen": lambda points: as_length(sum(point.freeze_s for point in points)),
    }


def _row(columns: Mapping[str, _Cell], points: Sequence[TrackPoint]) -> str:
    live = [point for point in points if not point.muted]
    begin_s = max(0.0, points[0].at_s - points[0].duration_s)
    when = f'<th scope="row" class="num">{as_span(begin_s, points[-1].at_s)}</th>'
    score = _mean(live, lambda point: point.score)
    if score is None:
        return f'<tr>{when}<td colspan="{len(columns) + 1}">muted</td></tr>'
    cells = [f"{score:.0f} ({min(point.score_min for point in live):.0f})", *(cell(live) for cell in columns.values())]
    return f"<tr>{when}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _mean(points: Sequence[TrackPoint], figure: Callable[[TrackPoint], float | None]) -> float | None:
    known = [(value, point.duration_s) for point in points if (value := figure(point)) is not None]
    total_s = sum(seconds for _, seconds in known)
    return sum(value * seconds for value, seconds in known) / total_s if total_s > 0 else None


def _sizes(points: Sequence[TrackPoint]) -> str:
    sizes = dict.fromkeys(f"{point.frame_width}x{point.frame_height}" for point in points if point.frame_width)
    withheld = ["withheld"] if any(point.stream_paused for point in points) else []
    return ", ".join([*sizes, *withheld]) or "–"


def _said(value: float | None, say: Callable[[float], str]) -> str:
    return "–" if value is None else say(value)

"""A track in a report's page: its figures and its plots over the recording's time."""

from collections.abc import Iterable
from html import escape

from quality.report import TrackReport
from quality.report_parts import (
    as_bitrate,
    as_length,
    as_percent,
    as_words,
    line_keys,
    named,
    plot_figure,
    share_words,
    tile_list,
    time_axis,
    verdict,
)
from quality.report_plots import Band, Line, Piece, Plot, Value, nice_top, strip
from quality.report_points import TrackPoint
from quality.report_table import value_table
from quality.report_time import as_span

THERE_ALL_THE_TIME_S = 10.0  # who comes or leaves within it counts as there from the first to the last
LEAST_MUTED = 0.0005  # less is how times were rounded
BANDS = (
    Band(0, 20, "lost"),
    Band(20, 40, "poor"),
    Band(40, 80, "good"),
    Band(80, 100, "excellent"),
)


def track_card(number: int, item: TrackReport, duration_s: float) -> str:
    """The section of one track; `number` makes its ids."""
    track, video = item.track, item.track.kind == "video"
    plots = [_score_plot(f"t{number}s", item, duration_s), _bitrate_plot(f"t{number}b", item, duration_s)]
    if video:
        plots += [_size_plot(f"t{number}z", item, duration_s), _fps_plot(f"t{number}f", item, duration_s)]
    if item.packets_lost:
        plots.append(_loss_plot(f"t{number}l", item, duration_s))
    what = f"{track.kind} · {track.source.replace('_', ' ')} · {track.mime_type.partition('/')[2] or 'unknown codec'}"
    begins, ends = item.starts_at_s > THERE_ALL_THE_TIME_S, item.ends_at_s < duration_s - THERE_ALL_THE_TIME_S
    there = f" · {as_span(item.starts_at_s, item.ends_at_s)}" if begins or ends else ""
    return (
        f'<section class="card" id="{track_anchor(number)}"><div class="head"><h3>{track_name(item)} '
        f'<span class="soft">{escape(what)}{there}</span></h3>{verdict(item)}</div>'
        f'<dl class="tiles">{tile_list(_figures(item, video=video))}</dl>{"".join(plots)}'
        f"{_pattern_strips(f't{number}', item, duration_s)}{time_axis(duration_s)}{value_table(item)}</section>"
    )


def track_anchor(number: int) -> str:
    """The id of a track's section."""
    return f"track-{number}"


def track_name(item: TrackReport) -> str:
    """What a track is called, and whose it is; in HTML."""
    return f"{named(item.track.name or item.track.source)} of {named(item.track.participant_identity)}"


def _figures(item: TrackReport, *, video: bool) -> dict[str, str]:
    figures = {
        "as people see it" if video else "as people hear it": f"MOS {item.model_mos:.1f}"
        if item.model_mos is not None
        else "–",
        "lowest score": f"{item.score_min:.0f}",
        "bitrate": as_bitrate(item.bitrate_bps),
        "packets lost": as_percent(item.loss_ratio),
        "jitter": f"{item.jitter_s * 1000:.0f} ms",
    }
    total_s = sum(point.duration_s for point in item.points)
    if item.qualities and (muted := 1 - item.judged_s / total_s if total_s else 0.0) > LEAST_MUTED:
        figures["of the time muted"] = as_percent(muted)
    if item.packets_repaired:
        figures["lost and mended"] = as_percent(item.packets_repaired / max(1, item.packets + item.packets_lost))
    if video:
        figures |= {
            "frames per second": f"{item.fps:.1f}",
            "pictures": item.sizes[0] if len(item.sizes) == 1 else f"{len(item.sizes)} sizes",
            "freezes": f"{item.freeze_count} ({as_length(item.freeze_s)})" if item.freeze_count else "0",
        }
    if item.round_trip_time_s is not None:
        figures["round trip"] = f"{item.round_trip_time_s * 1000:.0f} ms"
    if item.level_dbfs is not None:
        figures["level"] = f"{item.level_dbfs:.0f} dBFS"
    ratios = {
        "silent": item.silent_ratio,
        "clipped": item.clipped_ratio,
        "black pictures": item.black_ratio,
        "still pictures": item.still_ratio,
    }
    return figures | {name: as_percent(value) for name, value in ratios.items() if value is not None}


def _spans(points: Iterable[TrackPoint]) -> list[tuple[float, float]]:
    """From when to when each point is drawn, one after the other.

    Seconds in which a track was muted and the others have a line each, which stand for the same time where both came
    by turns.
    """
    spans: list[tuple[float, float]] = []
    for point in points:
        begin_s = point.at_s - point.duration_s
        spans.append((max(begin_s, spans[-1][1]) if spans else max(0.0, begin_s), point.at_s))
    return spans


def _values(item: TrackReport, figures: Iterable[float | None], *, withheld: bool = False) -> list[Value]:
    """Muted times have none, nor have those in which the video was `withheld`, unless they are asked for."""
    return [
        Value(begin_s, end_s, None if point.muted or (point.stream_paused and not withheld) else value)
        for (begin_s, end_s), point, value in zip(_spans(item.points), item.points, figures, strict=True)
    ]


def _score_plot(name: str, item: TrackReport, duration_s: float) -> str:
    # What is withheld is as bad as it is.
    scores = Line(_values(item, [point.score for point in item.points], withheld=True), "line")
    seen = [None if point.model_mos is None else (point.model_mos - 1) / 3.5 * 100 for point in item.points]
    lines = [scores, Line(_values(item, seen), "model")]
    text = f"Mean {item.score:.0f}, lowest {item.score_min:.0f}; {share_words(item.qualities)}."
    plot = Plot(name, f"Score of {_label(item)} over time", text, duration_s, 100.0, lines, BANDS)
    model = "what people see" if item.track.kind == "video" else "what people hear"
    legend = line_keys(("line", "score"), ("model", f"{model} (MOS 1 to 4.5 on the same axis)"))
    return plot_figure("Score, 0 to 100", legend, plot.svg(), ("100", "50", "0"), bands=True)


def _bitrate_plot(name: str, item: TrackReport, duration_s: float) -> str:
    rates = [point.bitrate_bps for point in item.points]
    top = nice_top(max(rates, default=0.0))
    known = [point.available_bandwidth_bps for point in item.points]
    near = [value if value is not None and value <= top else None for value in known]
    lines = [Line(_values(item, rates), "line", filled=True)]
    keys = [("line", "received")]
    if any(value is not None for value in near):
        lines.append(Line(_values(item, near), "other"))
        keys.append(("other", f"what the way carries, where that is less than {as_bitrate(top)}"))
    plot = Plot(
        name, f"Bitrate of {_label(item)} over time", f"Mean {as_bitrate(item.bitrate_bps)}.", duration_s, top, lines
    )
    return plot_figure("Bitrate", line_keys(*keys), plot.svg(), (as_bitrate(top), as_bitrate(top / 2), "0"))


def _size_plot(name: str, item: TrackReport, duration_s: float) -> str:
    heights = [float(point.frame_height) or None for point in item.points]
    top = max([value for value in heights if value], default=1.0)
    line = Line(_values(item, heights), "line", filled=True, stepped=True)
    text = f"Pictures of {', '.join(item.sizes) or 'unknown size'}."
    plot = Plot(name, f"Height of the pictures of {_label(item)} over time", text, duration_s, top, [line])
    return plot_figure(
        "Height of the picture (layer)",
        escape(", ".join(item.sizes)),
        plot.svg(),
        (f"{top:.0f} px", f"{top / 2:.0f}", "0"),
    )


def _fps_plot(name: str, item: TrackReport, duration_s: float) -> str:
    rates = [point.fps for point in item.points]
    top = nice_top(max(rates, default=0.0))
    line = Line(_values(item, rates), "line")
    plot = Plot(
        name, f"Frames per second of {_label(item)} over time", f"Mean {item.fps:.1f}.", duration_s, top, [line]
    )
    return plot_figure("Frames per second", f"mean {item.fps:.1f}", plot.svg(), (f"{top:g}", f"{top / 2:g}", "0"))


def _loss_plot(name: str, item: TrackReport, duration_s: float) -> str:
    shares = [100 * point.loss_ratio for point in item.points]
    top = nice_top(max(shares, default=0.0))
    line = Line(_values(item, shares), "bad", filled=True)
    text = f"{item.packets_lost} of {item.packets + item.packets_lost} packets, {as_percent(item.loss_ratio)}."
    plot = Plot(name, f"Packets lost of {_label(item)} over time", text, duration_s, top, [line])
    return plot_figure("Packets lost", text.rstrip("."), plot.svg(), (f"{top:g}%", f"{top / 2:g}%", "0"))


def _pattern_strips(name: str, item: TrackReport, duration_s: float) -> str:
    rows: dict[str, list[Piece]] = {}
    for span in item.patterns:
        text = f"{span.reason}{span.often}"
        rows.setdefault(as_words(span.pattern), []).append(Piece(span.began_at_s, span.ended_at_s, "mark", text))
    for word, held in (("muted", [p.muted for p in item.points]), ("withheld", [p.stream_paused for p in item.points])):
        drawn = zip(_spans(item.points), held, strict=True)
        if pieces := [Piece(begin_s, end_s, "muted", word) for (begin_s, end_s), holds in drawn if holds]:
            rows[word] = pieces
    strips = [
        f"<span>{escape(word)}</span>" + strip(f"{name}e{number}", f"{word} of {_label(item)}", "", pieces, duration_s)
        for number, (word, pieces) in enumerate(rows.items())
    ]
    return f'<div class="strip">{"".join(strips)}</div>' if strips else ""


def _label(item: TrackReport) -> str:
    return f"{item.track.name or item.track.source} of {item.track.participant_identity or 'unknown'}"

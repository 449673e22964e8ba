"""Parts of a report's page that come again: figures, legends, axes; and how figures are said. All names are escaped."""

from collections.abc import Mapping
from html import escape

from quality.report import ParticipantReport, TrackReport
from quality.report_time import as_clock, position, time_marks
from quality.score import ConnectionQuality


def plot_figure(name: str, legend: str, drawn: str, axis: tuple[str, str, str], *, bands: bool = False) -> str:
    """A plot with its caption and axis; `legend` is HTML."""
    marks = "".join(f"<span>{escape(mark)}</span>" for mark in axis)
    style = ' class="bands"' if bands else ""
    return (
        f'<figure><figcaption><b>{escape(name)}</b><span class="soft">{legend}</span></figcaption>'
        f'<div class="plot"><div class="axis" aria-hidden="true">{marks}</div><div{style}>{drawn}</div></div></figure>'
    )


def line_keys(*keys: tuple[str, str]) -> str:
    """The legend of lines: CSS class and name of each."""
    return " &nbsp; ".join(
        f'<span class="key"><span class="dot b-{style}"></span>{escape(name)}</span>' for style, name in keys
    )


def time_axis(duration_s: float) -> str:
    """The axis of time under plots and strips, with the marks that plots have."""
    marks = []
    for at_s in time_marks(duration_s):
        at = f"{100 * position(at_s, duration_s):.2f}%"
        # Moved back by as much of its own width: the first begins at the left edge, and none passes the right one.
        marks.append(f'<span style="left:{at};transform:translateX(-{at})">{as_clock(at_s)}</span>')
    return f'<div class="times" aria-hidden="true">{"".join(marks)}</div>'


def share_bar(shares: Mapping[str, float]) -> str:
    """Shares of time as a bar with its legend."""
    bars = "".join(
        f'<span class="b-{word}" style="flex:{share:.4f}"></span>' for word, share in shares.items() if share
    )
    items = "".join(
        f'<li><span class="dot b-{word}"></span>{word} {as_percent(share)}</li>'
        for word, share in shares.items()
        if share
    )
    return (
        f'<div class="shares" role="img" aria-label="{share_words(shares)}">{bars}</div><ul class="legend">{items}</ul>'
    )


def share_words(shares: Mapping[str, float]) -> str:
    """Shares of time in words."""
    return ", ".join(f"{word} {as_percent(share)}" for word, share in shares.items() if share) or "not known"


def tile_list(figures: Mapping[str, str]) -> str:
    """Figures with their names."""
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in figures.items())


def dot(quality: ConnectionQuality) -> str:
    """The colour of a word."""
    return f'<span class="dot b-{quality.value}"></span>'


def named(text: str) -> str:
    """What somebody named, escaped, and kept apart from the direction of the text around it."""
    return f"<bdi>{escape(text or 'unknown')}</bdi>"


def as_words(name: str) -> str:
    """A stable name as words."""
    return name.replace("_", " ")


def as_percent(share: float) -> str:
    """A share 0..1 in percent."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%" if share in {0.0, 1.0} or share >= 0.1 else f"{100 * share:.1f}%"


def as_bitrate(bps: float) -> str:
    """A rate."""
    return f"{bps / 1e6:.1f} Mb/s" if bps >= 999_500 else f"{bps / 1e3:.0f} kb/s"


def as_length(seconds: float) -> str:
    """How long something took."""
    if seconds < 60:
        return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def table_head(*names: str) -> str:
    """The head of a table with columns of these names."""
    cells = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"<thead><tr>{cells}</tr></thead>"


def verdict(item: TrackReport | ParticipantReport) -> str:
    """Word, score and MOS, at the head of a card; not of what was always muted: a score of 100 says nothing of it."""
    if not item.qualities:
        return '<span class="verdict"><span class="dot b-none"></span>muted all the time</span>'
    figures = f"{item.quality.value} · {item.score:.0f} · MOS {item.mos:.1f}"
    return f'<span class="verdict">{dot(item.quality)}{figures}</span>'

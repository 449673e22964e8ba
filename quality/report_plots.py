"""SVG plots of a report: lines over the recording's time, and strips of words. All text in them is escaped.

Plots stretch with the page (`preserveAspectRatio="none"`), so that no text is in them but their titles: axes are HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from math import floor, log10

from quality.report_time import as_span, position, time_marks

WIDTH = 1000.0
HEIGHT = 100.0
JOINED_S = 0.5  # samples are seldom so exactly a second apart that one begins where the other ends
MOST_SAID = 20  # pieces of a strip that a screen reader says; nobody listens to more
GAP_FACTOR = 1.6  # a point that comes so much later than the length it stands for follows a pause


@dataclass(frozen=True, slots=True)
class Value:
    """A figure that held from `begin_s` to `end_s`; None where it was not known."""

    begin_s: float
    end_s: float
    value: float | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a strip, in seconds of the recording. `style` is its CSS class and `text` what it says.

    Of `height`, 0..1, so that words are told apart without their colours.
    """

    begin_s: float
    end_s: float
    style: str
    text: str
    height: float = 1.0

    @property
    def said(self) -> str:
        """Its time and what it says."""
        return f"{as_span(self.begin_s, self.end_s)}: {self.text}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a plot; `style` is its CSS class, `stepped` draws each value as long as it held."""

    values: Sequence[Value]
    style: str
    filled: bool = False
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A background from `low` to `high` of the axis."""

    low: float
    high: float
    style: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot from 0 to `top` over `duration_s`. `title` and `description` are what screen readers say."""

    name: str
    title: str
    description: str
    duration_s: float
    top: float
    lines: Sequence[Line]
    bands: Sequence[Band] = ()

    def svg(self) -> str:
        """The plot as an SVG element."""
        parts = [self._band(band) for band in self.bands]
        parts += [f'<line class="rule" x1="0" x2="1000" y1="{y}" y2="{y}"/>' for y in (0.5, 50, 99.5)]
        for x in (f"{self._x(at_s):.1f}" for at_s in time_marks(self.duration_s)[1:]):
            parts.append(f'<line class="rule" x1="{x}" x2="{x}" y1="0" y2="100"/>')
        for line in self.lines:
            parts += self._line(line)
        return svg(self.name, self.title, self.description, "".join(parts), HEIGHT)

    def _band(self, band: Band) -> str:
        top, bottom = self._y(band.high), self._y(band.low)
        return f'<rect class="{band.style}" x="0" y="{top:.1f}" width="1000" height="{bottom - top:.1f}"/>'

    def _line(self, line: Line) -> list[str]:
        drawn = []
        for run in _runs(line.values):
            points = self._points(run, stepped=line.stepped)
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in _without_flat_middles(points))
            if line.filled:
                (first, _), (last, _) = points[0], points[-1]
                drawn.append(f'<polygon class="{line.style} area" points="{first:.1f},100 {path} {last:.1f},100"/>')
            drawn.append(f'<polyline class="{line.style}" points="{path}"/>')
        return drawn

    def _points(self, run: list[Value], *, stepped: bool) -> list[tuple[float, float]]:
        if stepped:
            return [(self._x(at), self._y(each.value)) for each in run for at in (each.begin_s, each.end_s)]
        first, last = run[0], run[-1]
        middle = [(self._x((each.begin_s + each.end_s) / 2), self._y(each.value)) for each in run]
        return [
            (self._x(first.begin_s), self._y(first.value)),
            *middle,
            (self._x(last.end_s), self._y(last.value)),
        ]

    def _x(self, at_s: float) -> float:
        return position(at_s, self.duration_s) * WIDTH

    def _y(self, value: float | None) -> float:
        return HEIGHT - min(1.0, max(0.0, (value or 0.0) / self.top)) * HEIGHT


def strip(name: str, title: str, description: str, pieces: Sequence[Piece], duration_s: float) -> str:
    """A strip of colours, in order of time; neighbours that say the same become one, unless there is a gap between."""
    parts, joined = [], _joined(pieces)
    for piece in joined:
        begin, end = position(piece.begin_s, duration_s) * WIDTH, position(piece.end_s, duration_s) * WIDTH
        height = piece.height * HEIGHT
        parts.append(
            f'<rect class="{piece.style}" x="{begin:.1f}" y="{HEIGHT - height:g}" width="{max(1.0, end - begin):.1f}" '
            f'height="{height:g}"><title>{escape(piece.said)}</title></rect>'
        )
    more = [f"and {len(joined) - MOST_SAID} more"] if len(joined) > MOST_SAID else []
    said = [text for text in (description, *(piece.said for piece in joined[:MOST_SAID]), *more) if text]
    return svg(name, title, "; ".join(said), "".join(parts), HEIGHT)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last and (last.style, last.text) == (piece.style, piece.text) and piece.begin_s - last.end_s <= JOINED_S:
            joined[-1] = replace(last, end_s=max(last.end_s, piece.end_s))
        else:
            joined.append(piece)
    return joined


def svg(name: str, title: str, description: str, body: str, height: float) -> str:
    """An SVG image with a title and a description; `name` makes their ids."""
    return (
        f'<svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 1000 {height:g}" preserveAspectRatio="none">'
        f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>{body}</svg>'
    )


def nice_top(largest: float) -> float:
    """A round number at or above `largest` for the top of an axis: 1, 2 or 5 times a power of ten, 1 for nothing."""
    if largest <= 0:
        return 1.0
    power = 10.0 ** floor(log10(largest))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= largest)


def _runs(values: Sequence[Value]) -> list[list[Value]]:
    """`values` where they are known, parted where nothing is known or a pause lies between."""
    runs: list[list[Value]] = []
    for before, each in pairwise([None, *values]):
        assert each is not None
        if each.value is None:
            continue
        if before is None or before.value is None or _is_apart(before, each):
            runs.append([])
        runs[-1].append(each)
    return runs


def _is_apart(before: Value, each: Value) -> bool:
    return each.begin_s - before.end_s > GAP_FACTOR * max(each.end_s - each.begin_s, 0.5)


def _without_flat_middles(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same line with fewer points: most of a calm recording is as before."""
    heights = [round(y, 1) for _, y in points]
    return [
        point
        for number, point in enumerate(points)
        if number in {0, len(points) - 1} or not heights[number - 1] == heights[number] == heights[number + 1]
    ]

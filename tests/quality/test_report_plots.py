"""Strips and lines of a report's page: what is drawn is what was, and no more than is needed."""

import re
from xml.etree import ElementTree

import pytest

from quality.report_plots import MOST_SAID, Line, Piece, Plot, Value, strip


def drawn(pieces: list[Piece], duration_s: float = 100.0) -> list[tuple[float, float, str]]:
    """Begin, end and what is said of each piece that is drawn."""
    svg = ElementTree.fromstring(strip("n", "title", "", pieces, duration_s))
    return [
        (
            float(each.get("x", "")),
            float(each.get("x", "")) + float(each.get("width", "")),
            each.findtext("title") or "",
        )
        for each in svg.iter("rect")
    ]


def word(begin_s: float, end_s: float, text: str = "good") -> Piece:
    return Piece(begin_s, end_s, text, text)


def test_neighbours_of_one_word_are_one_and_a_gap_between_them_stays_empty() -> None:
    pieces = [word(0, 10), word(10.1, 20), word(60, 70), word(70, 80, "poor")]
    assert drawn(pieces) == [
        (0.0, 200.0, "0:00 to 0:20: good"),
        (600.0, 700.0, "1:00 to 1:10: good"),
        (700.0, 800.0, "1:10 to 1:20: poor"),
    ]


def test_a_screen_reader_is_told_the_first_pieces_and_how_many_are_more() -> None:
    pieces = [word(at, at + 1, "good" if at % 2 else "poor") for at in range(MOST_SAID + 5)]
    description = ElementTree.fromstring(strip("n", "title", "in all", pieces, 100.0)).findtext("desc") or ""
    assert description.startswith("in all; 0:00 to 0:01: poor; 0:01 to 0:02: good; ")
    assert description.endswith("; and 5 more")


def lines(values: list[Value], *, stepped: bool = False) -> list[list[tuple[float, float]]]:
    """The points of each line of a plot from 0 to 100."""
    svg = Plot("n", "title", "about", 100.0, 100.0, [Line(values, "line", stepped=stepped)]).svg()
    return [
        [(float(x), float(y)) for x, y in (point.split(",") for point in path.split())]
        for path in re.findall(r'<polyline class="line" points="([^"]*)"', svg)
    ]


@pytest.mark.parametrize("stepped", [False, True])
def test_what_stays_as_it_is_costs_two_points(stepped: bool) -> None:
    calm = [Value(at, at + 2, 50.0) for at in range(0, 100, 2)]
    assert lines(calm, stepped=stepped) == [[(0.0, 50.0), (1000.0, 50.0)]]
    dip = [*calm[:20], Value(40, 42, 20.0), *calm[21:]]
    assert {y for _, y in lines(dip, stepped=stepped)[0]} == {50.0, 80.0}
    assert len(lines(dip, stepped=stepped)[0]) <= 8


def test_nothing_is_drawn_where_nothing_is_known() -> None:
    values = [Value(0, 10, 50.0), Value(10, 20, None), Value(20, 30, 50.0), Value(80, 90, 50.0)]
    assert [(path[0][0], path[-1][0]) for path in lines(values)] == [(0.0, 100.0), (200.0, 300.0), (800.0, 900.0)]

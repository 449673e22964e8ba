"""What commands print: a result on standard output, progress and errors on standard error.

Text for people may hold what others chose, as participants' names: it is never markup, and never controls a terminal.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from agent.printable import printable, printable_lines

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document (or line) instead of text.")]


class StepReporter(Protocol):
    """Shows how far a long piece of work is."""

    def __call__(self, text: str, fraction: float | None = None) -> None:
        """`text` says what is being done; `fraction` is 0 to 1 where known."""


def aligned(rows: list[list[str]]) -> list[str]:
    """`rows` as lines whose columns stand below each other, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


class Output:
    """Prints for a person (rich on a terminal, plain lines elsewhere) or for a program (`--json`)."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(file=sys.stdout, soft_wrap=not sys.stdout.isatty())
        self._err = Console(file=sys.stderr, soft_wrap=not sys.stderr.isatty())

    def document(self, value: Any) -> None:
        """`value` as one line of JSON on standard output, whatever the mode."""
        sys.stdout.write(json.dumps(to_jsonable_python(value)) + "\n")
        sys.stdout.flush()

    def text(self, line: str) -> None:
        """A line of the result; nothing with `--json`."""
        if not self.as_json:
            self._out.print(_plain(line))
            sys.stdout.flush()

    def note(self, line: str) -> None:
        """A line about what is going on; nothing with `--json`."""
        if not self.as_json:
            self._err.print(_plain(line))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table of the result, plain and never folded where nobody's terminal is; nothing with `--json`."""
        if self.as_json:
            return
        title, cells = printable(title), [[printable(str(cell)) for cell in row] for row in rows]
        if not self._out.is_terminal:
            for line in (title, *aligned([list(columns), *cells])):
                self.text(line)
            return
        heading = Text(title, style="table.title")
        table = Table(title=heading, title_justify="left", show_edge=False, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        self._out.print(table)

    @contextmanager
    def progress(self, title: str) -> Iterator[StepReporter]:
        """Progress of long work: a bar on a terminal, a line per new step elsewhere, nothing with `--json`."""
        if self.as_json:
            yield _silent
        elif not self._err.is_terminal:
            yield _PlainSteps(self, title)
        else:
            said = TextColumn("{task.description}", markup=False)
            columns = (SpinnerColumn(), said, BarColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self._err, transient=True) as progress:
                task = progress.add_task(printable(title), total=None)

                def report(text: str, fraction: float | None = None) -> None:
                    progress.update(
                        task,
                        description=printable(f"{title}: {text}"),
                        completed=fraction,
                        total=None if fraction is None else 1.0,
                    )

                yield report


class _PlainSteps:
    """One line per step, however often it is reported."""

    def __init__(self, output: Output, title: str) -> None:
        self._output = output
        self._title = title
        self._last = ""

    def __call__(self, text: str, fraction: float | None = None) -> None:
        if text != self._last:
            self._last = text
            self._output.note(printable(f"{self._title}: {text}"))


def _plain(line: str) -> Text:
    """Neither markup nor names of emoji nor numbers are looked for in a Text."""
    return Text(printable_lines(line))


def _silent(text: str, fraction: float | None = None) -> None:
    """Programs read the result, not the way there."""

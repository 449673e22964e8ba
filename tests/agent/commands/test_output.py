"""What commands print where no terminal is: plain lines for people, JSON for programs."""

import json
from pathlib import Path

import pytest

from agent.commands.output import Output, aligned


def test_a_table_is_plain_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 200
    Output(as_json=False).table("things", ("name", "count"), [("a", 1), (long, 23)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "things"
    assert lines[1].split() == ["name", "count"]
    assert lines[3] == f"{long}  23"
    assert lines[2].index("1") == lines[3].index("23")


def test_json_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    output.text("for people")
    output.note("for people")
    output.table("for people", ("a",), [("b",)])
    with output.progress("work") as report:
        report("step", 0.5)
    output.document({"path": Path("x"), "n": 1})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"path": "x", "n": 1}
    assert captured.err == ""


def test_progress_is_a_line_for_each_new_step(capsys: pytest.CaptureFixture[str]) -> None:
    with Output(as_json=False).progress("export") as report:
        for step, fraction in (("process", 0.1), ("process", 0.5), ("verify", 0.9)):
            report(step, fraction)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["export: process", "export: verify"]
    assert captured.out == ""


def test_columns_stand_below_each_other() -> None:
    assert aligned([["a", "bbb"], ["aaaa", "b"]]) == ["a     bbb", "aaaa  b"]

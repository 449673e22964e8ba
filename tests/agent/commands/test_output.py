"""What commands print: on a terminal, as plain lines elsewhere, and as JSON for programs."""

import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli import app
from agent.commands.export import print_status
from agent.commands.output import Output, aligned
from agent.commands.visit import Chatter, Visit
from agent.config import load_settings
from agent.request import RoomRequest
from agent.room.state import ConnectionState, RecordingStatus, RoomState, UndecryptableTrack
from media.export.job import ExportFormat, ExportRequest, ExportResult, ExportState, ExportStatus
from media.process.output import ExportOutput
from tests.agent.judged_recordings import Second, camera, judged_recording

HOSTILE = "bob[/b] [red]x :smile:\x1b[2J\x9b31m\u202e\nFAILED\r"
HARMLESS = "bob[/b] [red]x :smile:\\x1b[2J\\x9b31m\\u202e\\nFAILED\\r"
ACTING = ("\x1b[2J", "\x9b", "\u202e", "\nFAILED")


@contextmanager
def terminal() -> Iterator[Callable[[], str]]:
    """Standard output and error are a terminal; gives what it was sent so far, with the line ends that were printed."""
    shown, there = os.openpty()
    streams = [os.fdopen(each, "w", encoding="utf-8") for each in (there, os.dup(there))]

    def read() -> str:
        found = b""
        for stream in streams:
            stream.flush()
        while select.select([shown], [], [], 0.1)[0]:
            found += os.read(shown, 65_536)
        return found.decode().replace("\r\n", "\n")

    with pytest.MonkeyPatch.context() as patched:
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            patched.setattr(sys, name, stream)
        patched.setenv("TERM", "xterm-256color")
        patched.setenv("COLUMNS", "400")
        yield read
    for stream in streams:
        stream.close()
    os.close(shown)


def assert_harmless(shown: str) -> None:
    assert HARMLESS in shown
    assert not [each for each in ACTING if each in shown]


def say(output: Output) -> None:
    """A name in everything that is for people."""
    output.table(f"room {HOSTILE}", ("name", "count"), [(HOSTILE, 1)])
    with output.progress(f"room {HOSTILE}") as report:
        report(HOSTILE, 0.5)


def test_a_name_is_no_markup_and_controls_no_terminal() -> None:
    with terminal() as read:
        say(Output(as_json=False))
        shown = read()
    assert_harmless(shown)
    assert f"room {HARMLESS}: {HARMLESS}" in shown  # the progress


def test_a_name_controls_nothing_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say(Output(as_json=False))
    captured = capsys.readouterr()
    assert captured.out.splitlines()[::2] == [f"room {HARMLESS}", f"{HARMLESS}  1"]
    assert captured.err.splitlines() == [f"room {HARMLESS}: {HARMLESS}"]


def test_lines_of_text_stay_lines_and_nothing_in_them_acts() -> None:
    text, shown = "one [/b] :smile:\n\x1b[2Jtwo", "one [/b] :smile:\n\\x1b[2Jtwo\n"
    with terminal() as read:
        Output(as_json=False).text(text)
        Output(as_json=False).note(text)
        assert read() == shown * 2


def test_lines_of_plain_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).text("one [/b]\n\x1b[2Jtwo")
    Output(as_json=False).note("three\n\x1b[2J")
    assert capsys.readouterr() == ("one [/b]\n\\x1b[2Jtwo\n", "three\n\\x1b[2J\n")


def test_json_keeps_a_name_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).document({"name": HOSTILE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": HOSTILE}
    assert out.isascii()
    assert out.rstrip("\n").isprintable()


def test_a_recording_of_hostile_names_is_told_on_a_terminal(tmp_path: Path) -> None:
    def lossy(at: int) -> Second:
        return Second(loss=0.1 if at >= 10 else 0.0)

    path = judged_recording(tmp_path, "one", (camera(HOSTILE, lossy, name=HOSTILE, sid="TR_1"),), 40, room=HOSTILE)
    with terminal() as read:
        app(["recordings", "quality", str(path)], standalone_mode=False)
        app(["recordings", "show", str(path)], standalone_mode=False)
        shown = read()
    assert_harmless(shown)
    assert f"room {HARMLESS}" in shown


def test_an_exports_participants_control_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    result = ExportResult((ExportOutput(HOSTILE, "camera", "mp4", "a.mp4", 0.0, 1.0, (), (), ()),))
    request = ExportRequest(Path("one"), ExportFormat.MP4, Path("out"))
    print_status(Output(as_json=False), ExportStatus("EX_1", request, ExportState.COMPLETE, 0.0, 0.0, result=result))
    assert capsys.readouterr().out.splitlines()[1:] == [f"  {HARMLESS} camera: a.mp4  1.00 s"]


def test_tracks_that_were_not_recorded_control_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lost = UndecryptableTrack("TR_1", HOSTILE, "video", HOSTILE, "missing_key")
    status = RecordingStatus("one", "/one", "complete", 0.0, 0, 0, 0, 0, 0, undecryptable=(lost,))
    state = RoomState("room", "RM", "roomhand", ConnectionState.CONNECTED, 0.0, recording=status)
    Visit(load_settings(), RoomRequest("room"), Output(as_json=False), Chatter())._tell_left("asked to", state, state)
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"video {HARMLESS} of {HARMLESS}: not recorded")
    assert len(told) == 2


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

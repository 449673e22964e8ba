"""`roomhand recordings quality` of files that nobody should have: an answer, or one line that says what to do."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.quality_report import PAGE_NAME, REPORT_NAME, read_quality_report, write_quality_report
from media.errors import StorageError
from media.record.reader import QUALITY_NAME, read_recording
from tests.agent.commands.test_wrong_input import refused
from tests.agent.judged_recordings import Second, camera, judged_recording
from tests.quality.traces import EPOCH

SECONDS = 60


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A minute of a camera, the second half of which has loss; it has no report yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOMHAND_RECORDINGS_DIR", str(tmp_path / "recordings"))
    ada = camera("ada", lambda at: Second(loss=0.1 if at > 30 else 0.0))
    return judged_recording(tmp_path / "recordings", "one", (ada,), SECONDS)


def report_of(path: Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["recordings", "quality", path.name, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / QUALITY_NAME).read_text().splitlines()]


def rewrite(path: Path, lines: list[dict[str, Any]]) -> None:
    (path / QUALITY_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))


NO_LINE = (
    "recording one has no quality samples: no track was received, or its quality.jsonl is missing or has no whole "
    "line; a backup may have it"
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", NO_LINE),
        (b"\n\n", NO_LINE),
        (b'{"type":"track_qual', NO_LINE),
        (b"\0" * 10_000, NO_LINE),
        (bytes(range(256)) * 9, "none of the 9 lines in quality.jsonl of recording one is a quality sample of a track"),
        (b"[" * 100_000 + b"\n", "none of the 1 lines in quality.jsonl of recording one"),
    ],
    ids=["empty", "blank", "half a line", "zeros", "binary", "brackets"],
)
def test_samples_that_cannot_be_read(
    recording: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    (recording / QUALITY_NAME).write_bytes(content)
    code, message = refused(capsys, "recordings", "quality", "one")
    assert code == "quality_not_found"
    assert message.startswith(said)


def test_half_a_line_at_the_end_and_the_order_of_lines_change_nothing(recording: Path) -> None:
    before = report_of(recording)
    with (recording / QUALITY_NAME).open("ab") as file:
        file.write(b'{"type":"track_quality","at":18')
    assert report_of(recording) == before
    rewrite(recording, [*lines_of_whole(recording)][::-1])
    after = report_of(recording)
    assert after["unreadable_lines"] == 0
    (track,), (track_before,) = after["tracks"], before["tracks"]
    for name in ("track", "starts_at_s", "ends_at_s", "judged_s", "score_min", "packets_lost", "points"):
        assert track[name] == track_before[name], name
    assert [item["points"] for item in after["participants"]] == [item["points"] for item in before["participants"]]
    assert all(span["began_at_s"] <= span["ended_at_s"] <= SECONDS for span in track["patterns"])


def lines_of_whole(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / QUALITY_NAME).read_bytes().splitlines()[:-1]]


Break = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    "broken",
    [
        lambda line: line.update(at=float("nan")),
        lambda line: line.update(at=float("inf")),
        lambda line: line.update(at=-1.0),
        lambda line: line.update(at=EPOCH - 3600),
        lambda line: line.update(at=1e17),
        lambda line: line.update(at=10**400),
        lambda line: line.update(at="noon"),
        lambda line: line.update(at=None),
        lambda line: line.update(participant_identity="a\ud800"),
        lambda line: line["payload"].update(score=float("-inf")),
        lambda line: line["payload"].update(score=10**400),
        lambda line: line.update(payload=None),
    ],
    ids=["nan", "inf", "negative", "early", "late", "huge", "text", "null", "half", "score inf", "score", "none"],
)
def test_a_line_that_makes_no_sense_is_counted_and_left_out(recording: Path, broken: Break) -> None:
    """In place of the last sample of the track: the report ends before it."""
    before = report_of(recording)
    lines = lines_of(recording)
    last = max(number for number, line in enumerate(lines) if line["type"] == "track_quality")
    broken(lines[last])
    rewrite(recording, lines)
    after = report_of(recording)
    assert (before["unreadable_lines"], after["unreadable_lines"]) == (0, 1)
    assert after["tracks"][0]["points"] == before["tracks"][0]["points"][:-1]
    page = recording.parent / "page.html"
    assert CliRunner().invoke(app, ["recordings", "quality", "one", "--html", str(page)]).exit_code == 0
    assert page.read_text().startswith("<!doctype html>")


def test_a_pattern_whose_times_make_no_sense_is_left_out(recording: Path) -> None:
    lines = lines_of(recording)
    began = next(line for line in lines if line["type"] == "quality_pattern_began")
    began["payload"]["began_at"] = 1e17
    rewrite(recording, lines)
    assert report_of(recording)["unreadable_lines"] == 1


def test_a_folder_where_the_report_would_be_is_in_the_way_of_nobody_who_reads(recording: Path) -> None:
    before = report_of(recording)
    (recording / REPORT_NAME).mkdir()
    assert report_of(recording) == before
    with pytest.raises(StorageError, match="Is a directory; move away the folder that is where the file should be"):
        write_quality_report(recording, read_quality_report(read_recording(recording)))
    assert not [*recording.glob("*.part")]
    (recording / REPORT_NAME).rmdir()
    write_quality_report(recording, read_quality_report(read_recording(recording)))
    assert {path.name for path in recording.glob("quality*")} == {REPORT_NAME, PAGE_NAME, QUALITY_NAME}


def test_a_folder_where_the_samples_should_be_is_told(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recording / QUALITY_NAME).unlink()
    (recording / QUALITY_NAME).mkdir()
    assert refused(capsys, "recordings", "quality", "one") == (
        "storage_error",
        f"read {recording / QUALITY_NAME}: Is a directory; move away the folder that is where the file should be",
    )


def test_a_page_goes_into_a_file_only(recording: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for page in ("", ".", str(recording), str(tmp_path / "pipe")):
        code, message = refused(capsys, "recordings", "quality", "one", "--html", page)
        assert (code, message.partition(" is ")[2]) == (
            "invalid_settings",
            "a folder, or no regular file; give --html the name of a file",
        )
    assert (tmp_path / "pipe").is_fifo()
    assert refused(capsys, "recordings", "quality", "one", "--html", str(tmp_path / "none" / "page.html")) == (
        "invalid_settings",
        f"there is no folder {tmp_path / 'none'}; make it, or give --html another place",
    )
    code, message = refused(capsys, "recordings", "quality", "one", "--html", "p" * 300)
    assert (code, message.partition(": ")[2]) == ("storage_error", "File name too long; give a shorter name")


def test_a_folder_that_is_none_or_no_recording(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recording.parent / "two").mkdir()
    for name in ("two", "three", str(recording.parent / "four")):
        code, message = refused(capsys, "recordings", "quality", name)
        assert code == "recording_not_found"
        assert "roomhand recordings list" in message or "there is no" in message

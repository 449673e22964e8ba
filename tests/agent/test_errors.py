"""Every error has an exit code of its own, and people can look it up."""

import re
from pathlib import Path
from typing import get_args

import pytest

import agent.cli
import media.errors
from agent.api.errors import HTTP_CODES, OTHER_HTTP_CODE, UNAVAILABLE, UnavailableCode
from agent.errors import EXIT_CODES, HTTP_STATUSES, RoomhandError, exit_code, http_status
from media.errors import MediaError

DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"


def all_errors(base: type[RoomhandError | MediaError]) -> set[type[RoomhandError | MediaError]]:
    found = {base}
    for child in base.__subclasses__():
        found |= all_errors(child)
    return found


ERRORS = sorted(
    {item for item in all_errors(RoomhandError) | all_errors(MediaError) if item.__module__.split(".")[0] != "tests"},
    key=lambda item: item.__name__,
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda item: item.__name__)
def test_every_error_class_has_an_exit_code_and_a_status(error: type[RoomhandError | MediaError]) -> None:
    raised = error.__new__(error)  # some take more than a message
    assert exit_code(raised) == EXIT_CODES[error.code]
    assert 400 <= http_status(raised) <= 599


def test_no_two_codes_end_with_the_same_exit_code() -> None:
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
    assert all(0 < code < 256 for code in EXIT_CODES.values())


def test_the_document_lists_exactly_these_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = {code: (int(exit_), int(status)) for code, exit_, status in rows}
    assert documented == {code: (exit_, HTTP_STATUSES.get(code, 500)) for code, exit_ in EXIT_CODES.items()}


def test_the_document_lists_exactly_what_the_api_alone_answers_with() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+|others) \| \D", DOCUMENT.read_text(), re.MULTILINE)
    wanted = {
        **{code: str(status) for status, code in HTTP_CODES.items()},
        **dict.fromkeys(get_args(UnavailableCode), str(UNAVAILABLE)),
        OTHER_HTTP_CODE: "others",
    }
    assert dict(rows) == wanted
    assert not wanted.keys() & EXIT_CODES.keys()


def test_errors_are_reported_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    error = media.errors.RecordingNotFound("no recording there; list them with `roomhand recordings list`")
    assert agent.cli.report_error(error, as_json=False) == EXIT_CODES["recording_not_found"]
    assert capsys.readouterr().err.strip() == f"roomhand: {error} [recording_not_found]"
    agent.cli.report_error(error, as_json=True)
    assert '"code": "recording_not_found"' in capsys.readouterr().err


def test_what_others_say_in_an_error_controls_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    agent.cli.report_error(RoomhandError("its log ends:\n\tbob\x1b[2J\r"), as_json=False)
    assert capsys.readouterr().err == "roomhand: its log ends:\n\tbob\\x1b[2J\\r [internal]\n"

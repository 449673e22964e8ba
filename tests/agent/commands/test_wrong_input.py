"""What people type wrong ends in one line that says what to do, and in the documented exit code."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from agent.cli import main
from agent.errors import EXIT_CODES


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("LIVEKIT_URL", "ws://127.0.0.1:1"),
        ("LIVEKIT_API_KEY", "key"),
        ("LIVEKIT_API_SECRET", "a-secret-of-at-least-32-characters"),
        ("ROOMHAND_STATE_DIR", str(tmp_path / "state")),
        ("ROOMHAND_RECORDINGS_DIR", str(tmp_path / "recordings")),
    ):
        monkeypatch.setenv(name, value)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """Code and message of the error with which `roomhand` ends, in text and in JSON alike."""
    told = []
    for more in ((), ("--json",)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("sys.argv", ["roomhand", *arguments, *more])
            with pytest.raises(SystemExit) as ended:
                main()
        told.append((ended.value.code, capsys.readouterr().err))
    (exit_code, line), (exit_code_of_json, document) = told
    error = json.loads(document)["error"]
    assert line == f"roomhand: {error['message']} [{error['code']}]\n"
    assert exit_code == exit_code_of_json == EXIT_CODES[error["code"]]
    return error["code"], error["message"]


@pytest.mark.parametrize("command", ["show", "verify", "repair", "quality"])
def test_a_name_that_no_disk_takes_is_no_recording(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, message = refused(capsys, "recordings", command, "a" * 300)
    assert code == "recording_not_found"
    assert "File name too long; `roomhand recordings list` shows those there are" in message


@pytest.mark.parametrize(
    ("ttl", "said"),
    [
        ("99999999999d", "give at most 36500 days"),
        ("36501d", "give at most 36500 days"),
        ("9" * 400 + "s", "give at most 36500 days"),
        ("0s", "give 1s or more"),
        ("0.5s", "give 1s or more"),
    ],
)
@pytest.mark.parametrize("kind", [("--join", "--room", "r", "--identity", "i"), ("--grant", "roomList")])
def test_a_token_is_valid_for_a_second_to_a_hundred_years(
    capsys: pytest.CaptureFixture[str], ttl: str, said: str, kind: tuple[str, ...]
) -> None:
    code, message = refused(capsys, "token", *kind, "--ttl", ttl)
    assert code == "invalid_settings"
    assert said in message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--join", "--room", "r", "--identity", "i", "--grant", "roomAdmin"), "make one of each"),
        (("--grant", "roomList", "--hidden"), "give --join as well"),
    ],
)
def test_what_a_token_would_not_have_is_refused(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    code, message = refused(capsys, "token", *options)
    assert code == "invalid_settings"
    assert said in message


class Stranger(http.server.BaseHTTPRequestHandler):
    """A server of somebody else's; the room's name says how it answers."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {
        "page": (200, "<html>"),
        "moved": (301, ""),
        "missing": (404, "<html>"),
        "list": (200, "[]"),
        "object": (200, "{}"),
        "error": (500, '{"error": "broken"}'),
        "gone": (410, "null"),
        "deep": (200, "[" * 100_000),
    }

    def do_POST(self) -> None:
        status, body = self.answers[self.path.split("/")[3]]
        self.send_response(status)
        self.send_header("Location", "https://elsewhere.example/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def stranger() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("room", Stranger.answers)
def test_a_server_that_is_no_roomhand_is_told_as_one(
    capsys: pytest.CaptureFixture[str], stranger: str, room: str
) -> None:
    status, _ = Stranger.answers[room]
    assert refused(capsys, "recording", "pause", room, "--url", stranger) == (
        "server_unreachable",
        f"what answers at {stranger} (with {status}) is no roomhand; give its --url",
    )


@pytest.mark.parametrize(
    ("host", "url"), [("::1", "http://[::1]:1"), ("::", "http://[::1]:1"), ("127.0.0.1", "http://127.0.0.1:1")]
)
def test_the_service_is_asked_where_it_listens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    monkeypatch.setenv("ROOMHAND_HOST", host)
    monkeypatch.setenv("ROOMHAND_PORT", "1")
    code, message = refused(capsys, "recording", "pause", "r")
    assert (code, message.split(";")[0]) == ("server_unreachable", f"no service answers at {url}")


@pytest.mark.parametrize("url", ["ws://[::1:7880", "ws://host:99999", "ws://host:port", "ws://", "host:7880"])
def test_an_address_of_the_server_that_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LIVEKIT_URL", url)
    assert refused(capsys, "token", "--grant", "roomList") == (
        "invalid_settings",
        f"LIVEKIT_URL is {url!r}; give a ws:// or wss:// address, like ws://127.0.0.1:7880",
    )


def test_a_demo_has_a_folder_that_can_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "demo", "--out", "/proc/nope") == (
        "storage_error",
        "make /proc/nope: No such file or directory; check the disk",
    )


def test_a_file_that_nobody_thought_of_is_told_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("/proc/self/mem")  # an input/output error where it is read
    assert refused(capsys, "recordings", "list") == ("storage_error", "use a file: Input/output error; check the disk")


def test_settings_that_are_no_text_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(bytes(range(256)))
    assert refused(capsys, "recordings", "list") == (
        "invalid_settings",
        ".env is no UTF-8 text; write it as NAME=value lines, or move it away",
    )


def test_ctrl_c_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_folder: Path) -> None:
        raise KeyboardInterrupt  # as Python's own handler does, which a process in the background may not have

    monkeypatch.setattr("agent.commands.recordings.list_recordings", interrupted)
    assert refused(capsys, "recordings", "list") == ("interrupted", "stopped by a signal before it was done")


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_who_names_no_export_is_told_how_to_find_one(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert refused(capsys, "exports", command, "none") == (
        "export_not_found",
        "there is no export 'none' here; `roomhand exports list` shows those there are",
    )

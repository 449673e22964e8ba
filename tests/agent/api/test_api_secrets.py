"""What answers do not tell: where the service's folders are, and which recordings of other rooms there are."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agent.api.folders import Folders
from agent.errors import RoomhandError
from agent.room.state import ConnectionState, RecordingStatus, RoomState
from agent.service.protocol import StartRecording
from agent.service.room_child import RoomFault
from media.errors import ExportError, RecordingBusy, StorageError
from media.export.job import ExportFailure, ExportFormat, ExportRequest, ExportState, ExportStatus
from media.record.journal import JOURNAL_NAME
from media.record.manifest import MANIFEST_NAME
from media.record.repair import repair_recording
from tests.agent.api.fake_service import ALL_GRANTS, FakeService, bearer, make_recording

OF_A_RECORDING = (
    ("GET", "/v1/recordings/{}"),
    ("POST", "/v1/recordings/{}/verify"),
    ("GET", "/v1/recordings/{}/quality"),
    ("GET", "/v1/recordings/{}/quality.html"),
    ("GET", "/v1/recordings/{}/live"),
    ("GET", "/v1/recordings/{}/live/multivariant.m3u8"),
    ("GET", "/v1/recordings/{}/live/1/playlist.m3u8"),
    ("GET", "/v1/recordings/{}/live/1/000001.m4s"),
)
"""And `POST /v1/exports`, whose body names one."""


async def ask(client: httpx.AsyncClient, method: str, template: str, recording_id: str) -> tuple[int, str]:
    """Status and body, in which the id is the same for all."""
    answer = await client.request(method, template.format(recording_id))
    return answer.status_code, answer.text.replace(recording_id, "ID")


@pytest.mark.parametrize(("method", "template"), OF_A_RECORDING)
async def test_another_rooms_recording_is_as_one_that_is_not_there(
    api: FakeService, method: str, template: str
) -> None:
    make_recording(api, "rec-other", "other")
    damaged = make_recording(api, "rec-damaged", "other") / JOURNAL_NAME
    damaged.write_bytes(b"nonsense\n" + damaged.read_bytes())
    (make_recording(api, "rec-begun", "other") / JOURNAL_NAME).write_bytes(b"")
    async with api.client(bearer(replace(ALL_GRANTS, room="lobby"))) as client:
        status, text = await ask(client, method, template, "rec-none")
        assert status == 404
        assert '"recording_not_found"' in text
        assert "ID" in text
        for recording_id in ("rec-other", "rec-damaged", "rec-begun"):
            assert await ask(client, method, template, recording_id) == (status, text)


async def test_another_rooms_recording_cannot_be_told_apart_by_exporting_it(api: FakeService) -> None:
    make_recording(api, "rec-other", "other")
    async with api.client(bearer(replace(ALL_GRANTS, room="lobby"))) as client:
        answers = [await client.post("/v1/exports", json={"recording_id": name}) for name in ("rec-none", "rec-other")]
    assert {answer.status_code for answer in answers} == {404}
    assert answers[0].text.replace("rec-none", "") == answers[1].text.replace("rec-other", "")


async def test_ones_own_damaged_recording_is_told_as_such(api: FakeService) -> None:
    path = make_recording(api, "rec-1", "lobby")
    repair_recording(path)  # which writes a manifest
    assert (path / MANIFEST_NAME).exists()
    (path / JOURNAL_NAME).write_bytes(b"nonsense\n" + (path / JOURNAL_NAME).read_bytes())
    async with api.client(bearer(replace(ALL_GRANTS, room="lobby"))) as client:
        answer = await client.get("/v1/recordings/rec-1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "recording_damaged")


async def test_no_error_tells_a_folder_of_the_server(api: FakeService) -> None:
    journal = make_recording(api, "rec-1", "lobby") / JOURNAL_NAME
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    faults: tuple[RoomhandError | StorageError | RecordingBusy, ...] = (
        StorageError(f"open {journal}: Input/output error; check the disk"),
        RecordingBusy(f"{journal} is being written by another process; stop that one first"),
        StorageError(f"{api.folder / 'state' / 'exports.sqlite'}: database is locked; check the disk and the file"),
    )
    async with api.client(bearer()) as client:
        answers = [await client.get(f"/v1/recordings/{name}") for name in ("rec-1", "rec-none")]
        answers.append(await client.get("/v1/recordings/rec-none/live"))
        for fault in faults:
            api.rooms.fault = RoomFault(fault)
            answers.append(await client.put("/v1/rooms/lobby/subscriptions", json={}))
        api.rooms.fault = None
        answers += [await client.get(path) for path in ("/v1/rooms/none", "/v1/exports/EX_none", "/none")]
    assert [answer.status_code for answer in answers] == [409, 404, 404, 507, 409, 507, 404, 404, 404]
    assert [answer.text for answer in answers if str(api.folder) in answer.text] == []
    assert "recordings/rec-1/journal.jsonl" in answers[0].text
    assert "open recordings/rec-1/journal.jsonl: Input/output error" in answers[3].text
    assert "state/exports.sqlite: database is locked" in answers[5].text


async def test_no_answer_tells_a_folder_of_the_server(api: FakeService, tmp_path: Path) -> None:
    path = make_recording(api, "rec-1", "lobby")
    (api.folder / "recordings" / "rec-bad").mkdir()
    (api.folder / "recordings" / "rec-bad" / JOURNAL_NAME).write_bytes(b"nonsense\n")
    status = RecordingStatus("rec-1", str(path), "storage_error", 1.0, 0, 0, 0, 0, 0, "disk_full", f"write {path}: no")
    state = RoomState("lobby", "RM_1", "roomhand", ConnectionState.CONNECTED, 1.0, recording=status)
    api.rooms.views["lobby"] = replace(api.rooms.views["lobby"], error=f"open {path}: no", state=state)
    elsewhere = tmp_path / "shell"
    request = ExportRequest(path, ExportFormat.MP4, elsewhere / "out")
    failure = ExportFailure(ExportError.code, f"{elsewhere / 'out' / 'a.mp4'} exists with other content")
    api.exports.statuses["EX_1"] = ExportStatus("EX_1", request, ExportState.FAILED, 1.0, 2.0, error=failure)
    async with api.client(bearer()) as client:
        paths = ("/v1/rooms", "/v1/rooms/lobby", "/v1/recordings", "/v1/exports", "/v1/exports/EX_1")
        answers = [await client.get(path) for path in paths]
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.text for answer in answers if str(tmp_path) in answer.text] == []
    recording = answers[1].json()["state"]["recording"]
    assert (recording["path"], recording["error"]) == ("recordings/rec-1", "write recordings/rec-1: no")
    assert answers[1].json()["error"] == "open recordings/rec-1: no"
    assert {item["path"] for item in answers[2].json()} == {"recordings/rec-1", "recordings/rec-bad"}
    assert answers[4].json()["error"]["message"] == "export/a.mp4 exists with other content"


async def test_events_tell_no_folder_either(api: FakeService) -> None:
    from agent.api.events import _follow

    path = str(api.folder / "recordings" / "rec-1")
    api.service.events.append("recording_changed", "lobby", 1.0, {"status": {"path": path, "tracks": [path]}})
    sent = await anext(_follow(api.service, 0, ""))
    assert sent.data["status"] == {"path": "recordings/rec-1", "tracks": ["recordings/rec-1"]}


def test_only_whole_paths_of_the_folders_get_their_names() -> None:
    folders = Folders({"recordings": Path("/srv/a"), "exports": Path("/srv/a/out")})
    assert folders.hide("list /srv/a: no; /srv/a/out/x and /srv/ab, /srv/a-b; '/srv/a/one'") == (
        "list recordings: no; exports/x and /srv/ab, /srv/a-b; 'recordings/one'"
    )
    assert folders.hidden(StartRecording("/srv/a/x")) == StartRecording("recordings/x")
    assert folders.hidden({"at": 1.0, "list": ["/srv/a"], "none": None}) == {
        "at": 1.0,
        "list": ["recordings"],
        "none": None,
    }

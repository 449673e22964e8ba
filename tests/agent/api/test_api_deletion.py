"""Recordings and exports are deleted through the API: who may, what is refused, and what is told."""

from dataclasses import replace

import pytest
from prometheus_client import generate_latest

from media.export.job import ExportFormat, ExportRequest, ExportState, ExportStatus
from media.frames import Codec
from media.record.journal import JOURNAL_NAME
from media.record.reader import list_recordings
from tests.agent.api.fake_service import ALL_GRANTS, FakeService, bearer, make_recording
from tests.agent.api.test_api_live import LIVE, going_on
from tests.media.export.recordings import camera_and_microphone, write_recording


def kept(api: FakeService) -> set[str]:
    return {item.recording_id for item in list_recordings(api.service.recordings_dir)}


async def test_a_recording_is_deleted_told_of_and_forgotten(api: FakeService) -> None:
    path = make_recording(api, "rec-1", "lobby")
    make_recording(api, "rec-2", "lobby")
    async with api.client(bearer()) as client:
        assert (await client.delete("/v1/recordings/rec-1")).status_code == 204
        again = await client.delete("/v1/recordings/rec-1")
        assert (again.status_code, again.json()["error"]["code"]) == (404, "recording_not_found")
        assert [item["recording_id"] for item in (await client.get("/v1/recordings")).json()] == ["rec-2"]
    assert not path.exists()
    assert api.exports.forgotten == [path]
    (told,) = api.service.events.read_after(0).events
    assert (told.event, told.room, told.fields["recording_id"], told.fields["reason"]) == (
        "recording_deleted",
        "lobby",
        "rec-1",
        "requested",
    )
    text = generate_latest(api.service.metrics.registry).decode()
    assert 'roomhand_recordings_deleted_total{reason="requested"} 1.0' in text


async def test_one_that_is_in_use_is_not_deleted(api: FakeService) -> None:
    for name in ("rec-wanted", "rec-exported"):
        make_recording(api, name, "lobby")
    api.rooms.views["lobby"] = replace(api.rooms.views["lobby"], recording_id="rec-wanted")
    request = ExportRequest(api.service.recordings_dir / "rec-exported", ExportFormat.MP4, api.folder / "out")
    api.exports.statuses["EX_1"] = ExportStatus("EX_1", request, ExportState.ACTIVE, 1.0, 1.0)
    with going_on(api):
        async with api.client(bearer()) as client:
            for name, reason in (("rec-wanted", "stop"), ("rec-exported", "export"), ("one", "written")):
                answer = await client.delete(f"/v1/recordings/{name}")
                assert (answer.status_code, answer.json()["error"]["code"]) == (409, "recording_conflict")
                assert reason in answer.json()["error"]["message"]
    assert kept(api) == {"rec-wanted", "rec-exported", "one"}


async def test_only_ones_own_rooms_recordings_can_be_deleted(api: FakeService) -> None:
    make_recording(api, "rec-other", "other")
    (make_recording(api, "rec-damaged", "other") / JOURNAL_NAME).write_bytes(b"nonsense\n")
    (make_recording(api, "rec-bare", "other") / JOURNAL_NAME).unlink()
    async with api.client(bearer(replace(ALL_GRANTS, room="lobby"))) as client:
        answers = [await client.delete(f"/v1/recordings/rec-{n}") for n in ("none", "other", "damaged", "bare")]
        assert {answer.status_code for answer in answers} == {404}
        texts = {answer.text.replace(str(answer.url).rpartition("/")[2], "ID") for answer in answers}
        assert len(texts) == 1
    assert (api.service.recordings_dir / "rec-bare").exists()
    assert kept(api) == {"rec-other", "rec-damaged"}


@pytest.mark.parametrize("room", ["", "lobby"])
async def test_a_damaged_one_can_be_deleted_by_who_may_know_of_it(api: FakeService, room: str) -> None:
    path = write_recording(api.folder / "recordings" / "rec-1", camera_and_microphone(Codec.H264, 1.0))
    (path / JOURNAL_NAME).write_bytes(b"nonsense\n" + (path / JOURNAL_NAME).read_bytes())
    owner = list_recordings(path.parent)[0].room
    async with api.client(bearer(replace(ALL_GRANTS, room=room and owner))) as client:
        assert (await client.delete("/v1/recordings/rec-1")).status_code == 204
    assert not path.exists()


async def test_who_plays_it_is_told_that_it_is_gone(api: FakeService) -> None:
    write_recording(api.folder / "recordings" / "one", camera_and_microphone(Codec.H264))
    async with api.client(bearer()) as client:
        assert (await client.get(f"{LIVE}/2/playlist.m3u8")).status_code == 200
        assert (await client.delete("/v1/recordings/one")).status_code == 204
        for path in ("", "/multivariant.m3u8", "/2/playlist.m3u8", "/2/000001.m4s"):
            answer = await client.get(f"{LIVE}{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "recording_not_found")


async def test_delete_aborts_an_export_and_then_deletes_it(api: FakeService) -> None:
    make_recording(api, "rec-1", "lobby")
    async with api.client(bearer()) as client:
        path = (await client.post("/v1/exports", json={"recording_id": "rec-1"})).headers["location"]
        aborted = await client.delete(path)
        assert (aborted.status_code, aborted.json()["state"]) == (200, "aborted")
        assert (await client.get(path)).json()["state"] == "aborted"
        gone = await client.delete(path)
        assert (gone.status_code, gone.content) == (204, b"")
        for answer in (await client.delete(path), await client.get(path)):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "export_not_found")
        assert (await client.get("/v1/exports")).json() == []
    (told,) = api.service.events.read_after(0).events
    assert (told.event, told.fields) == (
        "export_deleted",
        {"export_id": path.rpartition("/")[2], "recording_id": "rec-1", "reason": "requested", "size_bytes": 0},
    )
    text = generate_latest(api.service.metrics.registry).decode()
    assert 'roomhand_exports_deleted_total{reason="requested"} 1.0' in text


async def test_only_ones_own_rooms_exports_can_be_deleted(api: FakeService) -> None:
    path = make_recording(api, "rec-1", "lobby")
    request = ExportRequest(path, ExportFormat.MP4, api.folder / "out")
    api.exports.statuses["EX_1"] = ExportStatus("EX_1", request, ExportState.COMPLETE, 1.0, 1.0)
    async with api.client(bearer(replace(ALL_GRANTS, room="other"))) as client:
        assert (await client.delete("/v1/exports/EX_1")).status_code == 404
    assert "EX_1" in api.exports.statuses

"""The service with real rooms: a process each, recordings that go on, an orderly end."""

import asyncio
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.credentials import Credentials
from agent.errors import EXIT_CODES
from media.frames import MediaKind
from media.record.entries import GapReason, RecordingState
from media.record.reader import RecordingView, read_recording
from media.record.verify import verify_recording
from tests.integration.participants import room_name
from tests.integration.publishing import Publisher
from tests.integration.serving import ROOMHAND, WAIT_S, Serving, service_environment, serving

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]


def recorded_frames(room: dict[str, Any]) -> int:
    """Frames in the room's recording by its current process."""
    state = room["state"]
    recording = state and state["recording"]
    return int(recording["frames"]) if recording and recording["state"] == "recording" else 0


async def scraped(service: Serving) -> dict[tuple[str, ...], float]:
    """The service's metrics by name and sorted label values."""
    answer = await service.client.get("/metrics")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_a_killed_room_goes_on_in_its_recording_and_sigterm_drains(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    one, two = room_name(), room_name()
    async with (
        serving(livekit_server, tmp_path) as service,
        Publisher(livekit_server, one),
        Publisher(livekit_server, two),
    ):
        for name in (one, two):
            answer = await service.client.post("/v1/rooms", json={"room": name, "record": True})
            assert answer.status_code == 201, answer.text
        before = await service.until(one, lambda room: recorded_frames(room) > 100)
        other = await service.until(two, lambda room: recorded_frames(room) > 100)
        assert before["process_id"] != other["process_id"]

        killed_at = time.time()
        os.kill(before["process_id"], signal.SIGKILL)
        after = await service.until(one, lambda room: room["restarts"] == 1 and recorded_frames(room) > 100)
        assert after["process_id"] != before["process_id"]
        assert after["recording_id"] == before["recording_id"] == after["state"]["recording"]["recording_id"]
        other_after = await service.room(two)
        assert (other_after["process_id"], other_after["restarts"]) == (other["process_id"], 0)
        assert recorded_frames(other_after) > recorded_frames(other)

        metrics = await scraped(service)
        assert metrics["roomhand_room_restarts_total",] == 1
        assert metrics["roomhand_rooms", "running"] == 2
        assert metrics["roomhand_recordings", "recording"] == 2
        assert metrics["roomhand_packets_received_total", "tap", "video"] > 0
        assert metrics["roomhand_recording_frames_total", "audio"] > 100
        assert metrics["roomhand_subscriptions", "audio", "tap"] == 2

        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), WAIT_S) == 0
    for shown in (after, other_after):
        path = tmp_path / "recordings" / shown["recording_id"]
        assert read_recording(path).state is RecordingState.COMPLETE
        assert verify_recording(path).problems == ()
    went_on = read_recording(tmp_path / "recordings" / after["recording_id"])
    assert restart_gaps(went_on)
    assert {track.descriptor.kind for track in went_on.tracks} == {MediaKind.AUDIO, MediaKind.VIDEO}
    for track in went_on.tracks:
        assert track.segments[0].closed_at < killed_at or track.segments[0].recovered
        assert track.segments[-1].closed_at > killed_at
    assert not restart_gaps(read_recording(tmp_path / "recordings" / other_after["recording_id"]))
    assert livekit_server.api_secret not in service.log.read_text()
    assert "Traceback" not in service.log.read_text()


def restart_gaps(view: RecordingView) -> int:
    """How often its writer was not running."""
    return sum(gap.reason is GapReason.RESTART for track in view.tracks for gap in track.gaps)


async def test_the_api_works_in_a_real_room(livekit_server: Credentials, tmp_path: Path) -> None:
    name = room_name()
    async with serving(livekit_server, tmp_path) as service, Publisher(livekit_server, name, width=960, height=540):
        room = f"/v1/rooms/{name}"
        started = await service.client.post("/v1/rooms", json={"room": name, "policy": {"rules": [{"kind": "video"}]}})
        assert started.status_code == 201, started.text
        shown = await service.until(name, lambda item: item["state"] and len(item["state"]["tracks"]) == 2)
        video = next(track for track in shown["state"]["tracks"] if track["kind"] == "video")

        layer = await service.client.put(f"{room}/tracks/{video['sid']}/layer", json={"quality": "low"})
        assert (layer.json()["quality"], layer.json()["quality_pinned"]) == ("low", True)
        off = await service.client.put(f"{room}/tracks/{video['sid']}/subscription", json={"subscribed": False})
        assert off.status_code == 200, off.text
        unknown = await service.client.put(f"{room}/tracks/TR_none/subscription", json={"subscribed": True})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "track_not_found")

        published = (await service.client.post(f"{room}/publications", json={"source": "pattern"})).json()
        assert {item["kind"] for item in published} == {"audio", "video"}
        muted = await service.client.patch(f"{room}/publications/{published[0]['sid']}", json={"muted": True})
        assert muted.json()["muted"] is True
        assert (await service.client.delete(f"{room}/publications/{published[0]['sid']}")).status_code == 204
        for path, body in (("data", {"payload": "AAE="}), ("text", {"text": "hello"})):
            assert (await service.client.post(f"{room}/{path}", json=body)).status_code == 204

        recording = (await service.client.post(f"{room}/recording")).json()
        await service.until(name, lambda item: recorded_frames(item) > 50)
        stopped = (await service.client.delete(f"{room}/recording")).json()
        assert (stopped["recording_id"], stopped["state"]) == (recording["recording_id"], "complete")
        detail = (await service.client.get(f"/v1/recordings/{recording['recording_id']}")).json()
        assert (detail["room"], detail["state"]) == (name, "complete")
        verified = (await service.client.post(f"/v1/recordings/{recording['recording_id']}/verify")).json()
        assert verified["problems"] == []

        export = await service.client.post("/v1/exports", json={"recording_id": recording["recording_id"]})
        assert export.status_code == 202, export.text
        done = await ended_export(service, export.headers["location"])
        assert done["state"] == "complete", done
        file = done["outputs"][0]["files"][0]
        assert len((await service.client.get(file["url"])).content) == file["size_bytes"]

        assert (await service.client.delete(room)).status_code == 204
        assert (await service.client.get(room)).status_code == 404


async def refusal(service: Serving) -> str:
    """The code with which a room is refused: at once, or on a busy machine once it was tried."""
    name = room_name()
    answer = await service.client.post("/v1/rooms", json={"room": name})
    if answer.status_code == 201:
        return str((await service.until(name, lambda room: room["error_code"]))["error_code"])
    assert answer.status_code == 502, answer.text
    assert (await service.client.get("/v1/rooms")).json() == []
    return str(answer.json()["error"]["code"])


async def ended_export(service: Serving, path: str) -> dict[str, Any]:
    """The export once nothing moves it any more."""
    async with asyncio.timeout(WAIT_S):
        while (shown := (await service.client.get(path)).json())["state"] in {"queued", "active"}:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    return dict(shown)


async def test_a_room_the_server_refuses_is_one_clear_error(livekit_server: Credentials, tmp_path: Path) -> None:
    wrong = Credentials(livekit_server.url, livekit_server.api_key, "a-wrong-secret-of-32-characters-x")
    async with serving(wrong, tmp_path) as service:
        assert await refusal(service) == "unauthorized"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = Credentials(
            f"ws://127.0.0.1:{free.getsockname()[1]}", livekit_server.api_key, livekit_server.api_secret
        )
        (tmp_path / "nowhere").mkdir()
        async with serving(nowhere, tmp_path / "nowhere") as service:
            assert await refusal(service) == "server_unreachable"


async def test_a_taken_port_ends_the_command_with_its_own_exit_code(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await asyncio.create_subprocess_exec(
            *ROOMHAND,
            "serve",
            "--port",
            str(taken.getsockname()[1]),
            env=service_environment(livekit_server, tmp_path),
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
        )
        _, printed = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == EXIT_CODES["port_in_use"]
    assert "Traceback" not in printed.decode()
    assert "is taken" in printed.decode()

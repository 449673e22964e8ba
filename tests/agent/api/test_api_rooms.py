"""Rooms, tracks, publications and recordings through the API: what is asked for, what is answered."""

import base64
import json
from pathlib import Path

import pytest

from agent.errors import ServerUnreachable, Unauthorized
from agent.room.publish_options import PublishOptions
from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
from agent.service.protocol import (
    Publish,
    SendData,
    SendText,
    SetEncryptionKey,
    SetLayer,
    SetMuted,
    SetPolicy,
    SetSubscribed,
    Unpublish,
)
from agent.service.room_child import RoomFault
from quality.stats import TrackKind, TrackSource, VideoQuality
from tests.agent.api.fake_service import FakeService, bearer, make_recording


async def test_a_room_is_started_listed_and_ended(api: FakeService) -> None:
    body = {
        "room": "Stand-up ☕",
        "attributes": {"team": "a"},
        "publish": "pattern",
        "policy": {"rules": [{"kind": "audio"}], "default": "ignore"},
    }
    async with api.client(bearer()) as client:
        started = await client.post("/v1/rooms", json=body)
        assert started.status_code == 201
        assert started.json()["phase"] == "running"
        assert started.headers["location"].startswith("/v1/rooms/Stand-up")
        assert (await client.get(started.headers["location"])).json() == started.json()
        assert [item["room"] for item in (await client.get("/v1/rooms")).json()] == ["lobby", "Stand-up ☕"]
        again = await client.post("/v1/rooms", json=body)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "room_conflict")
        assert (await client.delete("/v1/rooms/Stand-up ☕")).status_code == 204
        gone = await client.get("/v1/rooms/Stand-up ☕")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "room_not_found")
    (options,) = api.rooms.started
    assert (options.publish, options.attributes) == ("pattern", {"team": "a"})
    assert options.policy == SubscriptionPolicy((SubscriptionRule(kind=TrackKind.AUDIO),), SubscribeAction.IGNORE)


async def test_commands_reach_the_room_as_they_were_meant(api: FakeService) -> None:
    (api.folder / "sources").mkdir()
    clip = api.folder / "sources" / "clip.mp4"
    clip.touch()
    rule = {"source": "screen_share", "attributes": {"b": "2", "a": "1*"}, "quality": "low", "max_tracks": 2}
    async with api.client(bearer()) as client:
        room = "/v1/rooms/lobby"
        answers = [
            await client.put(f"{room}/subscriptions", json={"rules": [rule], "max_tracks": 9}),
            await client.put(f"{room}/tracks/TR_1/subscription", json={"subscribed": None}),
            await client.put(f"{room}/tracks/TR_1/layer", json={"quality": "low", "target": "tap"}),
            await client.post(f"{room}/publications", json={"source": "clip.mp4", "track_source": "screen_share"}),
            await client.patch(f"{room}/publications/TR_2", json={"muted": True}),
            await client.patch(f"{room}/publications/camera", json={"muted": False}),
            await client.delete(f"{room}/publications/TR_2"),
            await client.post(f"{room}/data", json={"payload": "AP8=", "destination_identities": ["a"]}),
            await client.post(f"{room}/text", json={"text": "hello"}),
            await client.put(f"{room}/e2ee-key", json={"key": "open sesame", "key_index": 3}),
        ]
    assert [answer.status_code for answer in answers] == [204, 200, 200, 201, 200, 200, 204, 204, 204, 204]
    assert answers[2].json()["sid"] == "TR_1"
    assert answers[3].json()[0]["sid"] == "TR_2"
    expected_rule = SubscriptionRule(
        source=TrackSource.SCREEN_SHARE,
        attributes=(("a", "1*"), ("b", "2")),
        max_tracks=2,
        quality=VideoQuality.LOW,
    )
    assert api.rooms.commands == [
        SetPolicy(SubscriptionPolicy((expected_rule,), max_tracks=9)),
        SetSubscribed("TR_1", None),
        SetLayer("TR_1", "low", "tap"),
        Publish(str(clip.resolve()), PublishOptions(source=TrackSource.SCREEN_SHARE)),
        SetMuted("TR_2", True),
        SetMuted("camera", False),
        Unpublish("TR_2"),
        SendData(b"\x00\xff", "", True, ("a",)),
        SendText("hello", "lk.chat", ()),
        SetEncryptionKey("open sesame", None, 3),
    ]


async def test_keys_for_end_to_end_encryption_are_taken_and_never_given_back(api: FakeService) -> None:
    body = {"room": "secret", "e2ee_key": "open sesame", "e2ee_participant_keys": {"bob": "base64:AAAA"}}
    async with api.client(bearer()) as client:
        answers = [
            await client.post("/v1/rooms", json=body),
            await client.get("/v1/rooms/secret"),
            await client.post("/v1/rooms/secret/recording", json={"e2ee_key": "open sesame"}),
            await client.post("/v1/rooms", json=body | {"e2ee_key": ["open sesame"]}),
            await client.put("/v1/rooms/secret/e2ee-key", json={"key": "open sesame", "key_index": 16}),
        ]
    assert [answer.status_code for answer in answers] == [201, 200, 201, 422, 422]
    assert not any("sesame" in answer.text or "AAAA" in answer.text for answer in answers)
    (options,) = api.rooms.started
    assert (options.e2ee_key, options.e2ee_participant_keys) == ("open sesame", {"bob": "base64:AAAA"})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/rooms", {}),
        ("POST", "/v1/rooms", {"room": ""}),
        ("POST", "/v1/rooms", {"room": "a/../b"}),
        ("POST", "/v1/rooms", {"room": ".."}),
        ("POST", "/v1/rooms", {"room": "a\nb"}),
        ("POST", "/v1/rooms", {"room": "x" * 257}),
        ("POST", "/v1/rooms", {"room": 7}),
        ("POST", "/v1/rooms", {"room": "a", "recording_id": "../other"}),
        ("POST", "/v1/rooms", {"room": "a", "surprise": 1}),
        ("POST", "/v1/rooms", {"room": "a", "record": "yes"}),
        ("POST", "/v1/rooms", []),
        ("PUT", "/v1/rooms/lobby/tracks/TR_1/layer", {"quality": "ultra"}),
        ("PUT", "/v1/rooms/lobby/tracks/TR_1/layer", {"quality": "low", "target": "moon"}),
        ("PUT", "/v1/rooms/lobby/tracks/TR_1/subscription", {}),
        ("PUT", "/v1/rooms/lobby/subscriptions", {"rules": [{}] * 101}),
        ("POST", "/v1/rooms/lobby/publications", {"source": "pattern", "max_fps": 0}),
        ("POST", "/v1/rooms/lobby/publications", {"source": "pattern", "name": "x" * 300}),
        ("POST", "/v1/rooms/lobby/data", {"payload": "not base64!"}),
        ("POST", "/v1/rooms/lobby/data", {"payload": "abc"}),
        ("POST", "/v1/rooms/lobby/text", {"text": ""}),
        ("POST", "/v1/rooms/lobby/recording", {"recording_id": ".hidden"}),
        ("GET", "/v1/recordings/..%2F..%2Fetc", None),
        ("GET", "/v1/recordings/.git", None),
        ("POST", "/v1/exports", {"recording_id": "rec", "format": "avi"}),
    ],
)
async def test_bad_input_gets_one_clear_error(api: FakeService, method: str, path: str, body: object) -> None:
    async with api.client(bearer()) as client:
        answer = await client.request(method, path, json=body)
    error = answer.json()["error"]
    assert answer.status_code in {404, 422}
    assert error["code"] == ("not_found" if "%2F" in path else "invalid_settings")
    assert error["message"]
    assert api.rooms.commands == []


async def test_what_http_itself_finds_wrong_has_the_same_body(api: FakeService) -> None:
    async with api.client(bearer()) as client:
        for answer, status, code in (
            (await client.get("/nowhere"), 404, "not_found"),
            (await client.put("/v1/rooms"), 405, "method_not_allowed"),
            (await client.post("/v1/rooms", content=b"{"), 422, "invalid_settings"),
            (await client.post("/v1/rooms", content=b" " * (2 << 20)), 413, "body_too_large"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_the_servers_refusal_is_not_the_callers_fault(api: FakeService) -> None:
    for error, code in ((Unauthorized("the key"), "unauthorized"), (ServerUnreachable("no"), "server_unreachable")):
        api.rooms.fault = RoomFault(error)
        async with api.client(bearer()) as client:
            answer = await client.post("/v1/rooms", json={"room": "new"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, code)


async def test_unknown_tracks_and_publications_are_not_found(api: FakeService) -> None:
    async with api.client(bearer()) as client:
        for answer in (
            await client.put("/v1/rooms/lobby/tracks/TR_9/layer", json={"quality": None}),
            await client.delete("/v1/rooms/lobby/publications/TR_9"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "track_not_found")


async def test_sources_come_from_one_folder_only(api: FakeService) -> None:
    sources = api.folder / "sources"
    (sources / "deep").mkdir(parents=True)
    (api.folder / "secret.mp4").touch()
    (sources / "link.mp4").symlink_to(api.folder / "secret.mp4")
    (sources / "deep" / "clip.mp4").touch()
    async with api.client(bearer()) as client:
        for source, status in (
            ("deep/clip.mp4", 201),
            ("deep/../deep/clip.mp4", 201),
            ("../secret.mp4", 422),
            (str(api.folder / "secret.mp4"), 422),
            ("link.mp4", 422),
            ("/etc/passwd", 422),
            ("file:///etc/passwd", 422),
            ("http://127.0.0.1/x", 422),
            ("a\x00b", 422),
            (".", 422),
            ("x" * 1000, 422),
        ):
            for path, body in (
                ("/v1/rooms/lobby/publications", {"source": source}),
                ("/v1/rooms", {"room": f"r{len(api.rooms.started)}", "publish": source}),
            ):
                answer = await client.post(path, json=body)
                assert answer.status_code == status, (source, answer.text)


async def test_a_recording_is_started_once_and_stopped(api: FakeService) -> None:
    path = "/v1/rooms/lobby/recording"
    async with api.client(bearer()) as client:
        assert (await client.delete(path)).json()["error"]["code"] == "recording_conflict"
        started = await client.post(path)
        assert (started.status_code, started.json()["state"]) == (201, "recording")
        assert (await client.post(path)).status_code == 409
        assert (await client.delete(path)).json()["state"] == "complete"
        assert (await client.post(path, json={"recording_id": "mine"})).json()["recording_id"] == "mine"


async def test_a_room_cannot_go_on_with_another_rooms_recording(api: FakeService) -> None:
    make_recording(api, "rec-other", "other")
    make_recording(api, "rec-lobby", "lobby")
    async with api.client(bearer()) as client:
        stolen = await client.post("/v1/rooms/lobby/recording", json={"recording_id": "rec-other"})
        assert (stolen.status_code, stolen.json()["error"]["code"]) == (409, "recording_conflict")
        stolen = await client.post("/v1/rooms", json={"room": "new", "recording_id": "rec-other"})
        assert stolen.status_code == 409
        assert (await client.post("/v1/rooms/lobby/recording", json={"recording_id": "rec-lobby"})).status_code == 201


async def test_recordings_are_listed_and_shown(api: FakeService) -> None:
    make_recording(api, "rec-1", "lobby")
    (api.folder / "recordings" / "rec-bad").mkdir()
    (api.folder / "recordings" / "rec-bad" / "journal.jsonl").write_bytes(b"nonsense\n")
    async with api.client(bearer()) as client:
        listed = {item["recording_id"]: item for item in (await client.get("/v1/recordings")).json()}
        assert listed["rec-1"]["state"] == "complete"
        assert listed["rec-bad"]["problem"]
        shown = (await client.get("/v1/recordings/rec-1")).json()
        assert (shown["room"], shown["started_at"], shown["ended_at"], shown["tracks"]) == ("lobby", 100.0, 160.0, [])
        missing = await client.get("/v1/recordings/rec-none")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "recording_not_found")
        damaged = await client.get("/v1/recordings/rec-bad")
        assert (damaged.status_code, damaged.json()["error"]["code"]) == (409, "recording_damaged")
        verified = (await client.post("/v1/recordings/rec-1/verify")).json()
        assert verified["recording_id"] == "rec-1"
        assert [item["code"] for item in verified["problems"]] == ["manifest_missing"]


async def test_data_packets_may_have_63600_bytes_with_topic_and_destinations(api: FakeService) -> None:
    async with api.client(bearer()) as client:
        for size, topic, status in ((63_600, "", 204), (63_601, "", 422), (63_600, "t", 422)):
            payload = base64.b64encode(b"x" * size).decode()
            answer = await client.post("/v1/rooms/lobby/data", json={"payload": payload, "topic": topic})
            assert answer.status_code == status


async def test_the_description_names_grants_and_the_one_error_body(api: FakeService) -> None:
    async with api.client(bearer()) as client:
        described = (await client.get("/openapi.json")).json()
    assert "HTTPValidationError" not in json.dumps(described)
    for path, methods in described["paths"].items():
        for operation in methods.values():
            guarded = path not in {"/healthz", "/readyz"}
            assert ("x-required-grant" in operation) == guarded == ("security" in operation)
            assert operation["description"] or operation["summary"]
    assert described["components"]["securitySchemes"]["livekit_token"]["scheme"] == "bearer"


def test_nothing_of_this_machine_is_in_the_description(api: FakeService) -> None:
    assert str(Path.cwd()) not in json.dumps(api.app.openapi())

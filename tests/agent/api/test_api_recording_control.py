"""Control of a room's recording through the API: what is recorded, when it ends, pauses."""

from typing import Any

import pytest

from agent.room.recording_plan import LayerPolicy, RecordingPlan, RecordWhen, StopConditions
from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
from agent.service.protocol import ChangeRecording, PauseRecording, ResumeRecording, StartRecording
from agent.tokens import ServiceGrants
from quality.stats import VideoQuality
from tests.agent.api.fake_service import FakeService, bearer

PATH = "/v1/rooms/lobby/recording"
POLICY = {"rules": [{"participant": "ada", "max_fps": 10}, {"sid": "TR_x*"}], "default": "ignore"}
PLAN = {
    "when": "published",
    "stop": {"empty_s": 30, "silent_s": 2.5, "size_bytes": 10**9},
    "layers": {"quality": "medium", "budget_bps": 3_000_000, "focus": ["host*"], "max_fps": 15},
    "leave_when_stopped": True,
}
WANTED_POLICY = SubscriptionPolicy(
    (SubscriptionRule(participant="ada", max_fps=10), SubscriptionRule(sid="TR_x*")), SubscribeAction.IGNORE
)
WANTED_PLAN = RecordingPlan(
    RecordWhen.PUBLISHED,
    StopConditions(empty_s=30, silent_s=2.5, size_bytes=10**9),
    leave_when_stopped=True,
    layers=LayerPolicy(VideoQuality.MEDIUM, 3_000_000, ("host*",), 15),
)


async def test_a_room_is_started_with_a_policy_and_a_plan(api: FakeService) -> None:
    body = {"room": "a", "record": True, "record_policy": POLICY, "recording_plan": PLAN}
    async with api.client(bearer()) as client:
        answer = await client.post("/v1/rooms", json=body)
        assert answer.status_code == 201, answer.text
    (options,) = api.rooms.started
    assert (options.record_policy, options.recording_plan) == (WANTED_POLICY, WANTED_PLAN)


async def test_a_plan_by_which_a_recording_begins_asks_for_one(api: FakeService) -> None:
    body = {"room": "a", "recording_plan": {"when": "published"}}
    async with api.client(bearer()) as client:
        assert (await client.post("/v1/rooms", json=body)).status_code == 201
        refused = await client.post("/v1/rooms", json=body | {"room": "b", "record": False})
        assert refused.status_code == 422
        assert "record is false" in refused.text
        assert (await client.post("/v1/rooms", json={"room": "c", "recording_plan": {"when": "now"}})).is_success
    assert [(options.room, record) for options, record in api.rooms.asked] == [("a", True), ("c", False)]


async def test_a_recording_is_started_changed_paused_and_resumed(api: FakeService) -> None:
    async with api.client(bearer()) as client:
        started = await client.post(PATH, json={"policy": POLICY, "plan": PLAN, "paused": True})
        assert started.status_code == 201, started.text
        assert (await client.patch(PATH, json={"plan": {}})).status_code == 200
        assert (await client.post(f"{PATH}/pause")).status_code == 200
        assert (await client.post(f"{PATH}/resume")).status_code == 200
    assert api.rooms.commands == [
        StartRecording("", WANTED_POLICY, WANTED_PLAN, paused=True),
        ChangeRecording(plan=RecordingPlan()),
        PauseRecording(),
        ResumeRecording(),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", PATH, {"plan": {"stop": {"empty_s": 0}}}),
        ("PATCH", PATH, {"plan": {"stop": {"size_bytes": -1}}}),
        ("PATCH", PATH, {"plan": {"stop": {"boring_s": 5}}}),
        ("PATCH", PATH, {"plan": {"when": "later"}}),
        ("PATCH", PATH, {"plan": {"layers": {"quality": "best"}}}),
        ("PATCH", PATH, {"plan": {"layers": {"budget_bps": 0}}}),
        ("PATCH", PATH, {"plan": {"layers": {"max_fps": 0}}}),
        ("POST", "/v1/rooms", {"room": "a", "policy": {"rules": [{"max_fps": 10}]}}),
        ("PATCH", PATH, {"policy": {"rules": [{"track": "x"}]}}),
        ("PATCH", PATH, {"paused": True}),
        ("POST", PATH, {"paused": "yes"}),
        ("POST", "/v1/rooms", {"room": "a", "recording_plan": {"stop": {"silent_s": "soon"}}}),
    ],
)
async def test_what_makes_no_sense_is_refused(api: FakeService, method: str, path: str, body: dict[str, Any]) -> None:
    async with api.client(bearer()) as client:
        answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_settings")
    assert api.rooms.commands == []


@pytest.mark.parametrize(("method", "path"), [("PATCH", PATH), ("POST", f"{PATH}/pause"), ("POST", f"{PATH}/resume")])
async def test_control_needs_the_grant_and_a_room(api: FakeService, method: str, path: str) -> None:
    async with api.client(bearer(ServiceGrants(room_admin=True, room_list=True, room_create=True))) as client:
        answer = await client.request(method, path, json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    async with api.client(bearer()) as client:
        answer = await client.request(method, path.replace("lobby", "nowhere"), json={})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "room_not_found")

"""docs/api.md and the README: bodies that they show are taken, and figures are those of the code."""

import json
import re
from pathlib import Path

import pytest

from agent.api.auth import MAX_BODY_BYTES
from agent.api.live import HELD_TARGETS
from agent.api.live_recordings import LiveSettings
from agent.api.models import RecordPolicyBody
from agent.service.room_child import COMMAND_TIMEOUT_S
from agent.service.supervisor import START_WAIT_S
from agent.tokens import ServiceGrants
from tests.agent.api.fake_service import FakeService, bearer

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "api.md").read_text()
README = (ROOT / "README.md").read_text()
RECORDING = (ROOT / "docs" / "recording.md").read_text()

_JSON = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STARTING = DOCUMENT.partition("## Starting a room")[2].partition("\n## ")[0]
BODIES = [
    *_JSON.findall(STARTING),
    *re.findall(r"-d '(\{.*?\})' http://127\.0\.0\.1:8080/v1/rooms$", README, re.MULTILINE),
]


def test_there_are_bodies_to_send() -> None:
    assert len(BODIES) >= 6
    assert len(_JSON.findall(DOCUMENT)) == len(_JSON.findall(STARTING)), "no test sends the others"


@pytest.mark.parametrize("body", BODIES)
async def test_a_room_is_started_with_each_body(api: FakeService, body: str) -> None:
    async with api.client(bearer()) as client:
        answer = await client.post("/v1/rooms", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text
    ((options, records),) = api.rooms.asked
    assert options.room == json.loads(body)["room"]
    assert records == ("publish" not in json.loads(body))


def test_policies_that_are_shown_can_be_recorded_by() -> None:
    shown = _JSON.findall(RECORDING)
    assert shown
    for body in shown:
        RecordPolicyBody.model_validate_json(body).policy()


async def test_the_description_is_where_the_document_says_for_any_token(api: FakeService) -> None:
    (address,) = re.findall(r"^curl .* http://127\.0\.0\.1:8080(/\S+)$", DOCUMENT, re.MULTILINE)
    async with api.client(bearer(ServiceGrants())) as client:
        described = (await client.get(address)).json()
    assert "/v1/rooms" in described["paths"]


def test_figures_for_proxies_are_those_of_the_code() -> None:
    held_s = HELD_TARGETS * LiveSettings().target_duration_s
    assert f"{held_s} s as it is set by default" in DOCUMENT
    assert START_WAIT_S == COMMAND_TIMEOUT_S == 30
    assert "up to 30 s" in DOCUMENT
    assert MAX_BODY_BYTES == 1 << 20
    assert "at most 1 MiB" in DOCUMENT

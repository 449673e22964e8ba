"""Reports over HTTP: JSON and page, and what is asked for wrongly."""

from pathlib import Path

import pytest

from agent.tokens import ServiceGrants, mint_service_token
from tests.agent.api.fake_service import CREDENTIALS, FakeService, bearer, make_recording
from tests.agent.judged_recordings import Second, camera, judged_recording, microphone

QUALITY = "/v1/recordings/one/quality"


@pytest.fixture
def one(api: FakeService) -> Path:
    """Half a minute of a good camera and microphone in the room "lobby"."""
    tracks = (camera("ada", lambda _at: Second()), microphone("ada", lambda _at: Second()))
    return judged_recording(api.folder / "recordings", "one", tracks, 30)


async def test_the_report_is_there_as_json_and_as_a_page(api: FakeService, one: Path) -> None:
    async with api.client(bearer()) as client:
        report = (await client.get(QUALITY)).json()
        assert (report["version"], report["quality"], report["recording"]["room"]) == (1, "excellent", "lobby")
        assert {item["track"]["kind"] for item in report["tracks"]} == {"audio", "video"}
        page = await client.get(f"{QUALITY}.html")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src" not in page.headers["content-security-policy"]
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert "ada" in page.text
        assert (await client.head(f"{QUALITY}.html")).status_code == 200


async def test_a_browser_may_bring_the_token_in_the_address_of_the_page_only(api: FakeService, one: Path) -> None:
    token = mint_service_token(CREDENTIALS, ServiceGrants(room_record=True))
    async with api.client() as client:
        assert (await client.get(f"{QUALITY}.html?access_token={token}")).status_code == 200
        assert (await client.get(f"{QUALITY}?access_token={token}")).status_code == 401


@pytest.mark.parametrize("suffix", ["", ".html"])
async def test_a_folder_in_place_of_the_report_or_of_the_samples(api: FakeService, one: Path, suffix: str) -> None:
    (one / "quality.json").mkdir()
    async with api.client(bearer()) as client:
        assert (await client.get(QUALITY + suffix)).status_code == 200
        (one / "quality.jsonl").unlink()
        (one / "quality.jsonl").mkdir()
        answer = await client.get(QUALITY + suffix)
    assert (answer.status_code, answer.json()["error"]) == (
        507,
        {
            "code": "storage_error",
            "message": "read recordings/one/quality.jsonl: Is a directory; "
            "move away the folder that is where the file should be",
        },
    )


@pytest.mark.parametrize("suffix", ["", ".html"])
async def test_what_is_not_there_is_said_so(api: FakeService, one: Path, suffix: str) -> None:
    make_recording(api, "silent", "lobby")
    async with api.client(bearer()) as client:
        for recording, status, code in (
            ("unknown", 404, "recording_not_found"),
            ("silent", 404, "quality_not_found"),
            ("..%2Fone", 404, "not_found"),
        ):
            answer = await client.get(f"/v1/recordings/{recording}/quality{suffix}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    listing = mint_service_token(CREDENTIALS, ServiceGrants(room_list=True))
    other = mint_service_token(CREDENTIALS, ServiceGrants(room_record=True, room="elsewhere"))
    for token, status in ((listing, 403), (other, 404)):
        async with api.client({"Authorization": f"Bearer {token}"}) as client:
            assert (await client.get(QUALITY + suffix)).status_code == status

"""livekit-client in a page of Chromium, as a participant that publishes."""

import json
from pathlib import Path
from typing import Any

from agent.credentials import Credentials
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from tests.interop.chromium import Page

SCRIPTS = Path(__file__).parent / "node_modules/livekit-client/dist"
_PUBLISH = Path(__file__).parent / "publish.js"


async def publish(page: Page, server: Credentials, room: str, function: str, options: dict[str, Any]) -> None:
    """Have the page join `room` and publish by a function of publish.js; `room.disconnect()` ends it."""
    for script in (SCRIPTS / "livekit-client.umd.js", _PUBLISH):
        await page.evaluate(f"{script.read_text()}\n;true")
    token = mint_participant_token(server, ParticipantTokenRequest(room, "browser"))
    arguments = ", ".join(map(json.dumps, (server.url, token, options)))
    await page.evaluate(f"void {function}({arguments}).then(() => {{ globalThis.published = true; }})")
    await page.until("globalThis.published", patience_s=90)

"""Calls a room's recording in the control API of `roomhand serve`."""

from typing import Any
from urllib.parse import quote

import httpx

from agent.config import load_settings
from agent.errors import ServerUnreachable
from agent.service.protocol import ErrorReport, error_from_report
from agent.tokens import ServiceGrants, mint_service_token

TIMEOUT_S = 60.0  # closing a recording waits for the disk


def call_recording(method: str, room: str, path: str, url: str | None, body: object = None) -> Any:
    """The API's answer. Raises the error that it reports, or ServerUnreachable."""
    settings = load_settings()
    base = (url or f"http://{settings.host}:{settings.port}").rstrip("/")
    token = mint_service_token(settings.credentials(), ServiceGrants(room=room, room_record=True), ttl_s=TIMEOUT_S)
    target = f"{base}/v1/rooms/{quote(room, safe='')}/recording{path}"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = httpx.request(method, target, json=body, headers=headers, timeout=TIMEOUT_S, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerUnreachable(f"no service answers at {base}; run `roomhand serve`, or give its --url") from error
    if answer.is_error:
        raise _reported(answer)
    return answer.json()


def _reported(answer: httpx.Response) -> Exception:
    try:
        error = answer.json()["error"]
        return error_from_report(ErrorReport(str(error["code"]), str(error["message"])))
    except (ValueError, KeyError, TypeError):
        return ServerUnreachable(f"{answer.url.host} answers {answer.status_code}, but not as roomhand; give its --url")

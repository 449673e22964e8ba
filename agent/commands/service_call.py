"""Calls a room's recording in the control API of `roomhand serve`."""

from typing import Any
from urllib.parse import quote

import httpx

from agent.config import load_settings
from agent.errors import ServerUnreachable
from agent.service.addresses import url_of
from agent.service.protocol import ErrorReport, error_from_report
from agent.tokens import ServiceGrants, mint_service_token
from media.json_text import parse_json

TIMEOUT_S = 60.0  # closing a recording waits for the disk


def call_recording(method: str, room: str, path: str, url: str | None, body: object = None) -> Any:
    """The API's answer. Raises the error that it reports, or ServerUnreachable."""
    settings = load_settings()
    base = (url or url_of(settings.host, settings.port)).rstrip("/")
    token = mint_service_token(settings.credentials(), ServiceGrants(room=room, room_record=True), ttl_s=TIMEOUT_S)
    target = f"{base}/v1/rooms/{quote(room, safe='')}/recording{path}"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        answer = httpx.request(method, target, json=body, headers=headers, timeout=TIMEOUT_S, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerUnreachable(f"no service answers at {base}; run `roomhand serve`, or give its --url") from error
    document = _document(answer, base)
    if not answer.is_success:
        raise _reported(answer, document, base)
    if document is not None and "recording_id" not in document:
        raise _another(answer, base)
    return document


def _document(answer: httpx.Response, base: str) -> dict[str, Any] | None:
    """The answer as an object of JSON, or its null. Raises ServerUnreachable."""
    try:
        document = parse_json(answer.content)
    except ValueError as error:
        raise _another(answer, base) from error
    if document is None or isinstance(document, dict):
        return document
    raise _another(answer, base)


def _reported(answer: httpx.Response, document: dict[str, Any] | None, base: str) -> Exception:
    try:
        error = (document or {})["error"]
        return error_from_report(ErrorReport(str(error["code"]), str(error["message"])))
    except (KeyError, TypeError):
        return _another(answer, base)


def _another(answer: httpx.Response, base: str) -> ServerUnreachable:
    return ServerUnreachable(f"what answers at {base} (with {answer.status_code}) is no roomhand; give its --url")

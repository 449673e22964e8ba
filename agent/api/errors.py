"""Every error of the API has one body: {"error": {"code", "message"}}. None says where the service's folders are."""

from collections.abc import Mapping
from typing import Any, Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from agent.errors import RoomhandError, http_status
from agent.service.room_child import RoomFault
from media.errors import MediaError

BAD_GATEWAY = 502
UNAVAILABLE = 503
RETRY_AFTER_S = 1  # a room's process is started again after half a second

UnavailableCode = Literal["live_stalled", "too_many_streams", "too_many_reads", "player_missing"]

# Codes for what HTTP itself finds wrong. All codes but these and the ones above are those of agent.errors.
HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}
OTHER_HTTP_CODE = "http_error"

log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    """What went wrong. `code` is stable, `message` says what to do."""

    code: str
    message: str


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class ServiceUnavailable(HTTPException):
    """Something that this installation or this moment lacks; 503 with `code`."""

    def __init__(self, code: UnavailableCode, message: str) -> None:
        super().__init__(UNAVAILABLE, message)
        self.code = code


def error_response(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The one shape of an error."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Answer each error with its status and the one body."""
    app.add_exception_handler(RoomhandError, _ours)
    app.add_exception_handler(MediaError, _ours)
    app.add_exception_handler(RoomFault, _room_fault)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _hide(request: Request, message: str) -> str:
    """`message` without the places of the service's folders."""
    hidden: str = request.app.state.service.folders.hide(message)
    return hidden


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RoomhandError | MediaError)
    return _from_tree(request, error, http_status(error))


async def _room_fault(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, RoomFault)
    status = http_status(fault.error)
    # The caller's token is fine: it is the service that the LiveKit server refused.
    return _from_tree(request, fault.error, BAD_GATEWAY if status in {401, 403} else status)


def _from_tree(request: Request, error: RoomhandError | MediaError, status: int) -> JSONResponse:
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status >= 500:
        log.warning("request_failed", code=error.code, error=str(error), status=status)
    return error_response(status, error.code, _hide(request, str(error)), headers)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Only where and why: the input may hold what does not belong into a log.
    problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {_why(item)}" for item in error.errors())
    return error_response(422, "invalid_settings", f"invalid request: {problems}; see /openapi.json")


def _why(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        return f"{problem['msg']}: {problem['ctx']['error']}"
    return str(problem["msg"])


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = error.code if isinstance(error, ServiceUnavailable) else HTTP_CODES.get(error.status_code, OTHER_HTTP_CODE)
    return error_response(error.status_code, code, _hide(request, str(error.detail)), dict(error.headers or {}))


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    # The server logs it, with its traceback, after this answer.
    return error_response(500, "internal", "something unexpected went wrong; the service's log says more")

"""Health, metrics and the API's own description.

`/healthz` and `/readyz` answer one word without a token, since orchestrators send none; they tell nothing else.
"""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from agent.api.auth import Grant, GuardedRoute, needs
from agent.api.service import Service

open_router = APIRouter(tags=["health"])
router = APIRouter(route_class=GuardedRoute, tags=["health"])


@open_router.head("/healthz", include_in_schema=False)
@open_router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """Whether the process answers: "ok"."""
    return "ok"


@open_router.head("/readyz", include_in_schema=False)
@open_router.get(
    "/readyz",
    response_class=PlainTextResponse,
    responses={503: {"content": {"text/plain": {}}, "description": "draining"}},
)
async def readyz(service: Service) -> Response:
    """Whether rooms can be started: "ready", or 503 and "draining"."""
    if service.rooms.draining:
        return PlainTextResponse("draining", 503)
    return PlainTextResponse("ready")


@router.get("/metrics", response_class=PlainTextResponse, openapi_extra=needs(Grant.ROOM_LIST))
async def metrics(service: Service) -> Response:
    """Prometheus metrics. They name no room, so any token with roomList may read them."""
    service.metrics.set_rooms(view.phase for view in service.rooms.rooms())
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/openapi.json", include_in_schema=False, openapi_extra=needs(Grant.ANY))
async def openapi(request: Request) -> JSONResponse:
    """This API's description; any valid token will do."""
    described: dict[str, Any] = request.app.openapi()
    return JSONResponse(described)

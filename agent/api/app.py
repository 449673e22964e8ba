"""The control API, put together."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from agent.api import events, exports, health, live, player, publications, quality, recordings, rooms, tracks
from agent.api.auth import SECURITY_SCHEME
from agent.api.errors import ErrorBody, install_error_handlers
from agent.api.measure import MeasureRequests
from agent.api.service import ApiService

DESCRIPTION = """Control of the rooms that this service runs.

Every call needs a LiveKit access token signed with the server's API key, as `Authorization: Bearer <token>`, with
the grant that the route names in `x-required-grant`. A token that names a room is for that room only.
`/healthz` and `/readyz` need none. Errors have one body: `{"error": {"code", "message"}}`.
"""

_ERRORS = {
    400: "The request cannot be read",
    401: "No token, or one that is expired or of another key",
    403: "The token lacks the grant, or is for another room",
    404: "No such room, track, recording, export or file",
    409: "It conflicts with what is there",
    413: "The body is too large",
    415: "HLS does not carry the codec",
    422: "A value is missing or out of range",
    500: "A fault of the service; its log says more",
    502: "The LiveKit server refused or cannot be reached",
    503: "The room's process is starting or the service is ending; try again",
    507: "The disk is full or cannot be written to",
}


def create_app(service: ApiService) -> FastAPI:
    """The API over `service`."""
    app = FastAPI(
        title="Roomhand",
        version=service.version,
        description=DESCRIPTION,
        openapi_url=None,  # served by a route of ours, which wants a token
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # URLs may hold tokens
        responses={status: _described(description) for status, description in _ERRORS.items()},
        generate_unique_id_function=lambda route: route.name,
        redirect_slashes=False,  # a redirect would tell which paths exist
    )
    app.state.service = service
    app.state.closing = False  # set by the server: requests that are held are to be answered
    install_error_handlers(app)
    app.add_middleware(MeasureRequests, metrics=service.metrics)
    for part in (rooms, tracks, publications, recordings, quality, live, exports, events, health, player):
        app.include_router(part.router)
    app.include_router(health.open_router)
    _describe(app)
    return app


def _described(description: str) -> dict[str, Any]:
    # Not by `model`: FastAPI would give the error the media type of the route's good answers.
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    return {"description": description, "content": body}


def _describe(app: FastAPI) -> None:
    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = schema.setdefault("components", {})
            error = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
            components["schemas"].update(error.pop("$defs"), ErrorBody=error)
            schemes = components.setdefault("securitySchemes", {})
            schemes[SECURITY_SCHEME] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way to extend the description

"""Who may call what: each route names the LiveKit grant that it needs, and one place checks it.

The check runs before the body is read, so nobody without a token can make us parse anything. The grant
is part of the route's OpenAPI description; a route that names none cannot be declared.
"""

from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar, cast

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from agent.api.service import ApiService
from agent.errors import PermissionDenied, Unauthorized
from agent.tokens import ServiceGrants, verify_service_token
from media.json_text import parse_json

GRANT_KEY = "x-required-grant"
QUERY_KEY = "x-token-in-query"
SECURITY_SCHEME = "livekit_token"
MAX_BODY_BYTES = 1 << 20  # metadata may have 512 KiB, and JSON may escape it

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Grant(StrEnum):
    """The grants of LiveKit's access tokens that the API knows; ANY is a valid token, whatever it grants."""

    ROOM_LIST = "roomList"
    ROOM_ADMIN = "roomAdmin"
    ROOM_CREATE = "roomCreate"
    ROOM_RECORD = "roomRecord"
    ANY = "any"


def needs(grant: Grant, *, token_in_query: bool = False) -> dict[str, Any]:
    """The `openapi_extra` of a route that needs `grant`. `token_in_query` is for players, which send no headers."""
    return {GRANT_KEY: grant.value, QUERY_KEY: token_in_query, "security": [{SECURITY_SCHEME: []}]}


def get_and_head(
    router: APIRouter, path: str, name: str, grant: Grant, answers: dict[int | str, dict[str, Any]]
) -> Callable[[Handler], Handler]:
    """GET and HEAD of a file for players, which send the token as `access_token`; `name` is the file's in OpenAPI."""

    def declare(handler: Handler) -> Handler:
        for method in ("GET", "HEAD"):
            router.add_api_route(
                path,
                handler,
                methods=[method],
                operation_id=f"{method.lower()}_{name}",
                response_class=Response,
                response_model=None,
                responses=answers,
                openapi_extra=needs(grant, token_in_query=True),
            )
        return handler

    return declare


class GuardedRoute(APIRoute):
    """A route that checks the caller's token first, and the room in its path against the token's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, behind the check."""
        handle = super().get_route_handler()
        extra = self.openapi_extra or {}
        grant = Grant(extra[GRANT_KEY])
        in_query = bool(extra[QUERY_KEY])

        async def guarded(request: Request) -> Response:
            service = cast(ApiService, request.app.state.service)
            grants = verify_service_token(service.credentials, _token(request, in_query=in_query))
            _check_grant(grants, grant)
            room = request.path_params.get("room")
            if room is not None:
                check_room(grants, room)
            request.state.grants = grants
            return await handle(_BodyRequest(request.scope, _bounded(request.receive)))

        return guarded


class _BodyRequest(Request):
    """A request whose body, where it is no JSON, is told in one way."""

    async def json(self) -> Any:
        """The body. Raises json.JSONDecodeError, which FastAPI answers as it does any other invalid request."""
        return parse_json(await self.body())


def _token(request: Request, *, in_query: bool) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if in_query and request.query_params.get("access_token"):
        return request.query_params["access_token"]
    raise Unauthorized("no access token; send `Authorization: Bearer <token>`, and make one with `roomhand token`")


def _bounded(receive: Receive) -> Receive:
    """`receive`, which refuses a body of more than MAX_BODY_BYTES while it is being read."""
    left = MAX_BODY_BYTES

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"the body has more than {MAX_BODY_BYTES} bytes; send less")
        return message

    return bounded


def _check_grant(grants: ServiceGrants, grant: Grant) -> None:
    held = {
        Grant.ROOM_LIST: grants.room_list,
        Grant.ROOM_ADMIN: grants.room_admin,
        Grant.ROOM_CREATE: grants.room_create,
        Grant.ROOM_RECORD: grants.room_record,
        Grant.ANY: True,
    }
    if not held[grant]:
        raise PermissionDenied(
            f"the access token lacks the {grant.value} grant; make one with `roomhand token --grant {grant.value}`"
        )


def check_room(grants: ServiceGrants, room: str) -> None:
    """Raises PermissionDenied unless the token is for `room`, or for all rooms."""
    if not grants.covers_room(room):
        raise PermissionDenied("the access token is for another room; make one for this room, or for all of them")

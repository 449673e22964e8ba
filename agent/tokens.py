"""Access tokens: minting them for participants and services, and checking those that callers bring.

LiveKit's tokens are JWTs signed with the API secret (HS256); the grants are in the `video` claim.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

import jwt
from livekit.api import AccessToken, TokenVerifier, VideoGrants

from agent.credentials import Credentials
from agent.errors import InvalidSettings, PermissionDenied, TokenExpired, Unauthorized
from agent.room.metadata import check_attributes, check_metadata, check_name
from agent.room.wire_text import wire_bytes

MAX_IDENTITY_BYTES = 256  # livekit-server's limits for identities and room names; it answers 400 to more
MAX_ROOM_BYTES = 256
MAX_TTL_S = 100 * 365 * 86_400.0
CLOCK_LEEWAY = datetime.timedelta(minutes=1)  # as LiveKit's own verifiers: hosts' clocks differ


@dataclass(frozen=True, slots=True)
class ParticipantTokenRequest:
    """What a participant's token says of it.

    `hidden` keeps it out of the others' participant lists; `recorder` marks it as one, as
    livekit/egress does. `ttl_s` is how long the token can be used to join, up to MAX_TTL_S.
    """

    room: str
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    hidden: bool = False
    recorder: bool = False
    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_update_own_metadata: bool = True
    ttl_s: float = 6 * 3600


def mint_participant_token(credentials: Credentials, request: ParticipantTokenRequest) -> str:
    """A JWT with which `request.identity` can join `request.room`. Raises InvalidSettings."""
    if not request.room or not request.identity:
        raise InvalidSettings("a participant token needs a room and an identity")
    _check_short("the room's name", request.room, MAX_ROOM_BYTES)
    _check_short("the identity", request.identity, MAX_IDENTITY_BYTES)
    _check_about(request.name, request.metadata, request.attributes)
    grants = VideoGrants(
        room_join=True,
        room=request.room,
        hidden=request.hidden or None,
        recorder=request.recorder or None,
        can_publish=request.can_publish,
        can_subscribe=request.can_subscribe,
        can_publish_data=request.can_publish_data,
        can_update_own_metadata=request.can_update_own_metadata or None,
    )
    token = AccessToken(credentials.api_key, credentials.api_secret)
    token.with_identity(request.identity).with_grants(grants)
    token.with_ttl(_ttl(request.ttl_s))
    if request.name:
        token.with_name(request.name)
    if request.metadata:
        token.with_metadata(request.metadata)
    if request.attributes:
        token.with_attributes(request.attributes)
    return token.to_jwt()


def _check_short(what: str, text: str, limit: int) -> None:
    if (size := len(wire_bytes(what, text))) > limit:
        raise InvalidSettings(f"{what} has {size} bytes; {limit} are allowed, give a shorter one")


def _check_about(name: str, metadata: str, attributes: Mapping[str, str]) -> None:
    """What a server would refuse without a reason (attributes, metadata), or later on (a name)."""
    check_name("participant name", name)
    check_metadata(metadata)
    check_attributes({}, attributes)


@dataclass(frozen=True, slots=True)
class ServiceGrants:
    """What a caller of the control API may do; the names are LiveKit's grants."""

    identity: str = ""
    room: str = ""
    room_admin: bool = False
    room_record: bool = False
    room_list: bool = False
    room_create: bool = False

    def covers_room(self, room: str) -> bool:
        """Whether the token is for `room`; one that names no room is for all of them."""
        return self.room in {"", room}


def mint_service_token(credentials: Credentials, grants: ServiceGrants, *, ttl_s: float = 3600) -> str:
    """A JWT for the control API (and for LiveKit's own server API). Raises InvalidSettings."""
    video = VideoGrants(
        room=grants.room,
        room_admin=grants.room_admin or None,
        room_record=grants.room_record or None,
        room_list=grants.room_list or None,
        room_create=grants.room_create or None,
    )
    token = AccessToken(credentials.api_key, credentials.api_secret).with_grants(video)
    token.with_identity(grants.identity or "roomhand-cli").with_ttl(_ttl(ttl_s))
    return token.to_jwt()


def _ttl(ttl_s: float) -> datetime.timedelta:
    if not abs(ttl_s) <= MAX_TTL_S:
        raise InvalidSettings(
            f"a token cannot be valid for {ttl_s:g} s; give at most {MAX_TTL_S / 86_400:.0f} days, like 30d"
        )
    return datetime.timedelta(seconds=ttl_s)


def verify_service_token(credentials: Credentials, token: str) -> ServiceGrants:
    """The grants of a token that the server's key signed.

    Raises TokenExpired or Unauthorized.
    """
    verifier = TokenVerifier(credentials.api_key, credentials.api_secret, leeway=CLOCK_LEEWAY)
    try:
        claims = verifier.verify(token)
    except jwt.ExpiredSignatureError as error:
        raise TokenExpired("the access token has expired; make a new one") from error
    except (jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError) as error:
        raise Unauthorized(
            "the access token is not valid yet; set the clocks of who made it and of this host"
        ) from error
    except jwt.MissingRequiredClaimError as error:
        raise Unauthorized(f"the access token has no {error.claim}; make one with `roomhand token`") from error
    except jwt.InvalidTokenError as error:
        raise Unauthorized(
            "the access token was not signed with this server's API key and secret; make one with `roomhand token`"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise Unauthorized("the access token's grants cannot be read; make one with `roomhand token`") from error
    video = claims.video or VideoGrants()
    return ServiceGrants(
        identity=claims.identity,
        room=video.room or "",
        room_admin=bool(video.room_admin),
        room_record=bool(video.room_record),
        room_list=bool(video.room_list),
        room_create=bool(video.room_create),
    )


def check_join_token(token: str, *, now: float) -> tuple[str, str]:
    """Room and identity of a participant's token, whose signature only the server can check.

    Raises TokenExpired, PermissionDenied (no roomJoin, no room or nobody) or Unauthorized (no token at all).
    """
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise Unauthorized("that is not a LiveKit access token; give a JWT or let one be minted") from error
    expires_at = claims.get("exp")
    if isinstance(expires_at, int | float) and expires_at <= now - CLOCK_LEEWAY.total_seconds():
        raise TokenExpired("the access token has expired; make a new one")
    video = claims.get("video")
    grants = video if isinstance(video, dict) else {}
    if not grants.get("roomJoin"):
        raise PermissionDenied("the access token lacks the roomJoin grant; make one that has it")
    room, identity = str(grants.get("room") or ""), str(claims.get("sub") or "")
    if not room or not identity:
        raise PermissionDenied("the access token names no room, or nobody to join it; make one that does")
    return room, identity

"""What one agent joins with: the tokens of its participant and of its recorder, or the one that it was given."""

import hashlib
from dataclasses import replace

from agent.credentials import Credentials
from agent.errors import InvalidSettings
from agent.request import DEFAULT_IDENTITY, RoomRequest
from agent.tokens import MAX_IDENTITY_BYTES, ParticipantTokenRequest, check_join_token, mint_participant_token

_DIGEST_CHARACTERS = 16


def as_the_token_says(request: RoomRequest, *, now: float) -> RoomRequest:
    """`request` with the room and the identity of its token, where it has one.

    Raises InvalidSettings where it names others itself, and the errors of `check_join_token`.
    """
    if request.token is None:
        return request
    room, identity = check_join_token(request.token, now=now)
    if request.room not in {"", room}:
        raise InvalidSettings(
            f"the access token is for room {room!r}, not for {request.room!r}; leave it out, or make another token"
        )
    if request.identity not in {"", DEFAULT_IDENTITY, identity}:
        raise InvalidSettings(
            f"the access token is for identity {identity!r}, not for {request.identity!r}; "
            "leave the identity out, or make another token"
        )
    return replace(request, room=room, identity=identity)


def participant_token(credentials: Credentials, request: RoomRequest) -> str:
    """The token that the request brings, or one made for it. Raises InvalidSettings."""
    if request.token is not None:
        return request.token
    return mint_participant_token(
        credentials,
        ParticipantTokenRequest(
            room=request.room,
            identity=request.identity,
            name=request.name,
            metadata=request.metadata,
            attributes=request.attributes,
            hidden=request.hidden,
        ),
    )


def tap_token(credentials: Credentials, request: RoomRequest) -> str:
    """A token for the recorder: a hidden participant beside ours."""
    return mint_participant_token(
        credentials,
        ParticipantTokenRequest(
            room=request.room,
            identity=tap_identity(request.identity),
            hidden=True,
            recorder=True,
            can_publish=False,
            can_publish_data=False,
            can_update_own_metadata=False,
        ),
    )


def tap_identity(identity: str) -> str:
    """Who the recorder of `identity` is: "<identity>-tap", or where that is too long, its beginning and a digest."""
    whole = f"{identity}-tap"
    if len(whole.encode()) <= MAX_IDENTITY_BYTES:
        return whole
    digest = f"-{hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_CHARACTERS]}-tap"
    return identity.encode()[: MAX_IDENTITY_BYTES - len(digest)].decode(errors="ignore") + digest

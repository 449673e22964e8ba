"""Tracks of a room: what is published, what of it is subscribed to, and which layers are asked for."""

from fastapi import APIRouter

from agent.api.auth import Grant, GuardedRoute, needs
from agent.api.models import LayerBody, PolicyBody, SubscriptionBody
from agent.api.service import ApiService, Service
from agent.errors import RoomUnavailable, TrackNotFound
from agent.room.state import RoomState, TrackState
from agent.service.protocol import SetLayer, SetPolicy, SetSubscribed

router = APIRouter(route_class=GuardedRoute, tags=["tracks"])


@router.get("/v1/rooms/{room}/tracks", openapi_extra=needs(Grant.ROOM_LIST))
async def list_tracks(room: str, service: Service) -> list[TrackState]:
    """The room's remote tracks, with what is received of each, and its quality."""
    return list(_state(service, room).tracks)


@router.put("/v1/rooms/{room}/subscriptions", status_code=204, openapi_extra=needs(Grant.ROOM_ADMIN))
async def set_policy(room: str, body: PolicyBody, service: Service) -> None:
    """Set which tracks to subscribe to. It holds until it is set again, also when the room's process dies."""
    await service.rooms.command(room, SetPolicy(body.policy()))


@router.put("/v1/rooms/{room}/tracks/{sid}/subscription", openapi_extra=needs(Grant.ROOM_ADMIN))
async def set_subscribed(room: str, sid: str, body: SubscriptionBody, service: Service) -> TrackState:
    """Subscribe to one track or not, whatever the policy says."""
    await service.rooms.command(room, SetSubscribed(sid, body.subscribed))
    return _track(service, room, sid)


@router.put("/v1/rooms/{room}/tracks/{sid}/layer", openapi_extra=needs(Grant.ROOM_ADMIN))
async def set_layer(room: str, sid: str, body: LayerBody, service: Service) -> TrackState:
    """Ask for one simulcast layer of a track, for our subscription or for the recording tap."""
    await service.rooms.command(room, SetLayer(sid, body.quality, body.target))
    return _track(service, room, sid)


def _state(service: ApiService, room: str) -> RoomState:
    state = service.rooms.room(room).state
    if state is None:
        raise RoomUnavailable(f"room {room!r} is starting; try again in a moment")
    return state


def _track(service: ApiService, room: str, sid: str) -> TrackState:
    for track in _state(service, room).tracks:
        if track.sid == sid:
            return track
    raise TrackNotFound(f"track {sid!r} has left room {room!r}; list its tracks")

"""Rooms: list, start, look at, end."""

import asyncio
from urllib.parse import quote

from fastapi import APIRouter, Response

from agent.api.auth import Grant, GuardedRoute, check_room, needs
from agent.api.models import EncryptionKeyBody, StartRoomBody
from agent.api.recording_files import check_continues
from agent.api.service import Caller, Service
from agent.api.sources import resolve_source
from agent.service.protocol import SetEncryptionKey
from agent.service.room_slot import RoomView

router = APIRouter(route_class=GuardedRoute, tags=["rooms"])


@router.get("/v1/rooms", openapi_extra=needs(Grant.ROOM_LIST))
async def list_rooms(service: Service, caller: Caller) -> list[RoomView]:
    """All rooms run here that the token is for."""
    return [service.folders.hidden(view) for view in service.rooms.rooms() if caller.covers_room(view.room)]


@router.post("/v1/rooms", status_code=201, openapi_extra=needs(Grant.ROOM_CREATE))
async def start_room(body: StartRoomBody, service: Service, caller: Caller, response: Response) -> RoomView:
    """Join a room and stay in it. Answers when it is joined, or with phase "starting" when that takes long."""
    check_room(caller, body.room)
    publish = await asyncio.to_thread(resolve_source, service.sources_dir, body.publish) if body.publish else None
    if body.recording_id is not None:
        await asyncio.to_thread(check_continues, service.recordings_dir, body.recording_id, body.room)
    view = await service.rooms.start_room(body.options(publish), record=body.records)
    response.headers["Location"] = f"/v1/rooms/{quote(body.room, safe='')}"
    return service.folders.hidden(view)


@router.get("/v1/rooms/{room}", openapi_extra=needs(Grant.ROOM_LIST))
async def get_room(room: str, service: Service) -> RoomView:
    """One room, with its participants, tracks, publications and recording."""
    return service.folders.hidden(service.rooms.room(room))


@router.delete("/v1/rooms/{room}", status_code=204, openapi_extra=needs(Grant.ROOM_ADMIN))
async def stop_room(room: str, service: Service) -> None:
    """Leave a room in order: publications end, the recording is closed. It does not run again by itself."""
    await service.rooms.stop_room(room)


@router.put("/v1/rooms/{room}/e2ee-key", status_code=204, openapi_extra=needs(Grant.ROOM_ADMIN))
async def set_encryption_key(room: str, body: EncryptionKeyBody, service: Service) -> None:
    """Use another key for end-to-end encryption. Tracks that could not be decrypted are recorded from then on."""
    await service.rooms.command(room, SetEncryptionKey(body.key, body.participant_identity, body.key_index))

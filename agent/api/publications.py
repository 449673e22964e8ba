"""What a room's agent publishes and sends: tracks, data packets, text."""

import asyncio
import base64
import binascii

from fastapi import APIRouter

from agent.api.auth import Grant, GuardedRoute, needs
from agent.api.models import DataBody, MuteBody, PublishBody, TextBody
from agent.api.service import Service
from agent.api.sources import resolve_source
from agent.errors import InvalidSettings, RoomUnavailable, TrackNotFound
from agent.room.data_limits import check_packet
from agent.room.state import PublicationState
from agent.service.protocol import Publish, SendData, SendText, SetMuted, Unpublish

router = APIRouter(route_class=GuardedRoute, tags=["publications"])


@router.post("/v1/rooms/{room}/publications", status_code=201, openapi_extra=needs(Grant.ROOM_ADMIN))
async def publish(room: str, body: PublishBody, service: Service) -> list[PublicationState]:
    """Publish the test pattern or a file; a file with picture and sound makes two publications."""
    options = body.options()
    source = await asyncio.to_thread(resolve_source, service.sources_dir, body.source)
    done = await service.rooms.command(room, Publish(source, options))
    return service.folders.hidden(list(done.publications))


@router.patch("/v1/rooms/{room}/publications/{sid}", openapi_extra=needs(Grant.ROOM_ADMIN))
async def set_muted(room: str, sid: str, body: MuteBody, service: Service) -> PublicationState:
    """Mute a publication, or unmute it. Its name will do for the SID, which changes where it is published anew."""
    await service.rooms.command(room, SetMuted(sid, body.muted))
    state = service.rooms.room(room).state
    if state is None:
        raise RoomUnavailable(f"room {room!r} is starting; try again in a moment")
    for publication in state.publications:
        if sid in {publication.sid, publication.name}:
            return service.folders.hidden(publication)
    raise TrackNotFound(f"publication {sid!r} has ended; look at the room's publications")


@router.delete("/v1/rooms/{room}/publications/{sid}", status_code=204, openapi_extra=needs(Grant.ROOM_ADMIN))
async def unpublish(room: str, sid: str, service: Service) -> None:
    """End a publication. Its name will do for the SID."""
    await service.rooms.command(room, Unpublish(sid))


@router.post("/v1/rooms/{room}/data", status_code=204, openapi_extra=needs(Grant.ROOM_ADMIN))
async def send_data(room: str, body: DataBody, service: Service) -> None:
    """Send a data packet of at most 63600 bytes."""
    payload = _decode(body.payload)
    check_packet(len(payload), body.topic, body.destination_identities)
    command = SendData(payload, body.topic, body.reliable, tuple(body.destination_identities))
    await service.rooms.command(room, command)


@router.post("/v1/rooms/{room}/text", status_code=204, openapi_extra=needs(Grant.ROOM_ADMIN))
async def send_text(room: str, body: TextBody, service: Service) -> None:
    """Send a text stream, such as a chat message."""
    await service.rooms.command(room, SendText(body.text, body.topic, tuple(body.destination_identities)))


def _decode(payload: str) -> bytes:
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error as error:
        raise InvalidSettings(f"payload is not base64 ({error}); encode the bytes to send") from error

"""What happens in the rooms, as Server-Sent Events (WHATWG HTML, section 9.2).

Every client reads the service's one ring of events at its own pace; there is no queue per client. One that
is too slow, or comes back too late, loses the oldest events and gets a `gap` event that says how many.
A comment every 15 s keeps proxies from closing a quiet stream.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agent.api.auth import Grant, GuardedRoute, check_room, needs
from agent.api.errors import ServiceUnavailable
from agent.api.models import RoomName
from agent.api.service import ApiService, Caller, Service
from agent.service.event_log import ServiceEvent

MAX_STREAMS = 100  # each holds a connection and a task; past this something leaks or attacks

router = APIRouter(route_class=GuardedRoute, tags=["events"])


class StreamSlots:
    """Counts the open streams."""

    def __init__(self, most: int = MAX_STREAMS) -> None:
        self._left = most

    async def take(self) -> AsyncIterator[None]:
        """A place among the open streams, for as long as the request lasts. Raises ServiceUnavailable."""
        if self._left == 0:
            raise ServiceUnavailable("too_many_streams", "all event streams are taken; close some, or try again later")
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


_slots = StreamSlots()


async def _wanted_room(
    caller: Caller, room: Annotated[RoomName | None, Query(description="only this room's events")] = None
) -> str:
    if room is not None:
        check_room(caller, room)
    return room or caller.room


@router.get(
    "/v1/events",
    response_class=EventSourceResponse,
    dependencies=[Depends(_slots.take)],
    openapi_extra=needs(Grant.ROOM_LIST),
)
async def events(
    service: Service,
    wanted: Annotated[str, Depends(_wanted_room)],
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Events of all rooms that the token is for, or of one, from now on or after `Last-Event-ID`.

    The `data` of each is {"room", "at", …}, `at` in Unix seconds. An id that is no longer known gets a `gap`
    event whose `missed` is null, then what the ring still holds.
    """
    cursor = service.events.cursor
    if last_event_id is not None:
        known = service.events.cursor_of(last_event_id)
        if known is None:
            yield _gap(None)
        cursor = known or 0
    async for event in _follow(service, cursor, wanted):
        yield event


async def _follow(service: ApiService, cursor: int, room: str) -> AsyncIterator[ServerSentEvent]:
    log = service.events
    wake = asyncio.Event()
    leave = log.add_listener(wake.set)
    try:
        while True:
            wake.clear()
            batch = log.read_after(cursor)
            if batch.missed:
                yield _gap(batch.missed)
            for entry in batch.events:
                if room in {"", entry.room}:
                    yield _sent(log.event_id(entry), service.folders.hidden(entry))
            cursor = batch.cursor
            if not batch.events:
                if log.closed:
                    return
                await wake.wait()
    finally:
        leave()


def _gap(missed: int | None) -> ServerSentEvent:
    return ServerSentEvent(event="gap", data={"missed": missed})


def _sent(event_id: str, entry: ServiceEvent) -> ServerSentEvent:
    return ServerSentEvent(id=event_id, event=entry.event, data={"room": entry.room, "at": entry.at, **entry.fields})

"""What is said of our own tracks: told with them, and taken back with them."""

import asyncio
from collections.abc import Collection, Mapping

import structlog

from agent.errors import RoomhandError
from agent.room.metadata import JsonValue, check_attributes, encode_track_metadata, track_attribute
from agent.room.session import RoomSession

log = structlog.get_logger(__name__)

FORGET_TIMEOUT_S = 0.8  # one round trip; while the connection is down it would wait for its return


class OwnMetadata:
    """Our tracks' metadata in our attributes, which outlive tracks by themselves."""

    def __init__(self, session: RoomSession) -> None:
        self._session = session
        self._told: set[str] = set()
        self._left: set[str] = set()

    def check(self, names: Collection[str], metadata: Mapping[str, JsonValue]) -> dict[str, str]:
        """The attributes that say `metadata` of tracks of those names. Raises InvalidSettings or PermissionDenied."""
        if not metadata:
            return {}
        self._session.permissions.require_update_metadata()
        text = encode_track_metadata(metadata)
        said = {track_attribute(name): text for name in names}
        check_attributes(self._session.sdk_room.local_participant.attributes, said)
        return said

    async def tell(self, names: Collection[str], said: dict[str, str]) -> None:
        """Say what was checked. Raises as `check`, or ConnectionLost."""
        if said:
            self._told.update(names)
            self._left.difference_update(names)
            await self._session.set_attributes(said)

    async def clear(self, names: Collection[str]) -> None:
        """Tracks of those names begin, of which nothing is said: also not what was said of those before them."""
        for name in self._left.intersection(names):
            await self.forget(name)

    async def forget(self, name: str) -> None:
        """The track of that name goes: say nothing of it any more, as far as that can be had now."""
        try:
            if name not in self._told | self._left and not self._is_told(name):
                return
            self._left.add(name)
            self._told.discard(name)
            async with asyncio.timeout(FORGET_TIMEOUT_S):
                await self._session.set_attributes({track_attribute(name): ""})
            self._left.discard(name)
        except (RoomhandError, TimeoutError) as error:
            log.warning("track_metadata_left", track=name, error=str(error) or type(error).__name__)

    def _is_told(self, name: str) -> bool:
        return track_attribute(name) in self._session.sdk_room.local_participant.attributes

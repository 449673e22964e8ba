"""Sending data: packets, text streams, data tracks."""

from collections.abc import Iterable

from livekit import rtc
from livekit.rtc.participant import PublishDataError, PublishDataTrackError

from agent.errors import InvalidSettings, PublishFailed, TrackNotFound
from agent.room.data_limits import (
    check_packet,
    check_text,
    check_user_timestamp,
    destinations,
    payload_bytes,
    too_long,
)
from agent.room.metadata import MAX_NAME_CHARACTERS
from agent.room.session import RoomSession
from agent.room.wire_text import wire_bytes

MAX_DATA_FRAME_BYTES = 128 * 1_000  # 128 packets of about 1 kB; the server drops longer frames
_MESSAGE_SIZE = "maximum message size"  # the SDK's words where a server agrees on less than ours


class DataPublisher:
    """Sends data into a session's room; data tracks are withdrawn before the room is left.

    The server drops what is not permitted without a word, so each call checks first: PermissionDenied.
    """

    def __init__(self, session: RoomSession) -> None:
        self._session = session
        self._tracks: dict[str, rtc.LocalDataTrack] = {}
        session.before_leaving("data tracks", self.aclose)

    @property
    def data_tracks(self) -> tuple[str, ...]:
        """The names of our data tracks."""
        return tuple(self._tracks)

    async def publish_data(
        self,
        payload: bytes,
        *,
        topic: str = "",
        reliable: bool = True,
        destination_identities: Iterable[str] = (),
    ) -> None:
        """Send one data packet, to all or to some, once the connection stands.

        Raises InvalidSettings (too long), PublishFailed, or ConnectionLost (the room is over).
        """
        data, to = payload_bytes(payload), destinations(destination_identities)
        check_packet(len(data), topic, to)
        await self._session.restored()
        self._session.permissions.require_publish_data()
        try:
            await self._session.sdk_room.local_participant.publish_data(
                data, reliable=reliable, destination_identities=to, topic=topic
            )
        except PublishDataError as error:
            if _MESSAGE_SIZE in error.message:
                raise too_long(len(data)) from error
            raise PublishFailed(f"the data packet was not sent: {error.message}") from error

    async def send_text(self, text: str, *, topic: str, destination_identities: Iterable[str] = ()) -> str:
        """Send `text` as one text stream, once the connection stands, and return the stream's id.

        Raises InvalidSettings, PublishFailed, or ConnectionLost (the room is over).
        """
        check_text(text)
        to = destinations(destination_identities)
        check_packet(0, topic, to)
        if not topic:
            raise InvalidSettings("a text stream needs a topic, like lk.chat")
        await self._session.restored()
        self._session.permissions.require_publish_data()
        try:
            info = await self._session.sdk_room.local_participant.send_text(
                text, topic=topic, destination_identities=to
            )
        except rtc.StreamError as error:
            raise PublishFailed(f"the text was not sent: {error.description}") from error
        return info.stream_id

    async def publish_data_track(self, name: str) -> str:
        """Open a data track and return its SID; the SDK opens it again after a full reconnect.

        Raises InvalidSettings (bad or taken name), PermissionDenied (hidden participants too) or PublishFailed.
        """
        wire_bytes("a data track's name", name)
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
            raise InvalidSettings(f"a data track's name has 1 to {MAX_NAME_CHARACTERS} characters")
        if name in self._tracks:
            raise InvalidSettings(f"a data track named {name!r} is published already; give another name")
        self._session.permissions.require_publish_data_track()
        try:
            track = await self._session.sdk_room.local_participant.publish_data_track(name=name)
        except PublishDataTrackError as error:
            raise PublishFailed(f"the server did not take data track {name!r}: {error.message}") from error
        self._tracks[name] = track
        return track.info.sid

    def push(self, name: str, payload: bytes, *, user_timestamp: int | None = None) -> bool:
        """Send one frame; False where the SDK dropped it (pushed too fast, or reconnecting).

        Raises TrackNotFound, or InvalidSettings for a frame that could not arrive.
        """
        if (track := self._tracks.get(name)) is None:
            raise TrackNotFound(f"no data track named {name!r} is published; open it first")
        data = payload_bytes(payload)
        if len(data) > MAX_DATA_FRAME_BYTES:
            raise InvalidSettings(f"a frame of {len(data)} bytes is too long; {MAX_DATA_FRAME_BYTES} are allowed")
        check_user_timestamp(user_timestamp)
        try:
            track.try_push(rtc.DataTrackFrame(payload=data, user_timestamp=user_timestamp))
        except rtc.PushFrameError:
            return False
        return True

    async def unpublish_data_track(self, name: str) -> None:
        """Close a data track."""
        if (track := self._tracks.pop(name, None)) is None:
            raise TrackNotFound(f"no data track named {name!r} is published")
        await track.unpublish()

    async def aclose(self) -> None:
        """Close all data tracks; idempotent."""
        for name in tuple(self._tracks):
            await self.unpublish_data_track(name)

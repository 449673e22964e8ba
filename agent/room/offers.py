"""One track of ours into the room, and out of it: bounded, whole where somebody is cancelled."""

import asyncio

import structlog
from livekit import rtc
from livekit.rtc.participant import PublishTrackError, UnpublishTrackError

from agent.errors import PublishFailed, RoomhandError
from agent.room import convert
from agent.room.feeding import NativeSource, sdk_track
from agent.room.publications import LocalTrack
from agent.room.publish_options import TrackPlan
from agent.room.session import RoomSession
from agent.tasks import Tasks

log = structlog.get_logger(__name__)

UNPUBLISH_TIMEOUT_S = 0.8  # one round trip; while the connection is down it would wait for its return

_LEAVING = "the room is being left; join again to publish"


class Offers:
    """Asks the server to take tracks, and takes them back. Once `closed`, nothing is offered any more."""

    def __init__(self, session: RoomSession, tasks: Tasks) -> None:
        self._session = session
        self._tasks = tasks
        self.closed = False

    def require_room(self) -> None:
        """Raises PublishFailed while the room is being left, ConnectionLost once it is gone."""
        if self.closed:
            raise PublishFailed(_LEAVING)
        self._session.sdk_room  # noqa: B018 - raises

    async def offer(
        self, native: NativeSource, plan: TrackPlan, *, muted: bool = False
    ) -> tuple[LocalTrack, rtc.LocalTrackPublication]:
        """A new track of `native`, published; a `muted` one is so from the beginning.

        Raises PermissionDenied, PublishFailed or ConnectionLost.
        """
        self.require_room()
        self._session.permissions.require_publish(plan.source)
        track = sdk_track(native, plan)
        if muted:
            track.mute()
        publishing = self._tasks.start(self._publish(track, plan), name=f"publish.{plan.name}", expected=RoomhandError)
        try:
            return track, await asyncio.shield(publishing)
        except asyncio.CancelledError:
            if publishing.cancelled():
                raise PublishFailed(_LEAVING) from None
            if not self.closed:
                self._tasks.start(self._withdraw_late(publishing, plan.name), name=f"withdraw.{plan.name}")
            raise

    async def _publish(self, track: LocalTrack, plan: TrackPlan) -> rtc.LocalTrackPublication:
        try:
            local = self._session.sdk_room.local_participant
            return await local.publish_track(track, convert.sdk_publish_options(plan))
        except PublishTrackError as error:
            raise PublishFailed(f"the server did not take track {plan.name!r}: {error.message}") from error

    async def _withdraw_late(self, publishing: asyncio.Task[rtc.LocalTrackPublication], name: str) -> None:
        """A publication whose caller was cancelled must not stay in the room without media."""
        try:
            publication = await publishing
        except RoomhandError as error:
            log.info("publication_refused", track=name, error=str(error))
        else:
            await self.withdraw(publication.sid, name)

    async def withdraw(self, sid: str, name: str) -> None:
        """Take the track of that SID out of the room; where that is not answered it goes with the room."""
        try:
            async with asyncio.timeout(UNPUBLISH_TIMEOUT_S):
                await self._session.sdk_room.local_participant.unpublish_track(sid)
        except (RoomhandError, UnpublishTrackError, TimeoutError) as error:
            # Gone with the room, or it will go with it.
            log.info("unpublish_skipped", track=name, error=type(error).__name__)

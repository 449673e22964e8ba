"""Publishing sources as tracks: pacing, muting, withdrawing, and what survives a reconnect."""

import asyncio
from collections import Counter
from functools import partial

import structlog

from agent.errors import InvalidSettings, PermissionDenied, PublishFailed, RoomhandError, TrackNotFound
from agent.room.convert_stats import encoded, track_stats
from agent.room.counters import RoomCounters
from agent.room.events import (
    ConnectionStateChanged,
    Disconnected,
    LocalTrackMuted,
    LocalTrackPublished,
    LocalTrackUnpublished,
    PermissionsChanged,
    RoomEvent,
)
from agent.room.feeding import Feed, VideoFeed, feed_of, native_source
from agent.room.offers import Offers
from agent.room.overlap import overlap
from agent.room.own_metadata import OwnMetadata
from agent.room.permissions import Permissions
from agent.room.pre_encoded_feed import PreEncodedFeed
from agent.room.publications import LocalTrack, Played, Publication, PublicationStatus
from agent.room.publish_options import PlanChange, PublishOptions, TrackPlan, plan_audio, plan_pre_encoded, plan_video
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, PublicationState
from agent.tasks import Tasks
from media.errors import SourceUnreadable
from media.sources.source import PreEncodedSource, Source, VideoFormat
from quality.pre_encoded import Encoded

log = structlog.get_logger(__name__)

START_DELAY_S = 0.1  # both tracks are fed from then on, so that neither begins late
SETTLE_TIMEOUT_S = 0.8  # what is being published as the room is left is withdrawn by who publishes it


class Publisher:
    """Publishes sources into a session's room; leaves before the room does.

    A source whose end is reached is unpublished with status `ended`; one that cannot be read on, with
    `failed`. After a full reconnect the SDK publishes again under new SIDs (told by LocalTrackPublished),
    muted ones muted.
    """

    def __init__(self, session: RoomSession) -> None:
        self._session = session
        self._tasks = Tasks("publisher")
        self._playing: list[Played] = []
        self._offers = Offers(session, self._tasks)
        self._metadata = OwnMetadata(session)
        self._counted: Counter[str] = Counter()
        self._was_reconnecting = False
        session.before_leaving("publications", self.aclose)
        session.add_listener(self._on_event)

    @property
    def publications(self) -> tuple[PublicationState, ...]:
        """All that is published now."""
        return tuple(publication.state for publication in self._all())

    @property
    def local_tracks(self) -> tuple[tuple[str, TrackPlan, LocalTrack, bool], ...]:
        """SID, plan, SDK track and whether muted, for the statistics of this package."""
        return tuple((each.sdk.sid, each.plan, each.track, each.muted) for each in self._all())

    def _all(self) -> list[Publication]:
        return [publication for played in self._playing for publication in played.publications]

    async def publish(self, source: Source, options: PublishOptions | None = None) -> tuple[PublicationState, ...]:
        """Publish the picture and sound of `source` and play it; the publisher closes it at the end.

        Raises PermissionDenied, InvalidSettings (a name taken, nothing to publish), PublishFailed (also where the
        room is left meanwhile) or ConnectionLost; the source is closed then too, and none of it is in the room.
        InvalidSettings for one that is being played here: it goes on.
        """
        if any(played.source is source for played in self._playing):
            raise InvalidSettings("this source is published already; make another one")
        played, options = Played(source), options or PublishOptions()
        try:
            plans = self._plan(source, options)
            names = [plan.name for plan in plans]
            said = self._metadata.check(names, options.metadata)
            played.pending = set(names)
            self._playing.append(played)
            if not said:
                await self._metadata.clear(names)
            for plan in plans:
                await self._publish_one(played, plan)
            await self._metadata.tell(names, said)
            self._offers.require_room()
        except BaseException:
            await self._withdraw(played, PublicationStatus.FAILED, "publishing failed")
            raise
        finally:
            played.settled.set()
        self._start(played)
        return tuple(publication.state for publication in played.publications)

    def _plan(self, source: Source, options: PublishOptions) -> list[TrackPlan]:
        self._offers.require_room()
        video = source.video if options.video else None
        audio = source.audio if options.audio else None
        plans = []
        if video:
            plans.append(_plan_video(source, video, options))
        if audio:
            plans.append(plan_audio(options, with_video=video is not None))
        if not plans:
            raise InvalidSettings("nothing of this source is to be published; allow its video or its audio")
        taken = {publication.plan.name for publication in self._all()}
        taken.update(*(played.pending for played in self._playing))
        for plan in plans:
            self._session.permissions.require_publish(plan.source)
            if plan.name in taken:
                raise InvalidSettings(f"a track named {plan.name!r} is published already; give another name")
        return plans

    async def _publish_one(self, played: Played, plan: TrackPlan) -> None:
        native = native_source(played.source, plan)
        track, sdk = await self._offers.offer(native, plan)
        publication = Publication(plan, track, native, sdk)
        played.publications.append(publication)
        played.pending.discard(plan.name)
        self._session.permissions.require_publish(plan.source)  # a moderator may have changed them meanwhile
        log.info("published", track=plan.name, sid=sdk.sid, kind=plan.kind, simulcast=plan.simulcast)
        self._session.emit(LocalTrackPublished(sdk.sid, plan.name, plan.kind, plan.source))

    def _start(self, played: Played) -> None:
        start = asyncio.get_running_loop().time() + START_DELAY_S
        for publication in played.publications:
            plan = publication.plan
            look = partial(_encoded, publication)
            feed = publication.feed = feed_of(plan, played.source, publication.native, start=start, encoded=look)
            feed.set_muted(muted=publication.muted)
            publication.pumping = self._tasks.start(self._play(played, publication, feed), name=f"pump.{plan.name}")

    async def _play(self, played: Played, publication: Publication, feed: Feed) -> None:
        try:
            if not await feed.run():
                return
            status, reason = PublicationStatus.ENDED, "its source ended"
        except SourceUnreadable as error:
            status, reason = PublicationStatus.FAILED, str(error)
            log.warning("source_failed", track=publication.plan.name, error=str(error))
        except Exception as error:  # a track without media must not stay in the room, whatever ended them
            status, reason = PublicationStatus.FAILED, f"its media could not be sent on: {error!r}"
            log.exception("feed_failed", track=publication.plan.name)
        publication.pumping = None
        await self._unpublish(played, publication, status, reason)

    def _find(self, which: str) -> tuple[Played, Publication]:
        for played in self._playing:
            for publication in played.publications:
                if which in {publication.sdk.sid, publication.plan.name}:
                    return played, publication
        raise TrackNotFound(f"nothing is published as {which!r}; give the SID or name of one of our tracks")

    def mute(self, which: str) -> PublicationState:
        """Mute the publication of that SID or name; its source goes on unheard and unseen."""
        return self._set_muted(which, muted=True)

    def unmute(self, which: str) -> PublicationState:
        """End the muting of the publication of that SID or name."""
        return self._set_muted(which, muted=False)

    def _set_muted(self, which: str, *, muted: bool) -> PublicationState:
        _, publication = self._find(which)
        publication.set_muted(muted=muted)
        log.info("muted" if muted else "unmuted", track=publication.plan.name)
        return publication.state

    async def unpublish(self, which: str) -> PublicationState:
        """Withdraw the publication of that SID or name."""
        played, publication = self._find(which)
        await self._unpublish(played, publication, PublicationStatus.UNPUBLISHED, "withdrawn")
        return publication.state

    def limit(self, which: str, *, max_fps: float | None = None, lines: int | None = None) -> None:
        """Send a video of ours with at most so many frames a second and lines (of its shorter side).

        None is as published. Works from the next frame on, on the same track. Raises TrackNotFound.
        """
        _, publication = self._find(which)
        if isinstance(publication.feed, VideoFeed):
            publication.feed.limit(max_fps=max_fps, lines=lines)

    def note_encoder_dropped(self, which: str) -> None:
        """Frames of a video that is encoded already were captured and not sent. Raises TrackNotFound."""
        _, publication = self._find(which)
        if isinstance(publication.feed, PreEncodedFeed):
            self._tasks.start(publication.feed.encoder_dropped(), name=f"dropped.{publication.plan.name}")

    async def republish(self, which: str, change: PlanChange | None = None) -> PublicationState:
        """Publish a track of ours anew, with `change`, and then withdraw the old one.

        Whoever subscribed has the new one before the old one goes. Raises TrackNotFound, PermissionDenied or
        PublishFailed (the old one stays; where the room has it no longer, it has failed) or ConnectionLost.
        """
        _, publication = self._find(which)
        async with publication.turn:
            plan, old = (change or PlanChange()).applied_to(publication.plan), publication.sdk
            if publication.leaving.is_set() or self._offers.closed:
                raise PublishFailed(f"track {plan.name!r} is being withdrawn; it is not published again")
            muted = publication.muted
            try:
                track, sdk = await self._offers.offer(publication.native, plan, muted=muted)
            except (PermissionDenied, PublishFailed) as error:
                if publication in self._missing():
                    self._lost(publication, str(error))
                raise
            publication.begin(track, sdk, plan, muted=muted)
            log.info("republished", track=plan.name, sid=sdk.sid, previous_sid=old.sid)
            self._session.emit(LocalTrackPublished(sdk.sid, plan.name, plan.kind, plan.source, old.sid))
            try:
                await overlap(publication, self._tasks)
            finally:
                await self._offers.withdraw(old.sid, plan.name)
        return publication.state

    def counters(self) -> RoomCounters:
        """Totals for metrics."""
        counted = Counter(self._counted)
        for publication in self._all():
            if isinstance(publication.feed, PreEncodedFeed):
                counted.update(publication.feed.counted)
        return RoomCounters(pre_encoded=dict(counted))

    def missing(self) -> tuple[PublicationState, ...]:
        """What is published as far as we know, and is not in the room."""
        return tuple(publication.state for publication in self._missing())

    def _missing(self) -> list[Publication]:
        present = self._session.sdk_room.local_participant.track_publications
        return [
            publication
            for publication in self._all()
            if publication.status is PublicationStatus.FAILED or publication.sdk.sid not in present
        ]

    def _lost(self, publication: Publication, reason: str) -> None:
        """It is in the room no longer, and is to be again."""
        plan = publication.plan
        if publication.leave(PublicationStatus.FAILED, reason):
            log.warning("publication_lost", track=plan.name, sid=publication.sdk.sid, reason=reason)
            self._session.emit(LocalTrackUnpublished(publication.sdk.sid, plan.name, plan.kind, plan.source, reason))

    async def _unpublish(
        self, played: Played, publication: Publication, status: PublicationStatus, reason: str
    ) -> None:
        """Stop feeding, then unpublish, then drop the native source: any other order can abort the process."""
        publication.leaving.set()
        async with publication.turn:
            if publication in played.publications:
                played.publications.remove(publication)
                await self._end(publication, status, reason)
        if not played.publications:
            await self._close_source(played)

    async def _end(self, publication: Publication, status: PublicationStatus, reason: str) -> None:
        if isinstance(publication.feed, PreEncodedFeed):
            self._counted.update(publication.feed.counted)
        plan, sid = publication.plan, publication.sdk.sid
        # Asked for first: what another track of this name says comes after that. We leave with all we say.
        forgetting = None
        if not self._offers.closed:
            forgetting = self._tasks.start(self._metadata.forget(plan.name), name=f"forget.{plan.name}")
        await publication.stop_pumping()
        await self._offers.withdraw(sid, plan.name)
        await publication.native.aclose()
        was_there = publication.leave(status, reason)
        log.info("unpublished", track=plan.name, status=status, reason=reason)
        if was_there:
            self._session.emit(LocalTrackUnpublished(sid, plan.name, plan.kind, plan.source, reason))
        if forgetting:
            await asyncio.wait((forgetting,))

    async def _withdraw(self, played: Played, status: PublicationStatus, reason: str) -> None:
        publications = tuple(played.publications)
        await asyncio.gather(*(self._unpublish(played, each, status, reason) for each in publications))
        await self._close_source(played)

    async def _close_source(self, played: Played) -> None:
        if played in self._playing:
            self._playing.remove(played)
        # In a thread: a file source waits there for a read in progress.
        await asyncio.to_thread(played.source.close)

    def _on_event(self, event: RoomEvent) -> None:
        if isinstance(event, Disconnected):
            # Feeding a track whose room is gone can abort the process; the rest is aclose's.
            for publication in self._all():
                publication.stop()
            if not self._offers.closed:
                for played in self._playing:  # who waits to push into one learns that nobody hears it
                    self._tasks.start(asyncio.to_thread(played.source.close), name="close_source")
        elif isinstance(event, LocalTrackMuted):
            self._told_of_mute(event)
        elif isinstance(event, LocalTrackPublished) and event.previous_sid:
            self._published_anew(event.sid)
        elif isinstance(event, ConnectionStateChanged):
            if event.state is ConnectionState.RECONNECTING:
                self._was_reconnecting = True
            elif event.state is ConnectionState.CONNECTED and self._was_reconnecting:
                self._was_reconnecting = False
                self._follow(self._session.permissions)
        elif isinstance(event, PermissionsChanged):
            self._follow(event.permissions)

    def _told_of_mute(self, event: LocalTrackMuted) -> None:
        """Remember what a moderator did: the SDK has obeyed already."""
        for publication in self._all():
            if publication.sdk.sid == event.sid and publication.muted != event.muted:
                publication.note_muted(muted=event.muted)
                log.info("muted" if event.muted else "unmuted", track=publication.plan.name, by="the server")

    def _published_anew(self, sid: str) -> None:
        """By us, or by the SDK after a full reconnect."""
        for publication in self._all():
            if publication.sdk.sid == sid:
                publication.published_anew()

    def _follow(self, permissions: Permissions) -> None:
        """Withdraw what may not be published any more; publish again what is not in the room, and may be."""
        if self._offers.closed:
            return
        for publication in self._all():
            plan = publication.plan
            try:
                permissions.require_publish(plan.source)
            except PermissionDenied as denied:
                self._tasks.start(self._withhold(publication, str(denied)), name=f"withhold.{plan.name}")
            else:
                self._tasks.start(self._publish_again(publication), name=f"restore.{plan.name}")

    async def _withhold(self, publication: Publication, reason: str) -> None:
        """The server has dropped it, which it tells everybody else: the SDK goes on as if it were there."""
        async with publication.turn:
            if publication.leaving.is_set() or publication.status is PublicationStatus.FAILED:
                return
            self._lost(publication, reason)
            if publication.sdk.sid in self._session.sdk_room.local_participant.track_publications:
                await self._offers.withdraw(publication.sdk.sid, publication.plan.name)

    async def _publish_again(self, publication: Publication) -> None:
        async with publication.turn:
            previous_sid, plan, muted = publication.sdk.sid, publication.plan, publication.muted
            try:
                if publication.leaving.is_set() or self._offers.closed or publication not in self._missing():
                    return
                track, sdk = await self._offers.offer(publication.native, plan, muted=muted)
            except RoomhandError as error:
                # Tried again after the next reconnect, as we may again, and by who restarts tracks.
                self._lost(publication, str(error))
                log.warning("restore_failed", track=plan.name, error=str(error))
                return
            publication.begin(track, sdk, plan, muted=muted)
        log.info("restored", track=plan.name, sid=sdk.sid)
        self._session.emit(LocalTrackPublished(sdk.sid, plan.name, plan.kind, plan.source, previous_sid))

    async def aclose(self) -> None:
        """Stop all sources, then withdraw all publications; idempotent."""
        self._offers.closed = True
        for publication in self._all():
            publication.stop()
        try:
            await asyncio.gather(*(self._leave(each) for each in tuple(self._playing)))
        finally:
            await self._tasks.aclose()

    async def _leave(self, played: Played) -> None:
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await played.settled.wait()
        except TimeoutError:
            log.info("publishing_cut_off", tracks=sorted(played.pending))
        await self._withdraw(played, PublicationStatus.UNPUBLISHED, "leaving")


def _plan_video(source: Source, video: VideoFormat, options: PublishOptions) -> TrackPlan:
    if isinstance(source, PreEncodedSource):
        return plan_pre_encoded(options, video, source.codec, source.bitrate_bps)
    return plan_video(options, video.width, video.height, video.fps)


async def _encoded(publication: Publication) -> Encoded:
    return encoded(await track_stats(publication.track))

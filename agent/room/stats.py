"""One look a second at what is received and sent, as snapshots that quality/ can judge."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from weakref import WeakKeyDictionary

import structlog

from agent.errors import ConnectionLost
from agent.listeners import tell_all
from agent.room import convert_stats
from agent.room.convert_stats import SdkTrack
from agent.room.publisher import Publisher
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, TrackState
from agent.room.subscriber import Subscriber
from agent.tasks import Tasks
from media.clock import SteadyClock
from quality.presets import simulcast_layers
from quality.stats import (
    InboundRtp,
    OutboundRtp,
    QualityLimitationReason,
    TrackKind,
    TrackSnapshot,
    TrackSource,
    VideoLayer,
)

log = structlog.get_logger(__name__)

INTERVAL_S = 1.0
POLL_TIMEOUT_S = 2.0  # the native layer answers in milliseconds, or not at all while it reconnects

SnapshotListener = Callable[[tuple[TrackSnapshot, ...], float], None]


class StatsPoller:
    """Polls the room and tells listeners; nothing is told while the connection is not there.

    The SDK does not tell which layers a publisher announced: a simulcast video's are taken for LiveKit's presets.
    """

    def __init__(
        self,
        session: RoomSession,
        subscriber: Subscriber,
        publisher: Publisher | None = None,
        *,
        clock: SteadyClock | None = None,
    ) -> None:
        self._session = session
        self._subscriber = subscriber
        self._publisher = publisher
        self._clock = clock or SteadyClock()
        self._tasks = Tasks("stats")
        self._listeners: list[SnapshotListener] = []
        self._identifiers: WeakKeyDictionary[SdkTrack, str] = WeakKeyDictionary()
        session.before_leaving("stats", self.aclose)

    def add_listener(self, listener: SnapshotListener) -> None:
        """Have `listener` called with the snapshots and the time of each poll."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Poll once a second until closed."""
        self._tasks.start(self._run(), name="poll")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            next_at = max(next_at + INTERVAL_S, loop.time())
            await asyncio.sleep(next_at - loop.time())
            if self._session.connection is not ConnectionState.CONNECTED:
                continue
            try:
                snapshots = await self.poll()
            except ConnectionLost:
                continue
            if snapshots is not None:  # no answer says nothing of any track
                self._tell(snapshots)

    def _tell(self, snapshots: tuple[TrackSnapshot, ...]) -> None:
        tell_all(self._listeners, snapshots, self._clock.now(), fault="stats_listener_failed")

    async def poll(self) -> tuple[TrackSnapshot, ...] | None:
        """The snapshots of now: subscriptions first, then publications. None if the SDK does not answer.

        Raises ConnectionLost outside a room.
        """
        room = self._session.sdk_room
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                await self._learn_identifiers()
                stats = await room.get_rtc_stats()
        except (TimeoutError, RuntimeError) as error:
            log.warning("stats_unavailable", error=str(error) or type(error).__name__)
            return None
        now, path = self._clock.now(), convert_stats.path_of(stats)
        return (
            *self._inbound_snapshots(convert_stats.inbound_by_track(stats), path, now),
            *self._outbound_snapshots(convert_stats.outbound_by_source(stats), path, now),
        )

    def _inbound_snapshots(
        self, inbound: dict[str, InboundRtp], path: convert_stats.Path, now: float
    ) -> Iterator[TrackSnapshot]:
        for track, sdk_track in self._subscriber.received():
            stats = inbound.get(self._identifier(sdk_track))
            if stats is None:
                continue
            intent = self._subscriber.intent_of(track) if track.kind == TrackKind.VIDEO else None
            yield TrackSnapshot(
                track_sid=track.sid,
                kind=TrackKind(track.kind),
                source=TrackSource(track.source),
                timestamp=now,
                stats=stats,
                muted=track.muted or (intent is not None and not intent.sent),
                stream_paused=convert_stats.is_stream_paused(sdk_track),
                requested_quality=intent.quality if intent else None,
                layers=_layers(track) if intent and track.simulcasted else (),
                available_bandwidth_bps=path.incoming_bps,
                content=self._subscriber.content(track),
            )

    def _outbound_snapshots(
        self, outbound: dict[str, tuple[OutboundRtp, ...]], path: convert_stats.Path, now: float
    ) -> Iterator[TrackSnapshot]:
        for sid, plan, track, muted in self._publisher.local_tracks if self._publisher else ():
            stats = outbound.get(self._identifier(track))
            if stats is not None and plan.pre_encoded:
                # libwebrtc wants it smaller from its first low estimate on, which a pass-through never is: it says
                # "bandwidth" for ever (seen on livekit 1.2.1).
                stats = tuple(replace(each, quality_limitation_reason=QualityLimitationReason.NONE) for each in stats)
            if stats is not None:
                yield TrackSnapshot(
                    sid, plan.kind, plan.source, now, stats, muted=muted, available_bandwidth_bps=path.outgoing_bps
                )

    def _identifier(self, track: SdkTrack) -> str:
        return self._identifiers.get(track, "")

    async def _learn_identifiers(self) -> None:
        """Ask each new track once what it is called: its own statistics are dear, the session's cheap."""
        tracks: list[SdkTrack] = [each for _, _, each, _ in self._publisher.local_tracks] if self._publisher else []
        tracks += [sdk_track for _, sdk_track in self._subscriber.received()]
        for track in tracks:
            if track not in self._identifiers:
                try:
                    identifier = convert_stats.track_identifier(await convert_stats.track_stats(track))
                except RuntimeError as error:
                    # It is asked again in a second; the others are known meanwhile.
                    log.warning("track_stats_unavailable", sid=track.sid, error=str(error))
                    continue
                if identifier:  # one that has just come may have none yet
                    self._identifiers[track] = identifier

    async def aclose(self) -> None:
        """Stop polling; idempotent."""
        await self._tasks.aclose()


def _layers(track: TrackState) -> tuple[VideoLayer, ...]:
    return simulcast_layers(track.width, track.height, TrackSource(track.source))

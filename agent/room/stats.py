"""One look a second at what is received and sent, as snapshots that quality/ can judge."""

import asyncio
from collections.abc import Callable

import structlog
from livekit import rtc
from livekit.rtc._proto import stats_pb2 as proto_stats

from agent.errors import ConnectionLost
from agent.room import convert_stats
from agent.room.publisher import Publisher
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, TrackState
from agent.room.subscriber import Subscriber
from agent.tasks import Tasks
from media.clock import SteadyClock
from quality.stats import InboundRtp, OutboundRtp, TrackKind, TrackSnapshot, TrackSource, VideoLayer

log = structlog.get_logger(__name__)

INTERVAL_S = 1.0
POLL_TIMEOUT_S = 2.0  # the native layer answers in milliseconds, or not at all while it reconnects

SnapshotListener = Callable[[tuple[TrackSnapshot, ...], float], None]
LayersOf = Callable[[str], tuple[VideoLayer, ...]]


def _no_layers(_track_sid: str) -> tuple[VideoLayer, ...]:
    return ()


class StatsPoller:
    """Polls the room and tells listeners; nothing is told while the connection is not there.

    `layers_of` says which layers the publisher of a SID announced; the SDK does not tell, the tap does.
    """

    def __init__(
        self,
        session: RoomSession,
        subscriber: Subscriber,
        publisher: Publisher | None = None,
        *,
        clock: SteadyClock | None = None,
        layers_of: LayersOf = _no_layers,
    ) -> None:
        self._session = session
        self._subscriber = subscriber
        self._publisher = publisher
        self._clock = clock or SteadyClock()
        self._layers_of = layers_of
        self._tasks = Tasks("stats")
        self._listeners: list[SnapshotListener] = []
        self._identifiers: dict[str, str] = {}
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
            self._tell(snapshots)

    def _tell(self, snapshots: tuple[TrackSnapshot, ...]) -> None:
        now = self._clock.now()
        for listener in tuple(self._listeners):
            try:
                listener(snapshots, now)
            except Exception:
                # One listener's fault must not end the polling for all.
                log.exception("stats_listener_failed")

    async def poll(self) -> tuple[TrackSnapshot, ...]:
        """The snapshots of now: subscriptions first, then publications. Empty if the SDK does not answer.

        Raises ConnectionLost outside a room.
        """
        room = self._session.sdk_room
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                stats = await room.get_rtc_stats()
                await self._learn_identifiers()
        except (TimeoutError, RuntimeError) as error:
            log.warning("stats_unavailable", error=str(error) or type(error).__name__)
            return ()
        now = self._clock.now()
        inbound = convert_stats.inbound_by_track(stats)
        snapshots = [
            self._inbound_snapshot(track, inbound[track.sid], now)
            for track in self._subscriber.subscribed()
            if track.sid in inbound
        ]
        return (*snapshots, *self._outbound_snapshots(convert_stats.outbound_by_source(stats), now))

    def _inbound_snapshot(self, track: TrackState, stats: InboundRtp, now: float) -> TrackSnapshot:
        kind = TrackKind(track.kind)
        return TrackSnapshot(
            track_sid=track.sid,
            kind=kind,
            source=TrackSource(track.source),
            timestamp=now,
            stats=stats,
            muted=track.muted,
            requested_quality=self._subscriber.intent(track.sid).quality if kind is TrackKind.VIDEO else None,
            layers=self._layers_of(track.sid) if kind is TrackKind.VIDEO else (),
        )

    def _outbound_snapshots(
        self, outbound: dict[str, tuple[OutboundRtp, ...]], now: float
    ) -> tuple[TrackSnapshot, ...]:
        if self._publisher is None:
            return ()
        return tuple(
            TrackSnapshot(sid, plan.kind, plan.source, now, outbound[self._identifiers[plan.name]], muted=muted)
            for sid, plan, _, muted in self._publisher.local_tracks
            if self._identifiers.get(plan.name) in outbound
        )

    async def _learn_identifiers(self) -> None:
        """Session statistics name local tracks by an id that only a track's own statistics tie to it."""
        if self._publisher is None:
            return
        tracks = self._publisher.local_tracks
        names = {plan.name for _, plan, _, _ in tracks}
        self._identifiers = {name: known for name, known in self._identifiers.items() if name in names}
        for _, plan, track, _ in tracks:
            if plan.name not in self._identifiers:
                identifier = convert_stats.source_identifier(await _track_stats(track))
                if identifier is not None:
                    self._identifiers[plan.name] = identifier

    async def aclose(self) -> None:
        """Stop polling; idempotent."""
        await self._tasks.aclose()


async def _track_stats(track: rtc.LocalVideoTrack | rtc.LocalAudioTrack) -> list[proto_stats.RtcStats]:
    try:
        return await track.get_stats()
    except Exception as error:
        # The SDK raises a bare Exception here (Track.get_stats, livekit 1.2.1).
        raise RuntimeError(str(error)) from error

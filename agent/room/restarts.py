"""Restarts tracks that should flow and do not: `quality.restart` over a connection's judgements, and hands to act."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from agent.errors import RoomhandError
from agent.room.counters import RoomCounters
from agent.room.events import TrackRestarted
from agent.room.quality_monitor import JudgedTrack, QualityTick, TrackLabel
from agent.tasks import Tasks
from media.errors import MediaError
from quality import restart
from quality.restart import Action, Ended, Health, Problem, Remedy, RestartState
from quality.stats import Direction

log = structlog.get_logger(__name__)

SETTLED_S = 10.0  # a connection that came back is still subscribing, and its first key frames are under way
AWAITED_S = 10.0  # a server with a hundred tracks to give takes seconds
GAP_S = 3.0  # between two seconds' judgements: there was no connection meanwhile


class Hands(Protocol):
    """What can be done to the tracks of a connection. Each may raise RoomhandError or MediaError."""

    @property
    def connection_id(self) -> str:
        """Another one for each connection to the room; empty while there is none."""

    def wants(self, label: TrackLabel) -> bool:
        """Whether the track is still to be received, or sent."""

    def can_go_lower(self, label: TrackLabel) -> bool:
        """Whether a lower layer of a received video can be asked for."""

    def is_recorded(self, label: TrackLabel) -> bool:
        """Whether what comes of a received track over this connection is recorded."""

    def is_encrypted(self, label: TrackLabel) -> bool:
        """Whether a received track is encrypted end to end, and comes as a picture only with the right key."""

    def lacks_key(self, label: TrackLabel) -> bool:
        """Whether a received track is known to lack the right key, which is told elsewhere: a restart mends nothing."""

    def missing(self) -> dict[TrackLabel, Health]:
        """Publications of ours that the room has no longer."""

    def awaited(self) -> tuple[TrackLabel, ...]:
        """Received tracks that were asked for, are not muted, and are not there."""

    async def restart(self, label: TrackLabel) -> None:
        """Subscribe, or publish, anew."""

    async def lower_layer(self, label: TrackLabel) -> None:
        """Ask for the next lower layer of a video."""

    async def audio_only(self, label: TrackLabel) -> None:
        """Give up a video."""


@dataclass(frozen=True, slots=True)
class _Watched:
    label: TrackLabel
    state: RestartState


class TrackRestarter:
    """Feed it the ticks of one connection. What is done is logged, told and counted, and so is what became of it.

    A received track is known by its SID, one of ours by its name: published anew it has another SID.
    """

    def __init__(self, connection: str, hands: Hands, tell: Callable[[TrackRestarted], None]) -> None:
        self._connection = connection
        self._hands = hands
        self._tell = tell
        self._watched: dict[str, _Watched] = {}
        self._awaited_since: dict[str, float] = {}
        self._counted: Counter[str] = Counter()
        self._tasks = Tasks("restarts")
        self._acting: set[str] = set()
        self._connection_id = ""
        self._settles_since = 0.0
        self._ticked_at = 0.0
        self._arrived_at = 0.0

    def on_tick(self, tick: QualityTick) -> None:
        """Take in one second's judgements."""
        judged = [(each, self._health(each)) for each in tick.tracks]
        self._look_at_connection(judged, tick.at)
        if not self._connection_id or tick.at - self._settles_since < SETTLED_S:
            return
        seen = {_key(each): (each.label, health) for each, health in judged}
        seen |= {label.name: (label, health) for label, health in self._hands.missing().items()}
        seen |= self._never_came(seen.keys(), tick.at)
        seen |= self._vanished(seen.keys())
        self._forget(self._watched.keys() - seen.keys() - self._acting, tick.at)
        for key, (label, health) in seen.items():
            if key not in self._acting and self._is_ours(label, health):
                self._step(key, label, health, tick.at)

    def _look_at_connection(self, judged: list[tuple[JudgedTrack, Health]], now: float) -> None:
        """Whether it is another one, was away, or gives nothing: what comes after that is given its time."""
        if self._hands.connection_id != self._connection_id:
            self._forget(set(self._watched), now)
            self._connection_id, self._settles_since = self._hands.connection_id, now
            self._awaited_since.clear()
        if now - self._ticked_at > GAP_S:
            self._settles_since = self._arrived_at = now
        self._ticked_at = now
        received = [(each, health) for each, health in judged if not _is_sent(each) and self._hands.wants(each.label)]
        windows = [each.judgement.window for each, _ in received]
        if any(window.packets for window in windows):
            self._arrived_at = now
        stuck = sum(health.problem is Problem.STUCK for _, health in received)
        if restart.is_down(windows, stuck, now - self._arrived_at):
            self._settles_since = now

    def _forget(self, keys: Collection[str], now: float) -> None:
        for watched in [self._watched.pop(key) for key in keys]:
            for ended in restart.overtaken(watched.state, now):
                self._ended(watched.label, ended)

    def _is_ours(self, label: TrackLabel, health: Health) -> bool:
        """Whether it is for us to restart: what is received and not wanted is on its way out."""
        return health.direction is Direction.OUTBOUND or self._hands.wants(label)

    def _never_came(self, seen: Collection[str], now: float) -> dict[str, tuple[TrackLabel, Health]]:
        """Tracks that have been waited for for too long."""
        awaited = {label.track_sid: label for label in self._hands.awaited() if label.track_sid not in seen}
        self._awaited_since = {sid: self._awaited_since.get(sid, now) for sid in awaited}
        return {
            sid: (label, restart.never_came(label.kind))
            for sid, label in awaited.items()
            if now - self._awaited_since[sid] >= AWAITED_S
        }

    def _vanished(self, seen: Collection[str]) -> dict[str, tuple[TrackLabel, Health]]:
        """Tracks that are still wanted, and of which nothing at all is known since they were restarted."""
        return {
            key: (watched.label, restart.vanished(watched.label.kind, keep_video=self._keeps(watched.label)))
            for key, watched in self._watched.items()
            if key not in seen and watched.state.watched is not None and self._hands.wants(watched.label)
        }

    def _step(self, key: str, label: TrackLabel, health: Health, now: float) -> None:
        watched = self._watched.get(key)
        state, told = restart.step(watched.state if watched else RestartState(), health, now)
        self._watched[key] = _Watched(label, state)
        for each in told:
            if isinstance(each, Ended):
                self._ended(label, each)
            else:
                self._act(key, label, each)

    def _health(self, judged: JudgedTrack) -> Health:
        health = restart.health(judged.judgement)
        if health.problem is None or _is_sent(judged):
            return health
        if self._hands.lacks_key(judged.label):
            return replace(health, problem=None)
        recorded, encrypted = self._hands.is_recorded(judged.label), self._hands.is_encrypted(judged.label)
        health = restart.health(judged.judgement, recorded=recorded, encrypted=encrypted)
        return replace(health, can_go_lower=self._hands.can_go_lower(judged.label))

    def _keeps(self, label: TrackLabel) -> bool:
        return self._hands.is_recorded(label) or self._hands.is_encrypted(label)

    def _act(self, key: str, label: TrackLabel, action: Action) -> None:
        bound = self._log(label, action.remedy).bind(
            problem=action.problem.value, attempt=action.attempt, reason=action.reason, expects=action.expects
        )
        if action.remedy is Remedy.REPORT:
            bound.error("track_not_restarted")
        else:
            bound.warning("track_restarting")
            self._acting.add(key)
            self._tasks.start(self._do(key, label, action.remedy), name=f"restart.{label.name}")
        self._count(label, action, "begun", action.reason)

    async def _do(self, key: str, label: TrackLabel, remedy: Remedy) -> None:
        acts: dict[Remedy, Callable[[TrackLabel], Awaitable[None]]] = {
            Remedy.RESTART: self._hands.restart,
            Remedy.LOWER_LAYER: self._hands.lower_layer,
            Remedy.AUDIO_ONLY: self._hands.audio_only,
        }
        try:
            await acts[remedy](label)
        except (RoomhandError, MediaError) as error:
            # It shows as a remedy that did not help, and the next one follows.
            self._log(label, remedy).warning("track_restart_refused", error=str(error))
        finally:
            self._acting.discard(key)

    def _ended(self, label: TrackLabel, ended: Ended) -> None:
        self._log(label, ended.remedy).info(
            "track_restart_ended",
            problem=ended.problem.value,
            outcome=ended.outcome.value,
            took_s=round(ended.took_s, 1),
        )
        self._count(label, ended, ended.outcome.value, f"after {ended.took_s:.1f} s")

    def _count(self, label: TrackLabel, what: Action | Ended, outcome: str, reason: str) -> None:
        self._counted[f"{what.problem}/{what.remedy}/{outcome}"] += 1
        self._tell(
            TrackRestarted(
                label.track_sid,
                label.participant_identity,
                self._connection,
                what.remedy.value,
                outcome,
                what.problem.value,
                reason,
            )
        )

    def _log(self, label: TrackLabel, remedy: Remedy) -> structlog.stdlib.BoundLogger:
        bound: structlog.stdlib.BoundLogger = log.bind(
            remedy=remedy.value,
            connection=self._connection,
            track=label.name,
            sid=label.track_sid,
            participant_identity=label.participant_identity,
        )
        return bound

    def counters(self) -> RoomCounters:
        """Totals for metrics."""
        return RoomCounters(track_restarts=dict(self._counted))

    async def aclose(self) -> None:
        """Do nothing more; idempotent."""
        await self._tasks.aclose()


def _key(judged: JudgedTrack) -> str:
    return judged.label.name if _is_sent(judged) else judged.label.track_sid


def _is_sent(judged: JudgedTrack) -> bool:
    return judged.judgement.window.direction is Direction.OUTBOUND

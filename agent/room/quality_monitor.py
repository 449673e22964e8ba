"""Watches the quality of one connection's tracks: snapshots in; judgements, log lines and events out.

The thin shell over `quality.judge`, one for the participant's connection and one for the recording's tap.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from agent.listeners import tell_all
from agent.room.counters import RoomCounters
from agent.room.events import ParticipantQualityChanged, QualityPatternChanged
from agent.room.state import ReceiveState
from quality import judge
from quality.judge import Judgement, JudgeState
from quality.participants import ParticipantJudgement, ServerOpinion, agreement, judge_participants
from quality.patterns import PatternChange
from quality.score import ConnectionQuality
from quality.stats import InboundRtp, TrackSnapshot

log = structlog.get_logger(__name__)

MAX_LAYERS_SEEN = 32  # a publisher that changes its size endlessly (a shared window) must not grow the state


@dataclass(frozen=True, slots=True)
class TrackLabel:
    """Whose track it is, and what."""

    track_sid: str
    name: str
    kind: str
    source: str
    participant_identity: str
    mime_type: str


@dataclass(frozen=True, slots=True)
class JudgedTrack:
    """A track that was judged, and whose it is."""

    label: TrackLabel
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class LeftTrack:
    """A track that is neither received nor sent any more, and the patterns that ended with it."""

    label: TrackLabel
    changes: tuple[PatternChange, ...]


@dataclass(frozen=True, slots=True)
class QualityTick:
    """All that one connection ("participant" or "tap") receives and sends, judged at `at` (Unix seconds)."""

    connection: str
    at: float
    tracks: tuple[JudgedTrack, ...]
    participants: tuple[ParticipantJudgement, ...]
    left: tuple[LeftTrack, ...] = ()


class Surroundings(Protocol):
    """What a connection knows beside its statistics."""

    @property
    def own_identity(self) -> str:
        """The identity of this end."""

    def labels(self) -> Mapping[str, TrackLabel]:
        """The room's tracks by SID, those that this end sends included."""

    def opinions(self) -> Mapping[str, ServerOpinion]:
        """What the server says of participants, by identity."""


TickListener = Callable[[QualityTick], None]
QualityEvent = QualityPatternChanged | ParticipantQualityChanged


@dataclass(slots=True)
class _Watched:
    label: TrackLabel
    state: JudgeState
    judgement: Judgement | None = None
    frames_per_second: float = 0.0
    layers_seen: tuple[str, ...] = field(default=())


class QualityMonitor:
    """Feed it each second's snapshots; it tells `tell` what changed, and listeners all of it.

    `repaired`: this connection counts lost packets after retransmissions and redundancy mended them.
    """

    def __init__(
        self,
        connection: str,
        surroundings: Surroundings,
        tell: Callable[[QualityEvent], None],
        *,
        repaired: bool = False,
    ) -> None:
        self._connection = connection
        self._surroundings = surroundings
        self._tell = tell
        self._repaired = repaired
        self._tracks: dict[str, _Watched] = {}
        self._qualities: dict[str, ConnectionQuality] = {}
        self._patterns: Counter[str] = Counter()
        self._agreement: Counter[str] = Counter()
        self._listeners: list[TickListener] = []

    def add_listener(self, listener: TickListener) -> None:
        """Have `listener` called with all judgements of each second."""
        self._listeners.append(listener)

    def take(self, snapshots: tuple[TrackSnapshot, ...], now: float) -> None:
        """Judge one second's snapshots; tracks that are not among them are forgotten."""
        labels = self._surroundings.labels()
        present = {snapshot.track_sid for snapshot in snapshots}
        left = tuple(self._end(sid, now) for sid in sorted(set(self._tracks) - present))
        judged = [
            JudgedTrack(labels[snapshot.track_sid], judgement)
            for snapshot in snapshots
            if snapshot.track_sid in labels
            and (judgement := self._judge(snapshot, labels[snapshot.track_sid], now)) is not None
        ]
        participants = judge_participants(
            [each.judgement for each in judged],
            {each.label.track_sid: each.label.participant_identity for each in judged},
            self._surroundings.own_identity,
            self._surroundings.opinions(),
            now,
        )
        self._compare(participants)
        tick = QualityTick(self._connection, now, tuple(judged), participants, left)
        tell_all(self._listeners, tick, fault="quality_listener_failed")

    def _end(self, sid: str, now: float) -> LeftTrack:
        gone = self._tracks.pop(sid)
        changes = judge.end(gone.state, now)
        self._tell_changes(gone.label, changes)
        return LeftTrack(gone.label, changes)

    def _judge(self, snapshot: TrackSnapshot, label: TrackLabel, now: float) -> Judgement | None:
        watched = self._tracks.get(snapshot.track_sid)
        if watched is None:
            coding = judge.coding_of(label.mime_type, repaired=self._repaired)
            self._tracks[snapshot.track_sid] = watched = _Watched(label, judge.start(snapshot, coding))
        else:
            watched.state, watched.judgement = judge.step(watched.state, snapshot, now)
            watched.label = label
            if watched.judgement.window.measured:
                watched.frames_per_second = watched.judgement.window.fps
            self._tell_changes(label, watched.judgement.changes)
        _note_layer(watched, snapshot)
        return watched.judgement

    def _tell_changes(self, label: TrackLabel, changes: tuple[PatternChange, ...]) -> None:
        for change in changes:
            if change.began:
                self._patterns[change.pattern.value] += 1
            self._log(label, change)
            self._tell(
                QualityPatternChanged(
                    track_sid=label.track_sid,
                    participant_identity=label.participant_identity,
                    connection=self._connection,
                    pattern=change.pattern.value,
                    began=change.began,
                    began_at=change.began_at,
                    reason=change.reason,
                )
            )

    def _log(self, label: TrackLabel, change: PatternChange) -> None:
        """One line when a pattern begins, one when it ends."""
        bound = log.bind(
            pattern=change.pattern.value,
            connection=self._connection,
            track=label.name,
            sid=label.track_sid,
            participant_identity=label.participant_identity,
            reason=change.reason,
        )
        if change.began:
            bound.warning("quality_pattern_began")
        else:
            bound.info("quality_pattern_ended", lasted_s=round(change.at - change.began_at, 1))

    def _compare(self, participants: tuple[ParticipantJudgement, ...]) -> None:
        """Count how our word for this end agrees with the server's, and tell where words changed."""
        for judged in participants:
            # Of others it judges their own ways; of this end the very tracks that are judged here.
            if judged.server is not None and judged.own:
                self._agreement[agreement(judged.as_server.quality, judged.server.quality).value] += 1
            # Everybody begins as good as can be, so that only news are told.
            before = self._qualities.get(judged.participant_identity, ConnectionQuality.EXCELLENT)
            if judged.score.quality is not before:
                self._tell(
                    ParticipantQualityChanged(
                        participant_identity=judged.participant_identity,
                        connection=self._connection,
                        quality=judged.score.quality.value,
                        score=round(judged.score.value, 1),
                        mos=round(judged.score.mos, 2),
                        reasons=judged.score.reasons,
                        server_quality=judged.server.quality.value if judged.server else "",
                    )
                )
        self._qualities = {item.participant_identity: item.score.quality for item in participants}

    def judgement(self, sid: str) -> Judgement | None:
        """The last judgement of a track; None until there is one."""
        watched = self._tracks.get(sid)
        return watched.judgement if watched else None

    def receive_state(self, sid: str) -> ReceiveState | None:
        """What is received of a track; None for one that is not."""
        watched = self._tracks.get(sid)
        if watched is None or not isinstance(watched.state.snapshot.stats, InboundRtp):
            return None
        stats = watched.state.snapshot.stats
        state = ReceiveState(
            packets_received=stats.packets_received,
            packets_lost=stats.packets_lost,
            bytes_received=stats.bytes_received,
            frames_received=stats.frames_received,
            frame_width=stats.frame_width,
            frame_height=stats.frame_height,
            frames_per_second=round(stats.frames_per_second or watched.frames_per_second, 2),
            jitter=stats.jitter,
            nack_count=stats.nack_count,
            pli_count=stats.pli_count,
            freeze_count=stats.freeze_count,
            layers_seen=watched.layers_seen,
            muted=watched.state.snapshot.muted,
        )
        return state if watched.judgement is None else _with_verdict(state, watched.judgement)

    def counters(self) -> RoomCounters:
        """Totals for metrics."""
        return RoomCounters(quality_patterns=dict(self._patterns), quality_agreement=dict(self._agreement))


def _note_layer(watched: _Watched, snapshot: TrackSnapshot) -> None:
    stats = snapshot.stats
    if not isinstance(stats, InboundRtp) or not stats.frame_width:
        return
    size = f"{stats.frame_width}x{stats.frame_height}"
    if watched.layers_seen[-1:] != (size,) and len(watched.layers_seen) < MAX_LAYERS_SEEN:
        watched.layers_seen += (size,)


def _with_verdict(state: ReceiveState, judgement: Judgement) -> ReceiveState:
    model = judgement.model
    return replace(
        state,
        score=round(judgement.score.value, 1),
        mos=round(judgement.score.mos, 2),
        quality=judgement.score.quality.value,
        model_mos=round(model.mos, 2) if model else None,
        reasons=(*judgement.score.reasons, *(model.reasons if model else ())),
        patterns=tuple(active.pattern.value for active in judgement.patterns),
    )

"""A room's metrics sample, computed in its process from the room's state (pure).

States show tracks as they are now, and a track that ended takes its counters with it. The sampler
adds up what each track gained, so its totals never fall while the process lives.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice

from agent.room.counters import RoomCounters
from agent.room.state import ReceiveState, RoomState, TrackState
from media.record.entries import RecordingState
from quality.score import connection_quality

_COUNTED = (
    "packets_received",
    "packets_lost",
    "bytes_received",
    "frames_received",
    "nack_count",
    "pli_count",
    "freeze_count",
)

# A reconnect takes all tracks of a room away at once: this is more than one process can receive, and about 1 MB.
VANISHED_KEPT = 1024


@dataclass(frozen=True, slots=True)
class ReceiveTotals:
    """What one kind of track brought over one kind of connection ("participant" or "tap") so far.

    `subscriptions` is how many tracks are subscribed now; the rest are totals.
    """

    kind: str
    connection: str
    subscriptions: int = 0
    packets_received: int = 0
    packets_lost: int = 0
    bytes_received: int = 0
    frames_received: int = 0
    nack_count: int = 0
    pli_count: int = 0
    freeze_count: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One value for a histogram."""

    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class RoomMetrics:
    """One sample. Totals count from the start of the room's process; observations are new since the last sample.

    `undecryptable`: tracks that a running recording leaves out, by reason. `patterns`: tracks, received and sent,
    on which a degradation holds now, by pattern. `participant_qualities`: remote participants by our word for them,
    but for those of whom nothing that is not muted was judged. Muted tracks are in no score. `judged_tracks`: received
    and sent, and not muted; as for `patterns`, a track that both connections receive counts for each of them.
    """

    participants: int = 0
    publications: dict[str, int] = field(default_factory=dict)
    receive: tuple[ReceiveTotals, ...] = ()
    recording_state: str | None = None
    undecryptable: dict[str, int] = field(default_factory=dict)
    jitter_s: tuple[Observation, ...] = ()
    scores: tuple[Observation, ...] = ()
    patterns: dict[str, int] = field(default_factory=dict)
    judged_tracks: int = 0
    participant_qualities: dict[str, int] = field(default_factory=dict)
    counters: RoomCounters = field(default_factory=RoomCounters)


class MetricsSampler:
    """Turns states into samples; one for the life of a room process."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, ReceiveState]] = {}  # by SID and connection; what vanished first comes first
        self._totals: dict[tuple[str, str], ReceiveTotals] = {}

    def sample(self, state: RoomState, counters: RoomCounters, *, observe: bool = True) -> RoomMetrics:
        """The sample for `state`, to be called once per state; with what histograms observe unless told not to."""
        jitter: list[Observation] = []
        scores: list[Observation] = []
        subscriptions: Counter[tuple[str, str]] = Counter()
        for track in state.tracks:
            for connection, receive in _connections(track):
                subscriptions[track.kind, connection] += 1
                if self._add(track, connection, receive):
                    jitter.append(Observation(track.kind, receive.jitter))
            scores.extend(Observation(track.kind, score) for score in _live_scores(track))
        self._forget_but(track.sid for track in state.tracks)
        return RoomMetrics(
            participants=len(state.participants),
            publications=dict(Counter(item.kind for item in state.publications)),
            receive=tuple(
                replace(totals, subscriptions=subscriptions[key]) for key, totals in sorted(self._totals.items())
            ),
            recording_state=state.recording.state if state.recording else None,
            undecryptable=_undecryptable(state),
            jitter_s=tuple(jitter) if observe else (),
            scores=tuple(scores) if observe else (),
            patterns=_patterns(state),
            judged_tracks=_judged_tracks(state),
            participant_qualities=_participant_qualities(state),
            counters=counters,
        )

    def _add(self, track: TrackState, connection: str, receive: ReceiveState) -> bool:
        """Add what the track gained; whether packets came."""
        seen = self._seen.setdefault(track.sid, {})
        before = seen.get(connection, ReceiveState())
        if receive.packets_received < before.packets_received:
            before = ReceiveState()  # a new subscription to the same track counts from nothing
        gained = {name: max(0, getattr(receive, name) - getattr(before, name)) for name in _COUNTED}
        # packets_lost may fall when late packets come (RFC 3550 A.3): remember the highest, or it would count twice.
        highest = {name: max(getattr(receive, name), getattr(before, name)) for name in _COUNTED}
        seen[connection] = replace(receive, **highest)
        total_key = (track.kind, connection)
        totals = self._totals.get(total_key, ReceiveTotals(*total_key))
        sums = {name: getattr(totals, name) + value for name, value in gained.items()}
        self._totals[total_key] = replace(totals, **sums)
        return receive.packets_received > before.packets_received

    def _forget_but(self, present: Iterable[str]) -> None:
        """Forget tracks that are not `present`, but for the last VANISHED_KEPT.

        While the participant reconnects its room shows no tracks, and the tap goes on receiving them: what was seen of
        a track still holds when it is there again.
        """
        there = [sid for sid in present if sid in self._seen]
        for sid in there:
            self._seen[sid] = self._seen.pop(sid)
        surplus = len(self._seen) - len(there) - VANISHED_KEPT
        for sid in tuple(islice(self._seen, max(0, surplus))):
            del self._seen[sid]


def _connections(track: TrackState) -> list[tuple[str, ReceiveState]]:
    both = (("participant", track.subscription), ("tap", track.tap))
    return [(name, receive) for name, receive in both if receive is not None]


def _live_scores(track: TrackState) -> list[float]:
    """Of each connection on which it is not muted. A muted track keeps 100, or for good that it was lost before."""
    judged = (receive for _, receive in _connections(track) if not receive.muted)
    return [receive.score for receive in judged if receive.score is not None]


def _patterns(state: RoomState) -> dict[str, int]:
    """A track that both connections receive counts for each of them."""
    received = (pattern for track in state.tracks for _, receive in _connections(track) for pattern in receive.patterns)
    sent = (pattern for publication in state.publications for pattern in publication.patterns)
    return dict(Counter([*received, *sent]))


def _judged_tracks(state: RoomState) -> int:
    received = sum(len(_live_scores(track)) for track in state.tracks)
    return received + sum(1 for each in state.publications if each.score is not None and not each.muted)


def _participant_qualities(state: RoomState) -> dict[str, int]:
    """Each participant is as good as the worst of its tracks on either connection, but for those that are muted."""
    worst: dict[str, float] = {}
    for track in state.tracks:
        for score in _live_scores(track):
            worst[track.participant_identity] = min(score, worst.get(track.participant_identity, score))
    return dict(Counter(connection_quality(value).value for value in worst.values()))


def _undecryptable(state: RoomState) -> dict[str, int]:
    if state.recording is None or state.recording.state == RecordingState.COMPLETE:
        return {}
    return dict(Counter(track.reason for track in state.recording.undecryptable))

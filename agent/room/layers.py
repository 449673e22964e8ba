"""Layer choice for each video subscription: statistics in, the controller's decisions out and applied."""

from collections.abc import Callable

import structlog

from agent.room.events import LayerChanged
from agent.room.session import RoomSession
from agent.room.state import TrackState
from agent.room.subscriber import Subscriber
from quality import layers
from quality.stats import TrackKind, TrackSnapshot
from quality.window import delta

log = structlog.get_logger(__name__)


class LayerAdapter:
    """Runs quality.layers for each subscribed video that has layers and that nobody pinned.

    Feed it snapshots (`on_snapshots` suits StatsPoller.add_listener). Each decision is applied, logged
    with its reason, told to the session's listeners as LayerChanged, and given to `on_decision`.
    """

    def __init__(
        self,
        session: RoomSession,
        subscriber: Subscriber,
        *,
        on_decision: Callable[[layers.LayerDecision], None] | None = None,
    ) -> None:
        self._session = session
        self._subscriber = subscriber
        self._on_decision = on_decision
        self._states: dict[str, layers.LayerState] = {}
        self._previous: dict[str, TrackSnapshot] = {}

    def on_snapshots(self, snapshots: tuple[TrackSnapshot, ...], now: float) -> None:
        """Take in one poll's snapshots; those of publications are passed over."""
        by_sid = {each.track_sid: each for each in snapshots if each.requested_quality is not None}
        tracks = {track.sid: track for track in self._subscriber.subscribed() if _has_layers(track)}
        self._forget_others(set(by_sid) & set(tracks))
        for sid, snapshot in by_sid.items():
            if sid in tracks:
                self._step(tracks[sid], snapshot, now)

    def _forget_others(self, present: set[str]) -> None:
        for sid in set(self._states) | set(self._previous):
            if sid not in present:
                self._states.pop(sid, None)
                self._previous.pop(sid, None)

    def _step(self, track: TrackState, snapshot: TrackSnapshot, now: float) -> None:
        previous = self._previous.get(track.sid)
        self._previous[track.sid] = snapshot
        intent = self._subscriber.intent(track.sid)
        if intent.pinned or not intent.enabled:
            self._states.pop(track.sid, None)
            return
        state = self._states.get(track.sid)
        if state is None:
            state = layers.start(track.sid, now, intent.quality)
        if previous is None:
            self._states[track.sid] = state
            return
        ceiling = self._subscriber.ceiling(track.sid)
        self._states[track.sid], decision = layers.step(state, delta(previous, snapshot), now, ceiling)
        if decision is not None:
            self._apply(track, decision)

    def _apply(self, track: TrackState, decision: layers.LayerDecision) -> None:
        self._subscriber.choose_quality(track.sid, decision.to_quality)
        log.info(
            "layer_decision",
            track=track.name,
            sid=track.sid,
            participant_identity=track.participant_identity,
            from_quality=decision.from_quality.name,
            to_quality=decision.to_quality.name,
            reason=decision.reason,
        )
        self._session.emit(LayerChanged(track, decision.from_quality, decision.to_quality, decision.reason))
        if self._on_decision is not None:
            self._on_decision(decision)


def _has_layers(track: TrackState) -> bool:
    return track.kind == TrackKind.VIDEO and track.simulcasted

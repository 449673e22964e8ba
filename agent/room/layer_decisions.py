"""How a layer controller's decision is told: one line in the log, and one event."""

import structlog

from agent.room.events import LayerChanged
from agent.room.state import TrackState
from quality.layer_steps import named
from quality.layer_trials import Action

log = structlog.get_logger(__name__)


def log_decision(track: TrackState, action: Action, **where: str) -> None:
    """One line, with reason and expectation; `where` are words of it besides."""
    log.info(
        "layer_decision",
        track=track.name,
        sid=track.sid,
        participant_identity=track.participant_identity,
        from_quality=named(action.from_quality),
        to_quality=named(action.to_quality),
        kind=action.kind.value,
        reason=action.reason,
        expects=action.expects,
        **where,
    )


def layer_changed(track: TrackState, action: Action, connection: str) -> LayerChanged:
    """The event of a decision of that `connection` ("participant" or "tap")."""
    return LayerChanged(
        track,
        action.from_quality,
        action.to_quality,
        action.kind.value,
        action.reason,
        action.expects,
        connection,
    )

"""What a room agent counts beside its state: totals for metrics that a state at one moment cannot tell."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RoomCounters:
    """Totals since the agent was created; they never fall, whatever leaves the room. All keys are few and fixed.

    `connection_events`: "connected", "reconnecting", "reconnected", "disconnected". `layer_switches`: "up", "down".
    `recording_frames`, `recording_frames_lost`: by kind, "audio" or "video". `storage_errors`: by error code.
    `handoffs`: "ok", "failed". Two are gauges: `recording_write_queue_bytes` (waiting to be written)
    and `handoff_pending` (segments closed and not handed off yet).
    """

    connection_events: dict[str, int] = field(default_factory=dict)
    layer_switches: dict[str, int] = field(default_factory=dict)
    recording_segments: int = 0
    recording_bytes: int = 0
    recording_frames: dict[str, int] = field(default_factory=dict)
    recording_frames_lost: dict[str, int] = field(default_factory=dict)
    recording_write_queue_bytes: int = 0
    storage_errors: dict[str, int] = field(default_factory=dict)
    handoffs: dict[str, int] = field(default_factory=dict)
    handoff_pending: int = 0

"""What a room agent counts beside its state: totals for metrics that a state at one moment cannot tell."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RoomCounters:
    """Totals since the agent was created; they never fall, whatever leaves the room. All keys are few and fixed.

    `connection_events`: "connected", "reconnecting", "reconnected", "disconnected". `layer_switches`: by connection,
    kind of decision and direction, as "tap/raise/up". `recording_frames`, `recording_frames_lost`: by kind, "audio" or
    "video". `storage_errors`: by error code.
    `handoffs`: "ok", "failed". `quality_patterns`: begun, by pattern. `quality_agreement`: seconds in which our
    word and the server's for this end are the "same", "adjacent" or "further" apart. `track_restarts`: by problem,
    remedy and outcome, as "stuck/restart/begun". `publish_decisions`: by limit, move and course, as "cpu/fps/down".
    `pre_encoded`: what became of videos that are sent as they are encoded, by `quality.pre_encoded.Told`, and frames.
    `recorded_sound_failures`: runs of recorded packets that could not be decoded to hear their level. Two are gauges:
    `recording_write_queue_bytes` (waiting to be written) and `handoff_pending` (segments closed, not handed off yet).
    """

    connection_events: dict[str, int] = field(default_factory=dict)
    layer_switches: dict[str, int] = field(default_factory=dict)
    recording_segments: int = 0
    recording_bytes: int = 0
    recording_frames: dict[str, int] = field(default_factory=dict)
    recording_frames_lost: dict[str, int] = field(default_factory=dict)
    recorded_sound_failures: int = 0
    recording_write_queue_bytes: int = 0
    storage_errors: dict[str, int] = field(default_factory=dict)
    handoffs: dict[str, int] = field(default_factory=dict)
    handoff_pending: int = 0
    quality_patterns: dict[str, int] = field(default_factory=dict)
    quality_agreement: dict[str, int] = field(default_factory=dict)
    track_restarts: dict[str, int] = field(default_factory=dict)
    publish_decisions: dict[str, int] = field(default_factory=dict)
    pre_encoded: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "RoomCounters") -> "RoomCounters":
        """Totals of both; of the two gauges the larger."""
        return RoomCounters(
            connection_events=_sum(self.connection_events, other.connection_events),
            layer_switches=_sum(self.layer_switches, other.layer_switches),
            recording_segments=self.recording_segments + other.recording_segments,
            recording_bytes=self.recording_bytes + other.recording_bytes,
            recording_frames=_sum(self.recording_frames, other.recording_frames),
            recording_frames_lost=_sum(self.recording_frames_lost, other.recording_frames_lost),
            recorded_sound_failures=self.recorded_sound_failures + other.recorded_sound_failures,
            recording_write_queue_bytes=max(self.recording_write_queue_bytes, other.recording_write_queue_bytes),
            storage_errors=_sum(self.storage_errors, other.storage_errors),
            handoffs=_sum(self.handoffs, other.handoffs),
            handoff_pending=max(self.handoff_pending, other.handoff_pending),
            quality_patterns=_sum(self.quality_patterns, other.quality_patterns),
            quality_agreement=_sum(self.quality_agreement, other.quality_agreement),
            track_restarts=_sum(self.track_restarts, other.track_restarts),
            publish_decisions=_sum(self.publish_decisions, other.publish_decisions),
            pre_encoded=_sum(self.pre_encoded, other.pre_encoded),
        )


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}

"""The service's Prometheus metrics: every name and the values of each label are declared here, once.

Every label has few, fixed values: what is not known beforehand becomes "other", and no label ever names a room, a
participant or a track. Counters of few labels are there with 0 from the start: what is born with its first event has
no increase() then.
"""

from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from media.errors import DiskFull, DiskReadOnly, StorageError
from media.record.entries import RecordingState
from media.record.retention import RetentionReason
from quality.layer_trials import Kind
from quality.participants import Agreement
from quality.patterns import Pattern
from quality.pre_encoded import Told
from quality.publish_ladder import Limit, Move
from quality.publishing import Course
from quality.restart import Outcome, Problem, Remedy
from quality.score import ConnectionQuality

OTHER = "other"
KINDS = ("audio", "video")
CONNECTIONS = ("participant", "tap")
CONNECTION_EVENTS = ("connected", "reconnecting", "reconnected", "disconnected")
DECISIONS = tuple(kind.value for kind in Kind)
DIRECTIONS = ("up", "down")
HANDOFF_RESULTS = ("ok", "failed")
UNDECRYPTABLE_REASONS = ("missing_key", "wrong_key", "unsupported")
RECORDING_STATES = tuple(state.value for state in RecordingState)
PATTERNS = tuple(pattern.value for pattern in Pattern)
QUALITIES = tuple(quality.value for quality in ConnectionQuality)
PROBLEMS = tuple(problem.value for problem in Problem)
REMEDIES = tuple(remedy.value for remedy in Remedy)
RESTART_OUTCOMES = ("begun", *(outcome.value for outcome in Outcome))
LIMITS = tuple(limit.value for limit in Limit)
MOVES = tuple(move.value for move in Move)
PRE_ENCODED_EVENTS = (*(told.value for told in Told), "frames_left_out", "frames_refused", "encoder_dropped")
STORAGE_ERRORS = tuple(error.code for error in (StorageError, DiskFull, DiskReadOnly))
RETENTION_REASONS = tuple(reason.value for reason in RetentionReason)
COURSES = tuple(course.value for course in Course)
AGREEMENTS = tuple(result.value for result in Agreement)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

JITTER_BUCKETS_S = (0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)  # 30 ms is where calls start to suffer
SCORE_BUCKETS = (20, 40, 60, 80, 90, 95, 100)  # 20, 40 and 80 part LiveKit's LOST, POOR, GOOD and EXCELLENT
EXPORT_BUCKETS_S = (1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800)
REQUEST_BUCKETS_S = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class MetricFamilies:
    """Each metric is an attribute, declared in `registry`."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self.registry = registry
        Info("roomhand_build", "The version that runs.", registry=registry).info({"version": version})
        self._declare_rooms(registry)
        self._declare_media(registry)
        self._declare_quality(registry)
        self._declare_recordings(registry)
        self._declare_service(registry)
        self._bear_counters()

    def _declare_rooms(self, registry: CollectorRegistry) -> None:
        self.rooms = Gauge(
            "roomhand_rooms", "Rooms run here, by the phase of their process.", ["state"], registry=registry
        )
        self.room_restarts = Counter(
            "roomhand_room_restarts_total", "Room processes that died and are started again.", registry=registry
        )
        self.room_connections = Counter(
            "roomhand_room_connections_total", "Changes of rooms' connections.", ["event"], registry=registry
        )
        self.participants = Gauge("roomhand_participants", "Remote participants in all rooms.", registry=registry)
        self.subscriptions = Gauge(
            "roomhand_subscriptions",
            "Tracks subscribed to, by the participant's own connection or the recording tap.",
            ["kind", "connection"],
            registry=registry,
        )
        self.publications = Gauge("roomhand_publications", "Tracks published.", ["kind"], registry=registry)

    def _declare_media(self, registry: CollectorRegistry) -> None:
        by_stream = ["kind", "connection"]
        self.packets_received = Counter(
            "roomhand_packets_received_total", "RTP packets received.", by_stream, registry=registry
        )
        self.packets_lost = Counter(
            "roomhand_packets_lost_total", "RTP packets that never came (RFC 3550).", by_stream, registry=registry
        )
        self.bytes_received = Counter(
            "roomhand_bytes_received_total", "RTP payload bytes received.", by_stream, registry=registry
        )
        self.frames_received = Counter(
            "roomhand_frames_received_total", "Complete frames received.", by_stream, registry=registry
        )
        self.nack = Counter("roomhand_nack_total", "NACK messages sent.", ["connection"], registry=registry)
        self.pli = Counter("roomhand_pli_total", "Picture loss indications sent.", ["connection"], registry=registry)
        self.freezes = Counter(
            "roomhand_freezes_total",
            "Video freezes seen (W3C webrtc-stats freezeCount).",
            ["connection"],
            registry=registry,
        )
        self.jitter = Histogram(
            "roomhand_jitter_seconds",
            "Interarrival jitter of each track that receives packets, sampled each second.",
            ["kind"],
            buckets=JITTER_BUCKETS_S,
            registry=registry,
        )
        self.layer_switches = Counter(
            "roomhand_layer_switches_total",
            "Layers asked for in place of others, by the kind of decision.",
            ["connection", "kind", "direction"],
            registry=registry,
        )

    def _declare_quality(self, registry: CollectorRegistry) -> None:
        self.track_score = Histogram(
            "roomhand_track_score",
            "Quality score (0 to 100) of each judged track that is received and not muted, sampled each second.",
            ["kind"],
            buckets=SCORE_BUCKETS,
            registry=registry,
        )
        self.participant_quality = Gauge(
            "roomhand_participant_quality",
            "Remote participants by the quality of their worst track that is not muted; who has none is left out.",
            ["quality"],
            registry=registry,
        )
        self.quality_patterns = Counter(
            "roomhand_quality_patterns_total", "Degradations of tracks that began.", ["pattern"], registry=registry
        )
        self.quality_patterns_active = Gauge(
            "roomhand_quality_patterns_active",
            "Tracks with a degradation that holds now.",
            ["pattern"],
            registry=registry,
        )
        self.judged_tracks = Gauge(
            "roomhand_judged_tracks",
            "Tracks whose quality is judged now, received and sent, without the muted ones.",
            registry=registry,
        )
        self.quality_agreement = Counter(
            "roomhand_quality_agreement_total",
            "Seconds in which the server's word for this end is the same as ours, adjacent to it, or further away.",
            ["result"],
            registry=registry,
        )
        self.track_restarts = Counter(
            "roomhand_track_restarts_total",
            "Remedies for tracks that should flow and do not: begun, and whether media came.",
            ["problem", "remedy", "outcome"],
            registry=registry,
        )
        self.publish_decisions = Counter(
            "roomhand_publish_decisions_total",
            "Changes of how our videos are sent, for what CPU and bandwidth carry.",
            ["limit", "move", "course"],
            registry=registry,
        )

        self.pre_encoded = Counter(
            "roomhand_pre_encoded_total",
            "What became of videos published as they are encoded: requests, changes of what is sent, frames left out.",
            ["event"],
            registry=registry,
        )

    def _declare_recordings(self, registry: CollectorRegistry) -> None:
        self.recordings = Gauge(
            "roomhand_recordings", "Recordings of the rooms run here.", ["state"], registry=registry
        )
        self.recording_segments = Counter(
            "roomhand_recording_segments_total", "Recorded segments closed.", registry=registry
        )
        self.recording_bytes = Counter("roomhand_recording_bytes_total", "Bytes recorded.", registry=registry)
        self.recording_frames = Counter(
            "roomhand_recording_frames_total", "Frames recorded.", ["kind"], registry=registry
        )
        self.recording_frames_lost = Counter(
            "roomhand_recording_frames_lost_total",
            "Frames received but not recorded, for want of disk or time.",
            ["kind"],
            registry=registry,
        )
        self.recorded_sound_failures = Counter(
            "roomhand_recorded_sound_failures_total",
            "Runs of recorded packets that could not be decoded to hear their level.",
            registry=registry,
        )
        self.recording_undecryptable_tracks = Gauge(
            "roomhand_recording_undecryptable_tracks",
            "Tracks with end-to-end encryption that are not recorded for want of the right key.",
            ["reason"],
            registry=registry,
        )
        self.recording_write_queue_bytes = Gauge(
            "roomhand_recording_write_queue_bytes", "Bytes waiting to be written to recordings.", registry=registry
        )
        self.recording_storage_errors = Counter(
            "roomhand_recording_storage_errors_total", "Writes that the disk refused.", ["code"], registry=registry
        )
        self.recordings_deleted = Counter(
            "roomhand_recordings_deleted_total",
            "Recordings deleted, by retention or because somebody asked.",
            ["reason"],
            registry=registry,
        )
        self.recording_bytes_deleted = Counter(
            "roomhand_recording_bytes_deleted_total", "Bytes of recordings deleted.", registry=registry
        )
        self.retention_failures = Counter(
            "roomhand_retention_failures_total",
            "Recordings and exports that retention could not delete, and runs that failed.",
            registry=registry,
        )
        self.handoffs = Counter(
            "roomhand_handoffs_total", "Closed segments handed to the export queue.", ["result"], registry=registry
        )
        self.handoff_pending = Gauge(
            "roomhand_handoff_pending", "Closed segments not handed off yet.", registry=registry
        )

    def _declare_service(self, registry: CollectorRegistry) -> None:
        self.exports = Gauge("roomhand_exports", "Exports in the queue's database.", ["status"], registry=registry)
        self.exports_deleted = Counter(
            "roomhand_exports_deleted_total",
            "Exports deleted, by retention or because somebody asked.",
            ["reason"],
            registry=registry,
        )
        self.export_bytes_deleted = Counter(
            "roomhand_export_bytes_deleted_total", "Bytes of exports deleted.", registry=registry
        )
        self.export_duration = Histogram(
            "roomhand_export_duration_seconds",
            "From an export's request to its completion.",
            ["format"],
            buckets=EXPORT_BUCKETS_S,
            registry=registry,
        )
        self.api_requests = Counter(
            "roomhand_api_requests_total",
            "Requests answered by the API.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.api_request_duration = Histogram(
            "roomhand_api_request_duration_seconds",
            "Time to the start of the response.",
            ["route"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )

    def _bear_counters(self) -> None:
        _bear(self.room_connections, CONNECTION_EVENTS)
        for counter in (self.packets_received, self.packets_lost, self.bytes_received, self.frames_received):
            _bear(counter, KINDS, CONNECTIONS)
        for counter in (self.nack, self.pli, self.freezes):
            _bear(counter, CONNECTIONS)
        _bear(self.layer_switches, CONNECTIONS, DECISIONS, DIRECTIONS)
        _bear(self.quality_patterns, PATTERNS)
        _bear(self.quality_agreement, AGREEMENTS)
        _bear(self.track_restarts, PROBLEMS, REMEDIES, RESTART_OUTCOMES)
        _bear(self.publish_decisions, LIMITS, MOVES, COURSES)
        _bear(self.pre_encoded, PRE_ENCODED_EVENTS)
        _bear(self.recording_frames, KINDS)
        _bear(self.recording_frames_lost, KINDS)
        _bear(self.recording_storage_errors, STORAGE_ERRORS)
        _bear(self.recordings_deleted, RETENTION_REASONS)
        _bear(self.exports_deleted, RETENTION_REASONS)
        _bear(self.handoffs, HANDOFF_RESULTS)


def _bear(counter: Counter, *allowed: tuple[str, ...]) -> None:
    """Have it there with 0 for each of the values that its labels are allowed."""
    for labels in product(*allowed):
        counter.labels(*labels)

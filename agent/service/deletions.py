"""What is deleted is told in one way, whoever asked for it: as an event, and in the metrics."""

from agent.metrics import Metrics
from agent.service.event_log import EventLog
from agent.service.event_report import event_fields, event_name
from agent.service.service_events import ExportDeleted, RecordingDeleted
from media.clock import SteadyClock
from media.export.prune import ExportDeletion
from media.record.retention import Deletion


class Deletions:
    """Tells of what was deleted."""

    def __init__(self, events: EventLog, metrics: Metrics, clock: SteadyClock) -> None:
        self._events = events
        self._metrics = metrics
        self._clock = clock

    def recording(self, deletion: Deletion) -> None:
        """A recording was deleted."""
        reason = deletion.reason.value
        self._metrics.recordings_deleted.labels(reason).inc()
        self._metrics.recording_bytes_deleted.inc(deletion.size_bytes)
        deleted = RecordingDeleted(deletion.recording_id, reason, deletion.size_bytes)
        self._events.append(event_name(deleted), deletion.room, self._clock.now(), event_fields(deleted))

    def export(self, deletion: ExportDeletion) -> None:
        """An export was deleted."""
        reason = deletion.reason.value
        self._metrics.exports_deleted.labels(reason).inc()
        self._metrics.export_bytes_deleted.inc(deletion.size_bytes)
        deleted = ExportDeleted(deletion.export_id, deletion.recording_id, reason, deletion.size_bytes)
        self._events.append(event_name(deleted), "", self._clock.now(), event_fields(deleted))

    def failed(self, count: int = 1) -> None:
        """So many could not be deleted, or a run failed."""
        self._metrics.retention_failures.inc(count)

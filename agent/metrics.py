"""What happened in rooms, exports and the API, counted in Prometheus metrics.

Room processes send totals; `Metrics.apply` turns them into increments, so counters go on when a process
is started again.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from agent.errors import EXIT_CODES
from agent.metric_families import (
    AGREEMENTS,
    CONNECTION_EVENTS,
    CONNECTIONS,
    COURSES,
    DECISIONS,
    DIRECTIONS,
    HANDOFF_RESULTS,
    KINDS,
    LIMITS,
    METHODS,
    MOVES,
    OTHER,
    PATTERNS,
    PRE_ENCODED_EVENTS,
    PROBLEMS,
    QUALITIES,
    RECORDING_STATES,
    REMEDIES,
    RESTART_OUTCOMES,
    UNDECRYPTABLE_REASONS,
    MetricFamilies,
)
from agent.service.room_metrics import ReceiveTotals, RoomMetrics
from agent.service.supervision import Phase
from media.export.job import ExportFormat, ExportState


@dataclass(frozen=True, slots=True)
class _Last:
    process: int
    sample: RoomMetrics


class Metrics(MetricFamilies):
    """The service's metrics and what they count. Make one per registry with `build_metrics`."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        super().__init__(registry, version)
        self._last: dict[str, _Last] = {}

    def apply(self, room: str, process: int, sample: RoomMetrics) -> None:
        """Add what `sample` gained over the last one of the same room and process."""
        last = self._last.get(room)
        before = last.sample if last is not None and last.process == process else RoomMetrics()
        self._last[room] = _Last(process, sample)
        self._count_received(before.receive, sample.receive)
        self._count_recorded(before, sample)
        for observation in sample.jitter_s:
            self.jitter.labels(_one_of(KINDS, observation.kind)).observe(observation.value)
        for observation in sample.scores:
            self.track_score.labels(_one_of(KINDS, observation.kind)).observe(observation.value)
        self._set_gauges()

    def forget_room(self, room: str) -> None:
        """Take a room whose process ended out of the gauges; its counts stay."""
        if self._last.pop(room, None) is not None:
            self._set_gauges()

    def set_rooms(self, phases: Iterable[Phase]) -> None:
        """Say how many rooms are in which phase."""
        _set_each(self.rooms, tuple(phase.value for phase in Phase), Tally(phase.value for phase in phases))

    def set_exports(self, states: Mapping[str, int]) -> None:
        """Say how many exports are in which state."""
        _set_each(self.exports, tuple(state.value for state in ExportState), states)

    def observe_export(self, export_format: str, duration_s: float) -> None:
        """Note a completed export."""
        formats = tuple(item.value for item in ExportFormat)
        self.export_duration.labels(_one_of(formats, export_format)).observe(duration_s)

    def observe_request(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Note an answered request. `route` is the route's template, or "other" where none matched."""
        self.api_requests.labels(_one_of(METHODS, method), route, str(status)).inc()
        self.api_request_duration.labels(route).observe(duration_s)

    def _count_received(self, before: tuple[ReceiveTotals, ...], after: tuple[ReceiveTotals, ...]) -> None:
        known = {(item.kind, item.connection): item for item in before}
        for item in after:
            old = known.get((item.kind, item.connection), ReceiveTotals(item.kind, item.connection))
            connection = _one_of(CONNECTIONS, item.connection)
            labels = (_one_of(KINDS, item.kind), connection)
            _add(self.packets_received.labels(*labels), old.packets_received, item.packets_received)
            _add(self.packets_lost.labels(*labels), old.packets_lost, item.packets_lost)
            _add(self.bytes_received.labels(*labels), old.bytes_received, item.bytes_received)
            _add(self.frames_received.labels(*labels), old.frames_received, item.frames_received)
            _add(self.nack.labels(connection), old.nack_count, item.nack_count)
            _add(self.pli.labels(connection), old.pli_count, item.pli_count)
            _add(self.freezes.labels(connection), old.freeze_count, item.freeze_count)

    def _count_recorded(self, before: RoomMetrics, after: RoomMetrics) -> None:
        old, new = before.counters, after.counters
        _add(self.recording_segments, old.recording_segments, new.recording_segments)
        _add(self.recording_bytes, old.recording_bytes, new.recording_bytes)
        _add(self.recorded_sound_failures, old.recorded_sound_failures, new.recorded_sound_failures)
        _add_each(self.room_connections, CONNECTION_EVENTS, old.connection_events, new.connection_events)
        _add_each(self.quality_patterns, PATTERNS, old.quality_patterns, new.quality_patterns)
        _add_each(self.quality_agreement, AGREEMENTS, old.quality_agreement, new.quality_agreement)
        restart_labels = PROBLEMS, REMEDIES, RESTART_OUTCOMES
        _add_by_labels(self.track_restarts, restart_labels, old.track_restarts, new.track_restarts)
        _add_each(self.pre_encoded, PRE_ENCODED_EVENTS, old.pre_encoded, new.pre_encoded)
        decision_labels = LIMITS, MOVES, COURSES
        _add_by_labels(self.publish_decisions, decision_labels, old.publish_decisions, new.publish_decisions)
        switch_labels = CONNECTIONS, DECISIONS, DIRECTIONS
        _add_by_labels(self.layer_switches, switch_labels, old.layer_switches, new.layer_switches)
        _add_each(self.recording_frames, KINDS, old.recording_frames, new.recording_frames)
        _add_each(self.recording_frames_lost, KINDS, old.recording_frames_lost, new.recording_frames_lost)
        _add_each(self.recording_storage_errors, tuple(EXIT_CODES), old.storage_errors, new.storage_errors)
        _add_each(self.handoffs, HANDOFF_RESULTS, old.handoffs, new.handoffs)

    def _set_gauges(self) -> None:
        samples = [last.sample for last in self._last.values()]
        self.participants.set(sum(sample.participants for sample in samples))
        self.judged_tracks.set(sum(sample.judged_tracks for sample in samples))
        self.recording_write_queue_bytes.set(sum(item.counters.recording_write_queue_bytes for item in samples))
        self.handoff_pending.set(sum(item.counters.handoff_pending for item in samples))
        publications: Tally[str] = Tally()
        subscriptions: Tally[tuple[str, str]] = Tally()
        undecryptable: Tally[str] = Tally()
        patterns: Tally[str] = Tally()
        qualities: Tally[str] = Tally()
        for sample in samples:
            undecryptable.update(sample.undecryptable)
            patterns.update(sample.patterns)
            qualities.update(sample.participant_qualities)
            publications.update(sample.publications)
            for item in sample.receive:
                subscriptions[_one_of(KINDS, item.kind), _one_of(CONNECTIONS, item.connection)] += item.subscriptions
        _set_each(self.publications, KINDS, publications)
        _set_each(self.quality_patterns_active, PATTERNS, patterns)
        _set_each(self.participant_quality, QUALITIES, qualities)
        _set_each(self.recording_undecryptable_tracks, UNDECRYPTABLE_REASONS, undecryptable)
        _set_each(
            self.recordings, RECORDING_STATES, Tally(item.recording_state for item in samples if item.recording_state)
        )
        for kind in KINDS:
            for connection in CONNECTIONS:
                self.subscriptions.labels(kind, connection).set(subscriptions[kind, connection])


def build_metrics(registry: CollectorRegistry, version: str) -> Metrics:
    """Declare all metrics in `registry`."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left this one function without types
    return Metrics(registry, version)


def _one_of(allowed: tuple[str, ...], value: str) -> str:
    return value if value in allowed else OTHER


def _add(counter: Counter, before: int, after: int) -> None:
    counter.inc(max(0, after - before))


def _add_each(counter: Counter, allowed: tuple[str, ...], before: Mapping[str, int], after: Mapping[str, int]) -> None:
    _add_by_labels(counter, (allowed,), before, after)


def _add_by_labels(
    counter: Counter, allowed: tuple[tuple[str, ...], ...], before: Mapping[str, int], after: Mapping[str, int]
) -> None:
    """Totals by keys of as many words, parted by "/", as the counter has labels."""
    for key, value in after.items():
        labels = (_one_of(values, word) for values, word in zip(allowed, key.split("/"), strict=True))
        _add(counter.labels(*labels), before.get(key, 0), value)


def _set_each(gauge: Gauge, allowed: tuple[str, ...], values: Mapping[str, int]) -> None:
    sums = Tally(dict.fromkeys(allowed, 0))
    for key, value in values.items():
        sums[_one_of(allowed, key)] += value
    for key, value in sums.items():
        gauge.labels(key).set(value)

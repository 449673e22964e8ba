"""The declared metrics: their names, and totals that survive a room process's restart."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agent.metrics import Metrics, build_metrics
from agent.room.counters import RoomCounters
from agent.service.room_metrics import Observation, ReceiveTotals, RoomMetrics
from agent.service.supervision import Phase

NAMES = {
    "roomhand_build_info",
    "roomhand_rooms",
    "roomhand_room_restarts",
    "roomhand_room_connections",
    "roomhand_participants",
    "roomhand_subscriptions",
    "roomhand_publications",
    "roomhand_packets_received",
    "roomhand_packets_lost",
    "roomhand_bytes_received",
    "roomhand_frames_received",
    "roomhand_nack",
    "roomhand_pli",
    "roomhand_freezes",
    "roomhand_jitter_seconds",
    "roomhand_track_score",
    "roomhand_participant_quality",
    "roomhand_quality_patterns",
    "roomhand_quality_patterns_active",
    "roomhand_judged_tracks",
    "roomhand_quality_agreement",
    "roomhand_track_restarts",
    "roomhand_publish_decisions",
    "roomhand_pre_encoded",
    "roomhand_layer_switches",
    "roomhand_recordings",
    "roomhand_recording_segments",
    "roomhand_recording_bytes",
    "roomhand_recording_frames",
    "roomhand_recording_frames_lost",
    "roomhand_recorded_sound_failures",
    "roomhand_recording_write_queue_bytes",
    "roomhand_recording_storage_errors",
    "roomhand_recording_undecryptable_tracks",
    "roomhand_handoffs",
    "roomhand_handoff_pending",
    "roomhand_recordings_deleted",
    "roomhand_recording_bytes_deleted",
    "roomhand_retention_failures",
    "roomhand_exports",
    "roomhand_exports_deleted",
    "roomhand_export_bytes_deleted",
    "roomhand_export_duration_seconds",
    "roomhand_api_requests",
    "roomhand_api_request_duration_seconds",
}


@pytest.fixture
def metrics() -> Metrics:
    return build_metrics(CollectorRegistry(), "1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_exactly_the_documented_names_are_exposed_with_help(metrics: Metrics) -> None:
    families = list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))
    assert {family.name for family in families} == NAMES
    assert all(family.documentation for family in families)


def test_every_counter_with_few_labels_is_there_with_nothing_before_anything_happens(metrics: Metrics) -> None:
    counters = [
        family
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        if family.type == "counter" and family.name not in {"roomhand_api_requests", "roomhand_recordings_deleted"}
    ]
    assert all(family.samples for family in counters)
    assert {sample.value for family in counters for sample in family.samples} == {0.0}
    assert value(metrics, "roomhand_room_connections_total", event="reconnecting") == 0
    assert value(metrics, "roomhand_recording_storage_errors_total", code="disk_full") == 0
    assert value(metrics, "roomhand_publish_decisions_total", limit="cpu", move="fps", course="undone") == 0
    assert value(metrics, "roomhand_track_restarts_total", problem="stuck", remedy="report", outcome="begun") == 0


def test_a_restarted_process_counts_on(metrics: Metrics) -> None:
    def sample(packets: int, segments: int) -> RoomMetrics:
        receive = (ReceiveTotals("video", "tap", 1, packets_received=packets),)
        return RoomMetrics(receive=receive, counters=RoomCounters(recording_segments=segments))

    metrics.apply("r", 100, sample(10, 1))
    metrics.apply("r", 100, sample(25, 2))
    metrics.apply("r", 200, sample(30, 1))  # more than before, yet all of it is new: the process is another
    assert value(metrics, "roomhand_packets_received_total", kind="video", connection="tap") == 55
    assert value(metrics, "roomhand_recording_segments_total") == 3


@pytest.mark.parametrize(
    ("name", "labels", "counters", "events"),
    [
        (
            "roomhand_layer_switches_total",
            ("connection", "kind", "direction"),
            lambda counted: RoomCounters(layer_switches=counted),
            {"participant/fit/down": 1, "tap/raise/up": 2},
        ),
        (
            "roomhand_publish_decisions_total",
            ("limit", "move", "course"),
            lambda counted: RoomCounters(publish_decisions=counted),
            {"cpu/fps/down": 3, "bandwidth/codec/undone": 4},
        ),
        (
            "roomhand_track_restarts_total",
            ("problem", "remedy", "outcome"),
            lambda counted: RoomCounters(track_restarts=counted),
            {"stuck/restart/begun": 5, "stuck/restart/recovered": 6, "gone/report/begun": 7},
        ),
        (
            "roomhand_pre_encoded_total",
            ("event",),
            lambda counted: RoomCounters(pre_encoded=counted),
            {"key_frame_late": 8, "frames_left_out": 9},
        ),
    ],
)
def test_what_rooms_count_is_added_up_by_label(
    metrics: Metrics,
    name: str,
    labels: tuple[str, ...],
    counters: Callable[[dict[str, int]], RoomCounters],
    events: dict[str, int],
) -> None:
    def values() -> dict[str, float]:
        family = next(item for item in metrics.registry.collect() if f"{item.name}_total" == name)
        found = {"/".join(item.labels[label] for label in labels): item.value for item in family.samples}
        return {key: value for key, value in found.items() if value}

    def apply(room: str, events: dict[str, int]) -> None:
        metrics.apply(room, 1, RoomMetrics(counters=counters(events)))

    apply("r", events)
    apply("r", events)
    assert values() == events
    apply("r", {key: number + 1 for key, number in events.items()})
    assert values() == {key: number + 1 for key, number in events.items()}
    apply("another", events)
    assert values() == {key: 2 * number + 1 for key, number in events.items()}


def test_recorded_sound_that_could_not_be_heard_is_counted(metrics: Metrics) -> None:
    for failures in (4, 4, 6):
        metrics.apply("r", 1, RoomMetrics(counters=RoomCounters(recorded_sound_failures=failures)))
    assert value(metrics, "roomhand_recorded_sound_failures_total") == 6


def test_gauges_add_up_over_rooms_and_forget_one_that_ended(metrics: Metrics) -> None:
    sample = RoomMetrics(participants=2, publications={"audio": 1}, recording_state="recording")
    metrics.apply("a", 1, sample)
    metrics.apply("b", 2, sample)
    assert value(metrics, "roomhand_participants") == 4
    assert value(metrics, "roomhand_publications", kind="audio") == 2
    assert value(metrics, "roomhand_recordings", state="recording") == 2
    metrics.forget_room("a")
    assert value(metrics, "roomhand_participants") == 2
    assert value(metrics, "roomhand_recordings", state="complete") == 0


def test_unknown_label_values_become_other(metrics: Metrics) -> None:
    metrics.apply("r", 1, RoomMetrics(jitter_s=(Observation("smell", 0.1),), recording_state="confused"))
    assert value(metrics, "roomhand_jitter_seconds_count", kind="other") == 1
    assert value(metrics, "roomhand_recordings", state="other") == 1
    decided = RoomCounters(publish_decisions={"heat/fps/down": 1}, layer_switches={"tap/whim/sideways": 2})
    metrics.apply("r", 1, RoomMetrics(counters=decided))
    assert value(metrics, "roomhand_publish_decisions_total", limit="other", move="fps", course="down") == 1
    assert value(metrics, "roomhand_layer_switches_total", connection="tap", kind="other", direction="other") == 2
    metrics.observe_request("BREW", "other", 404, 0.1)
    assert value(metrics, "roomhand_api_requests_total", method="other", route="other", status="404") == 1


def test_rooms_and_exports_are_counted_by_state_with_zeros(metrics: Metrics) -> None:
    metrics.set_rooms([Phase.RUNNING, Phase.RUNNING, Phase.FAILED])
    assert value(metrics, "roomhand_rooms", state="running") == 2
    assert value(metrics, "roomhand_rooms", state="starting") == 0
    metrics.set_rooms([])
    assert value(metrics, "roomhand_rooms", state="running") == 0
    metrics.set_exports({"complete": 3})
    assert value(metrics, "roomhand_exports", status="complete") == 3
    metrics.observe_export("mp4", 12.0)
    assert value(metrics, "roomhand_export_duration_seconds_sum", format="mp4") == 12


def test_quality_is_shown_by_pattern_word_and_agreement(metrics: Metrics) -> None:
    counters = RoomCounters(quality_patterns={"freeze": 2}, quality_agreement={"same": 9, "further": 1})
    sample = RoomMetrics(patterns={"freeze": 1}, judged_tracks=4, participant_qualities={"good": 3}, counters=counters)
    metrics.apply("r", 1, sample)
    metrics.apply("r", 1, sample)
    assert value(metrics, "roomhand_quality_patterns_total", pattern="freeze") == 2
    assert value(metrics, "roomhand_quality_patterns_active", pattern="freeze") == 1
    assert value(metrics, "roomhand_quality_patterns_active", pattern="silent_track") == 0
    assert value(metrics, "roomhand_judged_tracks") == 4
    assert value(metrics, "roomhand_participant_quality", quality="good") == 3
    assert value(metrics, "roomhand_quality_agreement_total", result="same") == 9

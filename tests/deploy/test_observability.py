"""The monitoring files: they parse, mean what they say, and ask only for metrics that the service has."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from agent.metric_families import COURSES, RESTART_OUTCOMES
from agent.metrics import build_metrics
from agent.service.supervision import Phase
from media.export.job import ExportState
from media.record.entries import RecordingState
from quality.participants import Agreement
from quality.patterns import Pattern
from quality.restart import Problem, Remedy
from tests.deploy.declared_metrics import (
    STANDARD,
    TARGET_LABELS,
    declared_series,
    grouping_labels,
    selected_series,
)
from tests.deploy.monitoring_files import DEPLOY, PROMETHEUS, dashboard, filled_in, panels

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


def load_yaml(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text())


def alert_rules() -> list[dict[str, Any]]:
    return [rule for group in load_yaml("alerts.yml")["groups"] for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    asked = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    return asked + [annotation["expr"] for annotation in dashboard()["annotations"]["list"]]


def expressions() -> list[str]:
    return [rule["expr"] for rule in alert_rules()] + dashboard_expressions()


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_prometheus_scrapes_the_service_with_a_token_and_the_server() -> None:
    config = load_yaml("prometheus.yml")
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    service = jobs["roomhand"]
    assert service["metrics_path"] == "/metrics"
    assert service["authorization"] == {"type": "Bearer", "credentials_file": "/etc/prometheus/roomhand.token"}
    assert service["static_configs"][0]["targets"] == ["127.0.0.1:8080"]
    assert jobs["livekit-server"]["static_configs"][0]["targets"] == ["127.0.0.1:6789"]
    assert all((PROMETHEUS / name).is_file() for name in config["rule_files"])


def test_expressions_ask_only_for_declared_metrics() -> None:
    known = declared_series().keys() | STANDARD
    asked = {series.name for expression in expressions() for series in selected_series(expression)}
    assert asked - known == set()
    assert len(asked) > 20


def test_every_metric_is_in_the_dashboard_or_an_alert() -> None:
    def families(names: Iterable[str]) -> set[str]:
        return {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in names}

    shown = families(series.name for expression in expressions() for series in selected_series(expression))
    assert families(declared_series()) - shown == set()


def test_expressions_ask_only_for_declared_labels() -> None:
    declared = declared_series()
    for expression in expressions():
        labels: set[str] = set(TARGET_LABELS)
        for series in selected_series(expression):
            own = declared.get(series.name, set()) | TARGET_LABELS
            assert series.matched.keys() <= own, expression
            labels |= own
        assert grouping_labels(expression) <= labels, expression


def test_expressions_ask_only_for_label_values_that_occur() -> None:
    registry = CollectorRegistry()
    metrics = build_metrics(registry, "0")
    metrics.track_score.labels(kind="video")
    buckets = {
        sample.labels["le"] for family in registry.collect() for sample in family.samples if "le" in sample.labels
    }
    possible: dict[tuple[str, str], set[str]] = {
        ("roomhand_rooms", "state"): {phase.value for phase in Phase},
        ("roomhand_recordings", "state"): {state.value for state in RecordingState},
        ("roomhand_exports", "status"): {state.value for state in ExportState},
        ("roomhand_handoffs_total", "result"): {"ok", "failed"},
        ("roomhand_track_score_bucket", "le"): buckets,
        ("roomhand_quality_patterns_active", "pattern"): {pattern.value for pattern in Pattern},
        ("roomhand_quality_agreement_total", "result"): {result.value for result in Agreement},
        ("roomhand_track_restarts_total", "problem"): {problem.value for problem in Problem},
        ("roomhand_track_restarts_total", "remedy"): {remedy.value for remedy in Remedy},
        ("roomhand_track_restarts_total", "outcome"): set(RESTART_OUTCOMES),
        ("roomhand_publish_decisions_total", "course"): set(COURSES),
        ("roomhand_api_requests_total", "status"): {"5.."},
    }
    for expression in expressions():
        for series in selected_series(expression):
            for label, values in series.matched.items():
                if label not in TARGET_LABELS:
                    assert set(values) <= possible[series.name, label], expression


def test_metrics_have_no_labels_but_those_of_few_fixed_values() -> None:
    names = {label for labels in declared_series().values() for label in labels}
    assert names == {
        "code",
        "connection",
        "course",
        "direction",
        "event",
        "format",
        "kind",
        "le",
        "limit",
        "method",
        "move",
        "outcome",
        "pattern",
        "problem",
        "quality",
        "reason",
        "remedy",
        "result",
        "route",
        "state",
        "status",
        "version",
    }


def test_documents_name_only_metrics_that_there_are() -> None:
    declared = declared_series().keys()
    for path in [DEPLOY.parent / "README.md", *(DEPLOY.parent / "docs").rglob("*.md")]:
        named = set(re.findall(r"`(roomhand_[a-z_]+_(?:total|seconds|bytes|active|pending))`", path.read_text()))
        assert {name for name in named if not {name, f"{name}_count"} & declared} == set(), path.name


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    rules = alert_rules()
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names)
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]


def test_every_alert_is_tested_firing_and_silent() -> None:
    cases = [case for test in load_yaml("alerts_test.yml")["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in alert_rules()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml"),
        ("check", "rules", PROMETHEUS / "alerts.yml"),
        ("test", "rules", PROMETHEUS / "alerts_test.yml"),
    ],
    ids=["config", "rules", "alerts"],
)
def test_promtool_is_content(arguments: tuple[str | Path, ...]) -> None:
    result = promtool(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_dashboard_expressions_are_promql(tmp_path: Path) -> None:
    rules = [
        {
            "record": f"roomhand:panel_{number}",
            "expr": filled_in(expression, "5m"),
        }
        for number, expression in enumerate(dashboard_expressions())
    ]
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    result = promtool("check", "rules", path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_dashboard_panels_are_whole() -> None:
    identifiers = [panel["id"] for panel in panels()]
    assert len(set(identifiers)) == len(identifiers)
    for panel in panels():
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]
        assert all(target["expr"] for target in panel["targets"]), panel["title"]


def test_dashboard_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells


def test_dashboard_works_with_any_data_source_and_instance() -> None:
    assert {variable["name"] for variable in dashboard()["templating"]["list"]} == {"datasource", "instance"}
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
    assert all('instance=~"$instance"' in expression for expression in dashboard_expressions())

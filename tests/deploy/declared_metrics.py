"""What the service declares (agent.metric_families) and what an expression in PromQL asks for."""

import re
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from agent.metrics import build_metrics

# Of Prometheus itself, and of the process collector that prometheus_client registers by default.
STANDARD = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
TARGET_LABELS = {"job", "instance"}
_SUFFIXES = {"counter": ("_total",), "info": ("_info",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_SERIES = re.compile(r"\b(up|(?:roomhand|process|livekit)_[a-z0-9_]+)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Series:
    """One selector in an expression: the series' name, and per label the values it is matched against."""

    name: str
    matched: dict[str, tuple[str, ...]]


def declared_series() -> dict[str, set[str]]:
    """Every series that the service can show, with its labels."""
    registry = CollectorRegistry()
    metrics = build_metrics(registry, "0")
    # The labels of a metric are in no public attribute as long as it has no value.
    labels = {
        metric._name: set(metric._labelnames) for metric in vars(metrics).values() if hasattr(metric, "_labelnames")
    }
    series: dict[str, set[str]] = {}
    for family in registry.collect():
        own = labels.get(family.name, {"version"} if family.type == "info" else set())
        for suffix in _SUFFIXES[family.type]:
            series[family.name + suffix] = own | ({"le"} if suffix == "_bucket" else set())
    return series


def selected_series(expression: str) -> tuple[Series, ...]:
    """The selectors in a PromQL expression."""
    return tuple(
        Series(
            found[1],
            {label: tuple(value.split("|")) for label, _, value in _MATCHER.findall(found[2] or "")},
        )
        for found in _SERIES.finditer(expression)
    )


def grouping_labels(expression: str) -> set[str]:
    """The labels in its `by` and `on` clauses."""
    clauses = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
    return {label.strip() for clause in clauses for label in clause.split(",") if label.strip()}

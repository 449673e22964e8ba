"""The README's tables of settings and metrics are those of the code."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Info

from agent.config import Settings
from agent.metrics import build_metrics

METRIC_ROW = r"^\| `(roomhand_\w+)` \| \w+ \| ([^|]*?) ?\| (.*) \|$"
README = (Path(__file__).parents[2] / "README.md").read_text()


def test_every_setting_is_documented_with_its_words() -> None:
    documented = dict(re.findall(r"^\| `((?:ROOMHAND|LIVEKIT)_\w+)` \| [^|]* \| (.*) \|$", README, re.MULTILINE))
    declared = {}
    for name, field in Settings.model_fields.items():
        prefix = "" if name.startswith("livekit_") else "ROOMHAND_"
        declared[prefix + name.upper()] = field.description
    assert documented == declared


def test_every_metric_is_documented_with_its_labels_and_help() -> None:
    documented = {name: (labels, text) for name, labels, text in re.findall(METRIC_ROW, README, re.MULTILINE)}
    registry = CollectorRegistry()
    build_metrics(registry, "0")
    declared = {}
    for collector in registry._collector_to_names:
        suffix = "_total" if isinstance(collector, Counter) else "_info" if isinstance(collector, Info) else ""
        labels = "version" if isinstance(collector, Info) else ", ".join(collector._labelnames)  # type: ignore[attr-defined]
        declared[collector._name + suffix] = (labels, collector._documentation)  # type: ignore[attr-defined]
    assert documented == declared

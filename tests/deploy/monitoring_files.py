"""The monitoring files as they are shipped, and what a panel asks Prometheus for."""

import json
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "roomhand.json"


def dashboard() -> dict[str, Any]:
    """Grafana's file."""
    shown: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return shown


def panels() -> list[dict[str, Any]]:
    """Its panels, rows among them."""
    return list(dashboard()["panels"])


def filled_in(expression: str, rate_interval: str) -> str:
    """An expression of the dashboard as Grafana asks it, of all instances."""
    return expression.replace("$__rate_interval", rate_interval).replace("$instance", ".*")

"""The monitoring files as they are shipped, with a real Prometheus that scrapes a real service with a room."""

import asyncio
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from agent.credentials import Credentials
from agent.tokens import ServiceGrants, mint_service_token
from tests.deploy.monitoring_files import PROMETHEUS, filled_in, panels
from tests.integration.participants import room_name
from tests.integration.publishing import Publisher, eventually
from tests.integration.serving import WAIT_S, serving

PROGRAM = shutil.which("prometheus")
pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(240),
    pytest.mark.skipif(PROGRAM is None, reason="prometheus is not installed (Debian: prometheus)"),
]

SCRAPE_S = 1
RATE_INTERVAL = f"{4 * SCRAPE_S}s"  # as Grafana takes it: four scrapes
SHOWN_AFTER_S = 30.0
# What shows something only where something is wrong, or was exported.
SOMETIMES_EMPTY = {"Degradations", "Duration of exports"}


@asynccontextmanager
async def prometheus(folder: Path, service: str, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """One with the shipped configuration, but for targets, token and a scrape each second; ended in the end."""
    assert PROGRAM is not None
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    (folder / "token").write_text(token)
    job = next(item for item in config["scrape_configs"] if item["job_name"] == "roomhand")
    job["authorization"]["credentials_file"] = str(folder / "token")
    job["static_configs"] = [{"targets": [service.removeprefix("http://")]}]
    config["scrape_configs"] = [job]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
            stdout=log,
            stderr=log,
        )
    try:
        await eventually(lambda: is_ready(address) or None, timeout_s=WAIT_S)
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=WAIT_S) as client:
            yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


async def series(client: httpx.AsyncClient, expression: str) -> list[dict[str, Any]]:
    """What a panel would draw of the last seconds."""
    now = time.time()
    asked = filled_in(expression, RATE_INTERVAL)
    answer = await client.get(
        "/api/v1/query_range", params={"query": asked, "start": now - SHOWN_AFTER_S, "end": now, "step": SCRAPE_S}
    )
    assert answer.status_code == 200, f"{asked}: {answer.text}"
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


async def test_each_panel_of_the_dashboard_draws_what_a_room_does_and_no_alert_fires(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    name = room_name()
    token = mint_service_token(livekit_server, ServiceGrants(room_list=True))
    async with (
        serving(livekit_server, tmp_path) as service,
        prometheus(tmp_path, str(service.client.base_url), token) as client,
        Publisher(livekit_server, name),
    ):
        answer = await service.client.post("/v1/rooms", json={"room": name, "record": True})
        assert answer.status_code == 201, answer.text
        published = await service.client.post(f"/v1/rooms/{name}/publications", json={"source": "pattern"})
        assert published.status_code == 201, published.text
        await asyncio.sleep(SHOWN_AFTER_S)
        drawn = {
            panel["title"]: [await series(client, target["expr"]) for target in panel["targets"]]
            for panel in panels()
            if panel["type"] != "row"
        }
        rules = (await client.get("/api/v1/rules")).json()["data"]["groups"]
        alerts = (await client.get("/api/v1/alerts")).json()["data"]["alerts"]
    empty = {title for title, found in drawn.items() if not all(found)}
    assert empty <= SOMETIMES_EMPTY
    assert [float(drawn[title][0][0]["values"][-1][1]) for title in ("Rooms running", "Recordings running")] == [1, 1]
    bitrates = {each["metric"]["kind"]: float(each["values"][-1][1]) for each in drawn["Bitrate"][0]}
    assert bitrates["video"] > bitrates["audio"] > 0
    assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}
    assert alerts == [], "nothing is wrong"

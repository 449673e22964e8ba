"""The examples of README and docs, run as they stand."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.credentials import Credentials
from media.export.job import ExportState
from media.export.queue import ExportQueue
from media.record.reader import read_recording
from tests.integration.serving import serving

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]


def blocks(language: str, document: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def environment(server: Credentials, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": server.api_key,
        "LIVEKIT_API_SECRET": server.api_secret,
        "ROOMHAND_STATE_DIR": str(folder / "state"),
    }


async def run_python(example: str, server: Credentials, folder: Path) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", example],
        env=environment(server, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_python_example_records_and_exports(livekit_server: Credentials, tmp_path: Path) -> None:
    (example,) = blocks("python")
    run = await run_python(example, livekit_server, tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    path, export_id = run.stdout.split()[-2:]
    view = read_recording(Path(path))
    assert view.room == "standup"
    queue = ExportQueue(tmp_path / "state" / "exports.sqlite")
    status = await queue.wait(export_id)
    queue.close()
    # Alone in the room, the agent has nobody to record: the export says so and produces nothing.
    assert status.state in {ExportState.COMPLETE, ExportState.FAILED}
    assert bool(view.tracks) == (status.state is ExportState.COMPLETE)


async def test_the_example_of_an_automation_listens_and_answers(livekit_server: Credentials, tmp_path: Path) -> None:
    example, _, _ = blocks("python", "docs/automation.md")
    run = await run_python(example, livekit_server, tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "two soups, please\nkitchen: busy\n"


async def test_the_example_of_a_bot_is_heard_and_seen(livekit_server: Credentials, tmp_path: Path) -> None:
    _, example, _ = blocks("python", "docs/automation.md")
    run = await run_python(example, livekit_server, tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert sorted(run.stdout.splitlines()) == ["heard", "seen: (360, 640, 3)"]


async def test_the_example_of_rpc_answers_and_refuses(livekit_server: Credentials, tmp_path: Path) -> None:
    _, _, example = blocks("python", "docs/automation.md")
    run = await run_python(example, livekit_server, tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == '{"for": "waiter", "minutes": 5}\n404 no roast today\n'


async def test_the_shell_example_starts_a_recorded_room(livekit_server: Credentials, tmp_path: Path) -> None:
    example = next(block for block in blocks("sh") if "curl" in block).replace("curl ", "curl -sS ")
    values = environment(livekit_server, tmp_path)
    async with serving(livekit_server, tmp_path) as service:
        run = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euc", example.replace("http://127.0.0.1:8080", str(service.client.base_url).rstrip("/"))],
            env=values,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    assert '"phase":"running"' in run.stdout.replace(" ", "")

"""The image's recipe: pinned, small, without root, in step with the service's settings and files."""

import json
import re
from pathlib import Path

from agent.config import Settings

TOP = Path(__file__).parents[2]
DOCKERFILE = TOP / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(keyword, rest) per instruction, with continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines()]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for keyword, rest in instructions():
        if keyword == "FROM":
            found.append([])
        found[-1].append((keyword, rest))
    return found


def last(keyword: str) -> str:
    return [rest for name, rest in stages()[-1] if name == keyword][-1]


def test_two_stages_of_one_python() -> None:
    assert [stage[0][1] for stage in stages()] == ["python:3.12-slim AS build", "python:3.12-slim"]
    assert not any("pip install" in rest for _, rest in stages()[-1])


def test_packages_are_installed_by_hash_only() -> None:
    commands = [part for name, rest in instructions() if name == "RUN" for part in rest.split("&&")]
    installs = [command for command in commands if "pip install" in command]
    assert any("-r requirements/runtime.txt" in command for command in installs)
    for command in installs:
        own_wheel = "/tmp/wheel/" in command
        assert "--no-deps" in command
        assert own_wheel or "--require-hashes" in command, command


def test_the_build_backend_is_pinned_where_the_recipe_looks_for_it() -> None:
    pinned = (TOP / "requirements" / "dev.txt").read_text()
    assert re.search(r"^setuptools==\S+ \\\n    --hash=sha256:", pinned, flags=re.MULTILINE)
    assert "/^setuptools==/" in DOCKERFILE.read_text()


def test_what_is_copied_exists_and_is_let_through() -> None:
    ignore = (TOP / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    let_through = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for keyword, rest in stages()[0]:
        if keyword == "COPY":
            for source in rest.split()[:-1]:
                assert (TOP / source).exists(), source
                assert source.split("/")[0] in let_through, source


def test_it_runs_without_root_and_stops_by_draining() -> None:
    assert int(last("USER")) > 0
    assert last("STOPSIGNAL") == "SIGTERM"
    assert json.loads(last("CMD")) == ["roomhand", "serve"]


def test_the_health_check_asks_the_service() -> None:
    command = json.loads(last("HEALTHCHECK").split("CMD", 1)[1])
    assert command[:2] == ["python", "-c"]
    assert "/healthz" in command[2]
    compile(command[2], "healthcheck", "exec")


def test_its_settings_exist() -> None:
    names = re.findall(r"\b(ROOMHAND_[A-Z_]+)=", last("ENV"))
    fields = {f"ROOMHAND_{name.upper()}" for name in Settings.model_fields}
    assert {"ROOMHAND_HOST", "ROOMHAND_RECORDINGS_DIR"} <= set(names) <= fields

"""What the documents say exists: examples, commands, files. And what no file of the project may say."""

import ast
import importlib
import importlib.util
import inspect
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agent import RoomAgent
from agent.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SCRIPTS = sorted(ROOT.glob("docs/**/*.py"))
OURS = ("agent", "media", "quality")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

# In two parts each, so that this file itself does not say them.
_FORBIDDEN = [
    left + right
    for left, right in (
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("npm", "js.org"),
        ("npm", "js.com"),
        ("yarn", "pkg.com"),
        ("proxy.", "golang.org"),
        ("sum.", "golang.org"),
        ("crates", ".io"),
        ("ruby", "gems.org"),
        ("anaconda", ".org"),
        ("/work", "/main"),
        ("/work", "/shared"),
        ("/root", "/."),
        ("/tmp", "/livekit"),
    )
]


def blocks(path: Path, *languages: str) -> list[str]:
    """The fenced blocks of a document in one of `languages`."""
    return [body for language, body in _FENCE.findall(path.read_text()) if language in languages]


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", path.read_text())


def inline_code(path: Path) -> list[str]:
    return _CODE.findall(prose(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


PYTHON = [
    *(
        pytest.param(block, id=f"{name_of(path)}-{n}")
        for path in DOCUMENTS
        for n, block in enumerate(blocks(path, "python"))
    ),
    *(pytest.param(path.read_text(), id=name_of(path)) for path in SCRIPTS),
]


def test_there_are_documents_to_check() -> None:
    assert README in DOCUMENTS
    assert len(PYTHON) >= 1


@pytest.mark.parametrize("source", PYTHON)
def test_python_examples_compile_and_use_what_there_is(source: str) -> None:
    compile(source, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            check_import(node.module, [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                check_import(alias.name, [])
    for call in calls_of_agent(tree):
        check_call(call)


def check_import(module: str, names: list[str]) -> None:
    if module.partition(".")[0] not in OURS:
        assert importlib.util.find_spec(module) is not None, f"no module {module}"
        return
    found = importlib.import_module(module)
    missing = [name for name in names if not hasattr(found, name) and not importlib.util.find_spec(f"{module}.{name}")]
    assert missing == [], f"not in {module}"


def calls_of_agent(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of methods of what an example names `agent`, which is a RoomAgent in all of them."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "agent"
        ):
            yield node


def check_call(call: ast.Call) -> None:
    """The method exists and takes these arguments."""
    assert isinstance(call.func, ast.Attribute)
    method = getattr(RoomAgent, call.func.attr)
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    inspect.signature(method).bind(None, *([None] * len(call.args)), **keywords)


def command_lines() -> list[Any]:
    """Whole commands: those in shell blocks, and the first column of the README's table."""
    found = []
    for path in DOCUMENTS:
        for line in "".join(blocks(path, "sh", "bash", "console")).replace("\\\n", " ").splitlines():
            found += [(path, match) for match in re.findall(r"(?:^|\$\(|[;&|]\s*)(roomhand [^)#|;&]*)", line)]
        found += [(path, match) for match in re.findall(r"^\| `(roomhand [^`]+)`", path.read_text(), re.MULTILINE)]
    return [pytest.param(line, id=f"{name_of(path)}-{line}") for path, line in found]


def mentions() -> list[Any]:
    """Commands in running text, which may leave arguments out."""
    found = [(path, code) for path in DOCUMENTS for code in inline_code(path) if code.startswith("roomhand ")]
    return [pytest.param(code, id=f"{name_of(path)}-{code}") for path, code in dict.fromkeys(found)]


def resolve(line: str) -> tuple[Any, list[str]]:
    """The command that `line` names, and its arguments."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"no command {words[0]!r} in: {line}"
        command = command.commands[words.pop(0)]
    return command, words


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("line", command_lines())
def test_command_lines_parse(line: str) -> None:
    command, words = resolve(line)
    command.make_context("roomhand", words)


@pytest.mark.parametrize("line", mentions())
def test_commands_in_the_text_exist(line: str) -> None:
    command, words = resolve(line)
    unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - options_of(command) - {"--help"}
    assert unknown == set()


def test_options_and_sister_commands_in_the_table_exist() -> None:
    rows = re.findall(r"^\| `(roomhand [^`]+)` \| (.*) \|$", README.read_text(), re.MULTILINE)
    assert len(rows) >= 5
    for line, text in rows:
        command, _ = resolve(line)
        for code in _CODE.findall(text):
            if code.startswith("--"):
                assert code.split()[0] in options_of(command), line
        group = shlex.split(line)[1]
        if sisters := re.search(r"^also (.*)", text):
            for name in _CODE.findall(sisters[1]):
                resolve(f"roomhand {group} {name}")


def test_the_table_has_every_command() -> None:
    command: Any = typer.main.get_command(app)
    documented = {line.split()[1] for line in re.findall(r"^\| `(roomhand [^`]+)`", README.read_text(), re.MULTILINE)}
    assert documented == {name for name, item in command.commands.items() if not item.hidden}


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set()
    for path in DOCUMENTS:
        code = [*inline_code(path), *"".join(blocks(path, "sh", "bash", "console")).splitlines()]
        named |= {match[1] for text in code if (match := re.match(r"make ([a-z]+)", text))}
    assert named - targets == set()


def test_the_readme_promises_no_smaller_loss_than_was_measured() -> None:
    (row,) = re.findall(r"^\| lost by a kill.*$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    measured = {float(figure) for figure in re.findall(r"worst \**([\d.]+) s", row)}
    assert len(measured) == 2
    (promised,) = re.findall(r"a crash loses.*?\]\(docs/faults\.md", README.read_text(), re.DOTALL)
    assert {float(figure) for figure in re.findall(r"([\d.]+) s ", promised)} == measured


def test_the_players_addresses_have_all_that_its_scripts_read() -> None:
    web = ROOT / "agent" / "api" / "web"
    read = {
        name
        for script in ("player.js", "live.js")
        for name in re.findall(r'query\.get\("(\w+)"', (web / script).read_text())
    }
    written = {name for code in inline_code(README) for name in re.findall(r"[?&](\w+)=", code) if "/player" in code}
    more = {name for code in inline_code(README) if code.startswith("&") for name in re.findall(r"&(\w+)=", code)}
    assert {"export", "recording"} <= written
    assert read - written - more == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        target, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        found = (path.parent / target).resolve() if target else path
        assert found.exists(), link
        if fragment:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert fragment in {anchor(text) for text in headings}, link


def anchor(heading: str) -> str:
    """The fragment by which a heading is linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_files_named_in_the_text_exist(path: Path) -> None:
    """What is set as code and starts with one of the project's folders is a path."""
    folders = "|".join((*OURS, "docs", "deploy", "tests", "requirements"))
    named = [code for code in inline_code(path) if re.fullmatch(rf"(?:{folders})/[\w./-]*", code)]
    assert [code for code in named if not (ROOT / code).exists()] == []


def committed_files() -> list[str]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this copy of the project is no git checkout")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    found = []
    for name in committed_files():
        data = (ROOT / name).read_bytes()
        found += [(name, words) for words in _FORBIDDEN if words.encode() in data]
    assert found == []

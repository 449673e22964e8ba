"""docs/events.md has every event that the API tells, with its fields: names and fields are taken from the code."""

import ast
import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args

import pytest

import agent.room.events
import agent.room.recorder_events
from agent.api.events import MAX_STREAMS, _gap
from agent.room.permissions import Permissions
from agent.room.state import ParticipantState, RecordingStatus, TrackState, UndecryptableTrack
from agent.service import service_events
from agent.service.event_log import RING_EVENTS
from agent.service.event_report import MAX_STRING_CHARS, UNREPORTED, name_of_event
from media.record.entries import SegmentEntry

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "events.md").read_text()
OBJECTS = {
    "participant": ParticipantState,
    "track": TrackState,
    "status": RecordingStatus,
    "segment": SegmentEntry,
    "permissions": Permissions,
    "UndecryptableTrack": UndecryptableTrack,
}


def leaves(kind: type) -> set[type]:
    """Those of a class and its subclasses that something can be."""
    children: list[type] = kind.__subclasses__()
    return {leaf for child in children for leaf in leaves(child)} or {kind}


def told() -> dict[str, type]:
    """Every event by its name."""
    found = set(get_args(agent.room.recorder_events.RecorderEvent)) | set(get_args(agent.room.events.RoomEvent))
    for module in (agent.room.events, agent.room.recorder_events):
        found |= {
            item
            for item in vars(module).values()
            if is_dataclass(item) and getattr(item, "__module__", "") == module.__name__
        }
    for kind in get_args(service_events.ServiceEvent):
        found |= leaves(kind)
    return {name: kind for kind in found if (name := name_of_event(kind)) not in UNREPORTED}


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of all tables of that first column: what is named, and the names in the second column."""
    tables = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    found = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", "".join(tables), re.MULTILINE)
    assert len(dict(found)) == len(found), "an event has two rows"
    return {name: re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", text)) for name, text in found}


def test_every_event_is_documented_and_no_other() -> None:
    documented, declared = rows("event").keys() - {_gap(None).event}, told().keys()
    assert sorted(declared - documented) == [], "docs/events.md lacks a row for these"
    assert sorted(documented - declared) == [], "docs/events.md has a row for these, and nothing tells them"
    assert rows("event")["gap"] == list(_gap(None).data)


@pytest.mark.parametrize("name", sorted(told()))
def test_its_fields_are_the_documented_ones(name: str) -> None:
    declared = [item.name for item in fields(told()[name])]
    assert rows("event").get(name) == declared, f"docs/events.md: the fields of {name}, in their order"


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_fields_of_what_is_within_are_documented(name: str) -> None:
    assert rows("object").get(name) == [item.name for item in fields(OBJECTS[name])]


def test_what_has_fields_of_its_own_is_documented() -> None:
    """No event has an object within that the document does not tell of."""
    kinds = {item.type for kind in told().values() for item in fields(kind)}
    assert {kind for kind in kinds if is_dataclass(kind)} <= set(OBJECTS.values())


def test_the_service_tells_declared_events_only() -> None:
    """A name that is written where an event is told would be in no table."""
    literal = []
    for path in sorted((ROOT / "agent" / "service").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                tells = node.func.attr == "on_event" or (node.func.attr == "append" and owner.endswith("events"))
                names = [item for item in node.args[:2] if isinstance(item, ast.Constant) and item.value]
                literal += [f"{path.name}: {ast.unparse(node)}" for _ in names if tells]
    assert literal == []


def test_figures_are_those_of_the_code() -> None:
    assert f"{RING_EVENTS} events are kept" in DOCUMENT
    assert f"longer than {MAX_STRING_CHARS}" in DOCUMENT.replace("\n", " ")
    assert MAX_STREAMS == 100
    assert "A hundred streams" in DOCUMENT
    assert inspect.signature(_gap).parameters.keys() == {"missed"}

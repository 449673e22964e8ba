"""What the command line says of recordings, as the control API's bodies take it: one place checks both."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.commands.token import parse_duration_s
from agent.errors import InvalidSettings

if TYPE_CHECKING:
    from agent.api.models import PlanBody, RecordPolicyBody

BodyT = TypeVar("BodyT", bound=BaseModel)

BEST_LAYER = "highest"
_QUALITIES = {"low": "low", "medium": "medium", BEST_LAYER: "high", "high": "high"}

_LAYERS = ("--record-layer", "--record-budget", "--record-max-fps", "--focus")
_OPTIONS = {
    "layers.budget_bps": "--record-budget",
    "layers.max_fps": "--record-max-fps",
    "layers.focus": "--focus",
    "stop.empty_s": "--stop-empty",
    "stop.silent_s": "--stop-silent",
    "stop.muted_s": "--stop-muted",
    "stop.no_media_s": "--stop-no-media",
    "stop.duration_s": "--stop-after",
    "stop.size_bytes": "--stop-size",
}
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def policy_body(participants: Sequence[str], tracks: Sequence[str], rules: Path | None) -> "RecordPolicyBody | None":
    """Which tracks to record: those of `participants` (identities), `tracks` (names or SIDs), both glob patterns.

    Or what the JSON file `rules` says, as the API's `record_policy`; None where nothing was said.
    Raises InvalidSettings.
    """
    from agent.api.models import RecordPolicyBody

    if rules is not None:
        if participants or tracks:
            raise InvalidSettings("--rules says which tracks to record, and so do --participant and --track; give one")
        return _read_rules(rules)
    if not participants and not tracks:
        return None
    chosen = [
        {"participant": participant, key: track}
        for participant in participants or ["*"]
        for track in tracks or ["*"]
        for key in (("name", "sid") if tracks else ("name",))
    ]
    return _checked(RecordPolicyBody, {"rules": chosen, "default": "ignore"}, "--participant and --track")


def _read_rules(path: Path) -> "RecordPolicyBody":
    from agent.api.models import RecordPolicyBody

    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidSettings(f"cannot read rules from {path}: {error.strerror}; give a JSON file") from error
    try:
        return RecordPolicyBody.model_validate_json(text)
    except ValidationError as error:
        raise InvalidSettings(f"{path} holds no rules: {_first(error)}; see docs/recording.md") from error


def plan_body(
    *,
    when: str,
    stop: dict[str, str | None],
    stop_size: str | None,
    layer: str,
    budget_bps: int | None,
    max_fps: int | None,
    focus: Sequence[str],
    leave_when_stopped: bool,
    decoded: bool,
) -> "PlanBody":
    """When recordings begin and end, and in which layers. `stop`: durations such as 30s or 2h, by field of StopBody.

    Raises InvalidSettings.
    """
    from agent.api.models import PlanBody

    if layer not in _QUALITIES:
        raise InvalidSettings(f"--record-layer is {layer!r}; give low, medium or {BEST_LAYER}")
    times = {name: parse_duration_s(text) for name, text in stop.items() if text is not None}
    size = {} if stop_size is None else {"size_bytes": parse_size_bytes(stop_size)}
    values = {
        "when": when,
        "stop": {**times, **size},
        "layers": {
            "quality": _QUALITIES[layer],
            "budget_bps": budget_bps,
            "focus": [*focus],
            "max_fps": max_fps,
        },
        "leave_when_stopped": leave_when_stopped,
        "decoded": decoded,
    }
    return _checked(PlanBody, values, "the recording's options")


def check_options(given: Collection[str], *, records: bool) -> None:
    """See that each option in `given` (such as --mux) has an effect; `records`: something begins a recording.

    Raises InvalidSettings, which says what to add or to leave out.
    """
    if given and not records:
        said = ", ".join(given)
        raise InvalidSettings(f"nothing would be recorded, so {said} has no effect; add --record or --record-when")
    layers = [option for option in _LAYERS if option in given]
    if "--decoded" in given and layers:
        raise InvalidSettings(
            f"decoded media come in the participant's layers, so {', '.join(layers)} has no effect with --decoded; "
            "leave one or the other out"
        )
    if "--focus" in given and "--record-budget" not in given:
        raise InvalidSettings("--focus says who comes first within a budget, and there is none; add --record-budget")


def parse_size_bytes(text: str) -> int:
    """Bytes in `500000`, `500K`, `200M` or `4G`; InvalidSettings otherwise."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if unit not in _UNITS or not number.isdecimal() or not number.isascii():
        raise InvalidSettings(f"{text!r} is no size; write it like 500000, 500K, 200M or 4G")
    return int(number) * _UNITS[unit]


def _checked(body: type[BodyT], values: dict[str, Any], what: str) -> BodyT:
    try:
        return body.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise InvalidSettings(f"{what} cannot be used: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    option = next((option for field, option in _OPTIONS.items() if where.startswith(field)), where)
    return f"{option}: {first['msg']}".removeprefix(": ")

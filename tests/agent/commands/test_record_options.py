"""What the command line says of recordings, and what it is told when that makes no sense."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.commands.record_options import parse_size_bytes, plan_body, policy_body
from agent.errors import InvalidSettings
from agent.room.recording_plan import LayerPolicy, RecordingPlan, RecordWhen, StopConditions
from agent.room.state import ParticipantState, TrackState
from agent.room.subscription import Candidate, SubscribeAction, SubscriptionPolicy, SubscriptionRule, decide
from quality.stats import TrackKind, VideoQuality


def recorded(policy: SubscriptionPolicy) -> set[str]:
    """Which of four tracks a policy records."""
    tracks = [("ada", "TR_1", "camera"), ("ada", "TR_2", "screen"), ("bob", "TR_3", "camera"), ("bob", "TR_4", "mic")]
    candidates = [
        Candidate(
            ParticipantState(identity, "PA", "", "", {}),
            TrackState(sid, name, "video", "camera", identity, "video/VP8", False, False, 0, 0),
        )
        for identity, sid, name in tracks
    ]
    return {choice.sid for choice in decide(policy, candidates) if choice.subscribe}


@pytest.mark.parametrize(
    ("participants", "tracks", "expected"),
    [
        (["ada"], [], {"TR_1", "TR_2"}),
        (["ada", "b*"], [], {"TR_1", "TR_2", "TR_3", "TR_4"}),
        ([], ["camera"], {"TR_1", "TR_3"}),
        ([], ["TR_4", "scr*"], {"TR_2", "TR_4"}),
        (["bob"], ["camera", "TR_2"], {"TR_3"}),
        (["nobody"], [], set()),
    ],
)
def test_participants_and_tracks_are_chosen(participants: list[str], tracks: list[str], expected: set[str]) -> None:
    body = policy_body(participants, tracks, None)
    assert body is not None
    assert recorded(body.policy()) == expected


def test_nothing_said_is_nothing_chosen() -> None:
    assert policy_body([], [], None) is None


def test_rules_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"rules": [{"kind": "audio", "quality": "low"}], "default": "ignore"}))
    body = policy_body([], [], file)
    assert body is not None
    rule = SubscriptionRule(kind=TrackKind.AUDIO, quality=VideoQuality.LOW)
    assert body.policy() == SubscriptionPolicy((rule,), SubscribeAction.IGNORE)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"rules": [{"kind": "smell"}]}', '{"rule": []}', '{"rules": ' + "[" * 100_000]
)
def test_a_file_without_rules_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(text)
    with pytest.raises(InvalidSettings, match="holds no rules"):
        policy_body([], [], file)


def test_rules_and_single_choices_exclude_each_other_and_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="give one"):
        policy_body(["ada"], [], tmp_path / "rules.json")
    with pytest.raises(InvalidSettings, match="No such file"):
        policy_body([], [], tmp_path / "rules.json")


def plan(**values: Any) -> RecordingPlan:
    usual: dict[str, Any] = {
        "when": "now",
        "stop": {},
        "stop_size": None,
        "layer": "highest",
        "budget_bps": None,
        "max_fps": None,
        "focus": [],
        "leave_when_stopped": False,
        "decoded": False,
    }
    return plan_body(**{**usual, **values}).plan()


def test_a_plan_is_put_together() -> None:
    assert plan() == RecordingPlan()
    said = plan(
        when="metadata",
        stop={"empty_s": "30s", "duration_s": "1.5h", "muted_s": None},
        stop_size="2G",
        layer="low",
        budget_bps=500_000,
        max_fps=10,
        focus=["host"],
        leave_when_stopped=True,
        decoded=True,
    )
    assert said == RecordingPlan(
        RecordWhen.METADATA,
        StopConditions(empty_s=30, duration_s=5400, size_bytes=2 * 10**9),
        leave_when_stopped=True,
        layers=LayerPolicy(VideoQuality.LOW, 500_000, ("host",), 10),
        decoded=True,
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"stop": {"empty_s": "soon"}}, "'soon'"),
        ({"stop": {"empty_s": "0s"}}, "--stop-empty: .* greater than 0"),
        ({"stop": {"duration_s": "0s"}}, "--stop-after: "),
        ({"stop_size": "big"}, "'big' is no size"),
        ({"stop_size": "0"}, "--stop-size: "),
        ({"layer": "best"}, "--record-layer is 'best'; give low, medium or highest"),
        ({"budget_bps": 0}, "--record-budget: .* greater than 0"),
        ({"max_fps": 0}, "--record-max-fps: .* greater than 0"),
        ({"focus": ["x" * 10_000]}, "--focus: "),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_the_words_of_the_command_line(
    values: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidSettings, match=told):
        plan(**values)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--mux"], "--mux has no effect; add --record"),
        (["--stop-empty", "30s"], "--stop-empty has"),
        (["--stop-silent", "30s"], "--stop-silent has"),
        (["--stop-muted", "30s"], "--stop-muted has"),
        (["--stop-no-media", "30s"], "--stop-no-media has"),
        (["--stop-after", "30s"], "--stop-after has"),
        (["--stop-size", "1G"], "--stop-size has"),
        (["--participant", "ada", "--track", "camera"], "--participant, --track has"),
        (["--rules", "rules.json"], "--rules has"),
        (["--record-layer", "low"], "--record-layer has"),
        (["--record-budget", "1000"], "--record-budget has"),
        (["--record-max-fps", "10"], "--record-max-fps has"),
        (["--leave-when-stopped"], "--leave-when-stopped has"),
        (["--decoded"], "--decoded has"),
        (["--record", "--decoded", "--record-layer", "low"], "--record-layer has no effect with --decoded"),
        (["--record", "--decoded", "--record-max-fps", "10"], "--record-max-fps has no effect with --decoded"),
        (["--record", "--decoded", "--record-budget", "1000"], "--record-budget has no effect with --decoded"),
        (["--record", "--focus", "host"], "add --record-budget"),
    ],
)
def test_join_refuses_options_that_would_have_no_effect(options: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["join", "room", *options])
    assert isinstance(result.exception, InvalidSettings)
    assert told in str(result.exception)


@pytest.mark.parametrize("recorded_by", [["--record"], ["--record-when", "metadata"], ["--recording-id", "one"]])
def test_join_takes_them_where_something_is_recorded(recorded_by: list[str]) -> None:
    options = ["--mux", "--stop-empty", "30s", "--record-budget", "1000", "--focus", "host", "--leave-when-stopped"]
    result = CliRunner().invoke(app, ["join", "room", *recorded_by, *options, "--attribute", "none"])
    assert "'none' is no attribute" in str(result.exception), "what is refused next, so that nothing is joined"


@pytest.mark.parametrize(
    ("text", "size"), [("500000", 500_000), ("5K", 5_000), ("200M", 200_000_000), ("4g", 4 * 10**9)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "M", "1T", "-5", "1.5G", "½", "٣"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="no size"):
        parse_size_bytes(text)

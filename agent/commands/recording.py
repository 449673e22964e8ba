"""`roomhand recording`: control the recording of a room that `roomhand serve` runs, through its API."""

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.commands.output import JsonOption, Output
from agent.commands.record_options import policy_body

recording = typer.Typer(no_args_is_help=True, help="Control the recording of a room that `roomhand serve` runs.")

Room = Annotated[str, typer.Argument(help="The room's name.")]
Url = Annotated[str | None, typer.Option(help="The service; default ROOMHAND_HOST and ROOMHAND_PORT.")]
Participants = Annotated[
    list[str] | None, typer.Option("--participant", help="Record this identity only (glob pattern; repeat).")
]
Tracks = Annotated[
    list[str] | None, typer.Option("--track", help="Record tracks of this name or SID only (glob pattern; repeat).")
]
Rules = Annotated[Path | None, typer.Option(help="Record by the rules in this JSON file.")]


@recording.command("start")
def start(
    room: Room,
    recording_id: Annotated[
        str | None, typer.Option("--id", help="Go on with this recording, or give a new one its id.")
    ] = None,
    participant: Participants = None,
    track: Tracks = None,
    rules: Rules = None,
    paused: Annotated[bool, typer.Option("--paused", help="Begin without media; `resume` then records.")] = False,
    url: Url = None,
    json_output: JsonOption = False,
) -> None:
    """Record the room."""
    body = {"recording_id": recording_id, "paused": paused, **_policy(participant, track, rules)}
    _tell(_call("POST", room, "", url, body), as_json=json_output)


@recording.command("change")
def change(
    room: Room,
    participant: Participants = None,
    track: Tracks = None,
    rules: Rules = None,
    url: Url = None,
    json_output: JsonOption = False,
) -> None:
    """Change what is recorded, while it is."""
    _tell(_call("PATCH", room, "", url, _policy(participant, track, rules)), as_json=json_output)


@recording.command("stop")
def stop(room: Room, url: Url = None, json_output: JsonOption = False) -> None:
    """Close the room's recording."""
    _tell(_call("DELETE", room, "", url), as_json=json_output)


@recording.command("pause")
def pause(room: Room, url: Url = None, json_output: JsonOption = False) -> None:
    """Record nothing until `resume`, within the same recording."""
    _tell(_call("POST", room, "/pause", url), as_json=json_output)


@recording.command("resume")
def resume(room: Room, url: Url = None, json_output: JsonOption = False) -> None:
    """Record again after a pause."""
    _tell(_call("POST", room, "/resume", url), as_json=json_output)


def _policy(participants: list[str] | None, tracks: list[str] | None, rules: Path | None) -> dict[str, Any]:
    body = policy_body(participants or [], tracks or [], rules)
    return {} if body is None else {"policy": body.model_dump(mode="json")}


def _call(method: str, room: str, path: str, url: str | None, body: object = None) -> Any:
    from agent.commands.service_call import call_recording

    return call_recording(method, room, path, url, body)


def _tell(status: Any, *, as_json: bool) -> None:
    output = Output(as_json=as_json)
    if as_json or status is None:
        output.document(status)
        return
    output.text(f"{status['recording_id']}: {status['state']}, {status['recorded_s']:.0f} s in {status['path']}")

"""`roomhand token`: access tokens for participants and for the control API."""

import re
from typing import Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.config import load_settings
from agent.errors import InvalidSettings

GRANTS = {
    "roomAdmin": "room_admin",
    "roomRecord": "room_record",
    "roomList": "room_list",
    "roomCreate": "room_create",
}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)([smhd])$")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration_s(text: str) -> float:
    """Seconds in `90s`, `10m`, `6h` or `30d`; InvalidSettings otherwise."""
    match = _DURATION.match(text)
    if match is None:
        raise InvalidSettings(f"{text!r} is no duration; write it like 90s, 10m, 6h or 30d")
    return float(match[1]) * _UNIT_S[match[2]]


def token(
    room: Annotated[str, typer.Option(help="The room it is for; empty for all (control API only).")] = "",
    identity: Annotated[str, typer.Option(help="Participant identity, or who calls the API.")] = "",
    join: Annotated[bool, typer.Option("--join", help="A participant's token, to join ROOM.")] = False,
    grant: Annotated[list[str] | None, typer.Option(help=f"Control API grant: {', '.join(GRANTS)}.")] = None,
    ttl: Annotated[str, typer.Option(help="How long it is valid: 90s, 10m, 6h, 30d.")] = "6h",
    hidden: Annotated[bool, typer.Option("--hidden", help="With --join: not in the participant list.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Print a LiveKit access token signed with the server's key."""
    from agent.tokens import ParticipantTokenRequest, ServiceGrants, mint_participant_token, mint_service_token

    credentials = load_settings().credentials()
    ttl_s = parse_duration_s(ttl)
    if ttl_s < 1:
        raise InvalidSettings(f"--ttl {ttl} makes a token that has expired before anybody uses it; give 1s or more")
    if join and grant:
        raise InvalidSettings("--join makes a participant's token, --grant one for the control API; make one of each")
    if hidden and not join:
        raise InvalidSettings("--hidden is for a participant's token; give --join as well, or leave it out")
    if join:
        request = ParticipantTokenRequest(room=room, identity=identity, hidden=hidden, ttl_s=ttl_s)
        jwt = mint_participant_token(credentials, request)
    else:
        unknown = [name for name in grant or [] if name not in GRANTS]
        if unknown or not grant:
            raise InvalidSettings(
                f"unknown grant {', '.join(unknown)}; " * bool(unknown)
                + f"give --join, or --grant with one of {', '.join(GRANTS)}"
            )
        flags = {GRANTS[name]: True for name in grant}
        jwt = mint_service_token(credentials, ServiceGrants(identity=identity, room=room, **flags), ttl_s=ttl_s)
    output = Output(as_json=json_output)
    if json_output:
        output.document({"token": jwt, "url": credentials.url, "expires_in_s": ttl_s})
    else:
        output.text(jwt)

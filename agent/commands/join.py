"""`roomhand join`: one room in the foreground."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent.commands.output import JsonOption, Output
from agent.commands.record_options import BEST_LAYER, check_options, plan_body, policy_body
from agent.config import load_settings
from agent.errors import InvalidSettings
from agent.room.publish_options import PublishOptions, VideoCodec
from agent.room.recording_plan import RecordWhen
from media.errors import InvalidEncryptionKey
from quality.stats import TrackSource


def join(
    room: Annotated[str, typer.Argument(help="The room's name.")],
    publish: Annotated[
        str | None, typer.Option(help="pattern or sync, each also :WIDTHxHEIGHT@FPS, or a media file.")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Record the room, without transcoding.")] = False,
    mux: Annotated[
        bool, typer.Option("--mux", help="Record each participant's audio and video in one file as well.")
    ] = False,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="Leave after so many seconds.")] = None,
    out: Annotated[Path | None, typer.Option(help="Recordings folder; default ROOMHAND_RECORDINGS_DIR.")] = None,
    recording_id: Annotated[
        str | None, typer.Option(help="Go on with this recording, or give a new one its id.")
    ] = None,
    identity: Annotated[str, typer.Option(help="Participant identity.")] = "roomhand",
    name: Annotated[str, typer.Option(help="Display name.")] = "",
    metadata: Annotated[str, typer.Option(help="Participant metadata.")] = "",
    attribute: Annotated[list[str] | None, typer.Option(help="Participant attribute, KEY=VALUE.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Stay out of the participant list.")] = False,
    token: Annotated[str | None, typer.Option(help="Join with this access token.", envvar="ROOMHAND_TOKEN")] = None,
    subscribe: Annotated[
        bool, typer.Option("--subscribe", help="Subscribe to all tracks as a participant too.")
    ] = False,
    codec: Annotated[VideoCodec, typer.Option(help="Video codec to publish.")] = VideoCodec.VP8,
    bitrate: Annotated[int | None, typer.Option(help="Bits per second of the highest layer.")] = None,
    fps: Annotated[float | None, typer.Option(help="Most frames per second to publish.")] = None,
    simulcast: Annotated[bool, typer.Option(help="Publish simulcast layers.")] = True,
    adaptive: Annotated[
        bool, typer.Option(help="Send fewer frames or a smaller picture when CPU or bandwidth lack.")
    ] = True,
    pre_encoded: Annotated[
        bool, typer.Option("--pre-encoded", help="Publish a file's H.264 or VP8 video as it is encoded.")
    ] = False,
    loop: Annotated[bool, typer.Option(help="Play a file again and again.")] = True,
    screen: Annotated[bool, typer.Option("--screen", help="Publish as a screen share.")] = False,
    chat: Annotated[str | None, typer.Option(help="Say this in the chat, each second.")] = None,
    data: Annotated[str | None, typer.Option(help="Send this as a data packet, each second.")] = None,
    data_track: Annotated[
        str | None, typer.Option(help="Publish a data track of that name, ten frames a second.")
    ] = None,
    record_when: Annotated[
        RecordWhen, typer.Option(help="Record now, when the first track is published, or as the room's metadata say.")
    ] = RecordWhen.NOW,
    participant: Annotated[
        list[str] | None, typer.Option(help="Record this identity only (glob pattern; repeat).")
    ] = None,
    track: Annotated[
        list[str] | None, typer.Option(help="Record tracks of this name or SID only (glob pattern; repeat).")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="Record by the rules in this JSON file.")] = None,
    record_layer: Annotated[str, typer.Option(help="Best layer to record: low, medium, highest.")] = BEST_LAYER,
    record_budget: Annotated[int | None, typer.Option(help="Bits per second for all recorded videos.")] = None,
    record_max_fps: Annotated[int | None, typer.Option(help="Frames per second of each recorded video.")] = None,
    focus: Annotated[
        list[str] | None, typer.Option(help="Identity that comes first within the budget (glob pattern; repeat).")
    ] = None,
    stop_empty: Annotated[str | None, typer.Option(help="End the recording when alone for so long: 30s, 10m.")] = None,
    stop_silent: Annotated[str | None, typer.Option(help="End it when nobody is heard for so long.")] = None,
    stop_muted: Annotated[str | None, typer.Option(help="End it when all is muted for so long.")] = None,
    stop_no_media: Annotated[str | None, typer.Option(help="End it when no packet comes for so long.")] = None,
    stop_after: Annotated[str | None, typer.Option(help="End it when so much is recorded: 90m, 2h.")] = None,
    stop_size: Annotated[str | None, typer.Option(help="End it at this size: 500M, 4G.")] = None,
    leave_when_stopped: Annotated[
        bool, typer.Option("--leave-when-stopped", help="Leave when the recording has ended by itself.")
    ] = False,
    decoded: Annotated[
        bool, typer.Option("--decoded", help="Decode and encode again, for codecs that cannot be recorded as they are.")
    ] = False,
    e2ee_key: Annotated[
        str | None,
        typer.Option(help="Key for end-to-end encryption; others see it here, but not in ROOMHAND_E2EE_KEY."),
    ] = None,
    e2ee_participant_key: Annotated[
        list[str] | None, typer.Option(help="Key of one participant, IDENTITY=KEY.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Join a room; publish and record what is asked for; leave on Ctrl-C, SIGTERM or after --for seconds.

    SIGUSR1 pauses the recording, and has it go on.
    """
    from agent.commands.visit import Chatter, Visit
    from agent.request import EVERYTHING, NOTHING, RoomRequest

    said = {
        "--mux": mux,
        "--participant": participant,
        "--track": track,
        "--rules": rules,
        "--record-layer": record_layer != BEST_LAYER,
        "--record-budget": record_budget is not None,
        "--record-max-fps": record_max_fps is not None,
        "--focus": focus,
        "--stop-empty": stop_empty is not None,
        "--stop-silent": stop_silent is not None,
        "--stop-muted": stop_muted is not None,
        "--stop-no-media": stop_no_media is not None,
        "--stop-after": stop_after is not None,
        "--stop-size": stop_size is not None,
        "--leave-when-stopped": leave_when_stopped,
        "--decoded": decoded,
    }
    record = record or record_when.begins_by_itself
    check_options([option for option, given in said.items() if given], records=record or recording_id is not None)
    chosen = policy_body(participant or [], track or [], rules)
    plan = plan_body(
        when=record_when.value,
        stop={
            "empty_s": stop_empty,
            "silent_s": stop_silent,
            "muted_s": stop_muted,
            "no_media_s": stop_no_media,
            "duration_s": stop_after,
        },
        stop_size=stop_size,
        layer=record_layer,
        budget_bps=record_budget,
        max_fps=record_max_fps,
        focus=focus or [],
        leave_when_stopped=leave_when_stopped,
        decoded=decoded,
    )
    request = RoomRequest(
        room=room,
        identity=identity,
        name=name,
        metadata=metadata,
        attributes=dict(_parse_attribute(item) for item in attribute or []),
        hidden=hidden,
        token=token,
        publish=publish,
        publish_options=PublishOptions(
            source=TrackSource.SCREEN_SHARE if screen else TrackSource.CAMERA,
            simulcast=simulcast,
            video_codec=codec,
            max_bitrate_bps=bitrate,
            max_fps=fps,
            adaptive=adaptive,
            pre_encoded=pre_encoded,
        ),
        loop=loop,
        record=record,
        mux=mux,
        recording_id=recording_id,
        recordings_dir=out,
        policy=EVERYTHING if subscribe else NOTHING,
        record_policy=chosen.policy() if chosen else EVERYTHING,
        recording_plan=plan.plan(),
        e2ee_key=e2ee_key,
        e2ee_participant_keys=dict(_parse_participant_key(item) for item in e2ee_participant_key or []),
    )
    visit = Visit(load_settings(), request, Output(as_json=json_output), Chatter(chat, data, data_track))
    asyncio.run(visit.run(seconds))


def _parse_attribute(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidSettings(f"{text!r} is no attribute; write KEY=VALUE")
    return key, value


def _parse_participant_key(text: str) -> tuple[str, str]:
    identity, equals, key = text.partition("=")
    if not identity or not equals:
        raise InvalidEncryptionKey("a participant's key is written IDENTITY=KEY")  # not quoted: it may hold the key
    return identity, key

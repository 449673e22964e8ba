"""The public API, written down once more: who changes it changes it here too, and tells so in the changelog."""

import ast
import dataclasses
import importlib
import inspect
import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
import structlog
import typer
from typer.testing import CliRunner

import agent
from agent.cli import app

NAMES = [
    "EVERYTHING",
    "NOTHING",
    "AudioFormat",
    "AudioFrame",
    "ConnectionState",
    "Credentials",
    "LayerPolicy",
    "LiveSource",
    "ParticipantState",
    "PublicationState",
    "PublishOptions",
    "ReceiveState",
    "RecordWhen",
    "RecordingPlan",
    "RecordingStatus",
    "RoomAgent",
    "RoomRequest",
    "RoomState",
    "RoomhandError",
    "RpcError",
    "RpcInvocation",
    "Settings",
    "StopConditions",
    "SubscribeAction",
    "SubscriptionPolicy",
    "SubscriptionRule",
    "TrackSource",
    "TrackState",
    "VideoCodec",
    "VideoFormat",
    "VideoFrame",
    "configure_logs",
    "load_settings",
]

ROOM_AGENT = [
    "__init__(self, credentials: Credentials, request: RoomRequest, settings: Settings, *,"
    " clock: SteadyClock | None=None, export_queue: ExportQueue | None=None) -> None",
    "async __aenter__(self) -> Self",
    "async __aexit__(self, _type: type[BaseException] | None, _error: BaseException | None,"
    " _trace: TracebackType | None) -> None",
    "async start(self) -> None",
    "async aclose(self) -> None",
    "async wait_closed(self) -> str",
    "add_listener(self, listener: Listener) -> Callable[[], None]",
    "async publish(self, source: str | os.PathLike[str] | Source, options: PublishOptions | None=None)"
    " -> tuple[PublicationState, ...]",
    "async unpublish(self, sid: str) -> None",
    "async set_muted(self, sid: str, muted: bool) -> None",
    "async send_data(self, payload: bytes, topic: str='', reliable: bool=True,"
    " destination_identities: Sequence[str]=()) -> None",
    "async send_text(self, text: str, topic: str='lk.chat', destination_identities: Sequence[str]=()) -> str",
    "register_rpc_method(self, name: str, handler: RpcHandler) -> None",
    "unregister_rpc_method(self, name: str) -> None",
    "async perform_rpc(self, destination_identity: str, method: str, payload: str='',"
    " response_timeout: float=DEFAULT_RESPONSE_TIMEOUT_S) -> str",
    "async publish_data_track(self, name: str) -> str",
    "push_data(self, name: str, payload: bytes, *, user_timestamp: int | None=None) -> bool",
    "async unpublish_data_track(self, name: str) -> None",
    "async set_metadata(self, metadata: str) -> None",
    "async set_name(self, name: str) -> None",
    "async set_attributes(self, changes: Mapping[str, str]) -> None",
    "async set_policy(self, policy: SubscriptionPolicy) -> None",
    "async set_subscribed(self, track_sid: str, subscribed: bool | None) -> None",
    "async set_layer(self, track_sid: str, quality: str | None, target: str='subscription') -> None",
    "video_frames(self, track_sid: str) -> AsyncGenerator[VideoFrame, None]",
    "audio_frames(self, track_sid: str, *, sample_rate: int=48000, channels: int=1)"
    " -> AsyncGenerator[AudioFrame, None]",
    "async start_recording(self, recording_id: str | None=None, *, policy: SubscriptionPolicy | None=None,"
    " plan: RecordingPlan | None=None, paused: bool=False) -> RecordingStatus",
    "async set_e2ee_key(self, key: str, *, participant_identity: str | None=None, key_index: int=0) -> None",
    "async stop_recording(self) -> RecordingStatus",
    "async pause_recording(self) -> RecordingStatus",
    "async resume_recording(self) -> RecordingStatus",
    "async change_recording(self, *, policy: SubscriptionPolicy | None=None, plan: RecordingPlan | None=None) -> None",
    "async export(self, recording_id: str, export_format: str, out_dir: Path, *,"
    " participant_identity: str | None=None) -> str",
    "state(self) -> RoomState",
    "counters(self) -> RoomCounters",
]

ROOM_REQUEST = {
    "room": "str",
    "identity": "str",
    "name": "str",
    "metadata": "str",
    "attributes": "dict[str, str]",
    "hidden": "bool",
    "token": "str | None",
    "publish": "str | None",
    "publish_options": "PublishOptions",
    "loop": "bool",
    "record": "bool",
    "recording_id": "str | None",
    "recording_stopped": "bool",
    "recordings_dir": "Path | None",
    "policy": "SubscriptionPolicy",
    "record_policy": "SubscriptionPolicy",
    "recording_plan": "RecordingPlan",
    "mux": "bool",
    "data_tracks": "tuple[str, ...]",
    "text_topics": "tuple[str, ...]",
    "e2ee_key": "str | None",
    "e2ee_participant_keys": "dict[str, str]",
}

LIVE_SOURCE = [
    "__init__(self, *, video: VideoFormat | None=None, audio: AudioFormat | None=None) -> None",
    "video(self) -> VideoFormat | None",
    "audio(self) -> AudioFormat | None",
    "ended(self) -> bool",
    "async push_audio(self, samples: npt.NDArray[np.int16]) -> bool",
    "push_video(self, picture: npt.NDArray[np.uint8], *, with_sound: bool=False) -> bool",
    "clear(self) -> None",
    "async drain(self) -> None",
    "end(self) -> None",
    "read_video(self) -> DecodedVideoFrame | None",
    "leave_out_video(self, before_s: float) -> None",
    "read_audio(self) -> DecodedAudio | None",
    "close(self) -> None",
]

COMMANDS = {
    "server": [],
    "token": [],
    "join": [],
    "serve": [],
    "export": [],
    "demo": [],
    "recording": ["start", "change", "stop", "pause", "resume"],
    "recordings": ["list", "show", "verify", "repair", "delete", "prune", "quality"],
    "exports": ["list", "show", "cancel", "delete", "prune"],
}


def declarations(cls: type) -> list[ast.stmt]:
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(found, ast.ClassDef)
    return found.body


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in {"__init__", "__aenter__", "__aexit__"}


def test_the_names_are_these() -> None:
    assert sorted(agent.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(agent, name)
    doc = inspect.getdoc(value)
    assert doc is not None
    # A class without a docstring inherits one, or gets its signature as one.
    assert doc.strip() != ""
    if inspect.isclass(value):
        assert value.__doc__ == vars(value)["__doc__"]
        assert not doc.startswith(f"{name}(")


def test_importing_the_package_loads_no_media_stack() -> None:
    script = "import sys, agent; print(sorted({'livekit', 'av', 'aiortc', 'dbos', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = importlib.import_module("agent").Nothing


@pytest.mark.parametrize(("cls", "methods"), [(agent.RoomAgent, ROOM_AGENT), (agent.LiveSource, LIVE_SOURCE)])
def test_what_a_program_works_with_has_these_methods(cls: type, methods: list[str]) -> None:
    signatures = []
    for item in declarations(cls):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and is_public(item.name):
            prefix = "async " if isinstance(item, ast.AsyncFunctionDef) else ""
            returns = ast.unparse(item.returns) if item.returns else ""
            # Whether an annotation is in quotes is no matter of the API.
            arguments = re.sub(r": '([^']*)'", r": \1", ast.unparse(item.args))
            signatures.append(f"{prefix}{item.name}({arguments}) -> {returns}")
    assert signatures == methods


def test_each_method_of_room_agent_says_what_it_does() -> None:
    bare = [
        name
        for name, value in vars(agent.RoomAgent).items()
        if inspect.isfunction(value) and not name.startswith("_") and not value.__doc__
    ]
    assert bare == []


def test_room_request_has_these_fields() -> None:
    fields = {
        item.target.id: ast.unparse(item.annotation)
        for item in declarations(agent.RoomRequest)
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    assert fields == ROOM_REQUEST
    with pytest.raises(dataclasses.FrozenInstanceError):
        agent.RoomRequest("room").room = "other"  # type: ignore[misc]  # that it fails is what is tested


@pytest.fixture
def logging_kept() -> Iterator[None]:
    """Commands run inside this process set up logging for a stream that ends with them."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)


@pytest.mark.usefixtures("logging_kept")
def test_help_lists_these_commands() -> None:
    command = typer.main.get_command(app)
    groups = getattr(command, "commands")  # noqa: B009 - typer's own click has no stubs to say so
    found = {name: list(getattr(sub, "commands", [])) for name, sub in groups.items() if not sub.hidden}
    assert found == COMMANDS
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in shown.stdout


@pytest.mark.usefixtures("logging_kept")
@pytest.mark.parametrize("name", [*COMMANDS, "recordings list", "recording change", "exports list"])
def test_each_command_has_help(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert f"roomhand {name}" in shown.stdout

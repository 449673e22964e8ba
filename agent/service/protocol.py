"""What the supervisor and a room's process say to each other: JSON lines over the child's stdin and stdout.

The first line down is `StartRoom`, then one `Request` per command. Up come `RoomReport` (each second and
before each reply), `RoomEventReport`, one `Reply` per request, `RoomStarted` once, `RoomEnded` last.
SIGTERM or the end of stdin tell the child to drain. The child's standard error is its log.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import Base64Bytes, Field, JsonValue, TypeAdapter, ValidationError

from agent.errors import RoomhandError, RpcError
from agent.room.publish_options import PublishOptions
from agent.room.recording_plan import RecordingPlan
from agent.room.state import PublicationState, RecordingStatus, RoomState
from agent.room.subscription import SubscriptionPolicy
from agent.service.room_metrics import RoomMetrics
from media.errors import MediaError

T = TypeVar("T")
E = TypeVar("E", RoomhandError, MediaError)

MAX_LINE_BYTES = 32 * 2**20  # a state of some thousand tracks, or LiveKit's 512 KiB metadata of many participants


class ProtocolError(RoomhandError):
    """The other side of the pipe sent something that is no message."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """An error as it crosses the border: the code and text of a RoomhandError or MediaError."""

    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """A room that is wanted: what `serve` keeps in its state file and hands to the room's process.

    `publish`: what to publish from the start, "pattern" or a path. `recording_id` is the recording that the
    room writes, or is to go on with. `policy` and `record_policy` say which tracks to subscribe to and which
    to record, `recording_plan` when and in which layers; None leaves it to the agent's defaults. `mux`: as in
    `RoomRequest`, and so is `recording_stopped`. `e2ee_key` None is the setting's.
    """

    room: str
    identity: str = "roomhand"
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    hidden: bool = False
    publish: str | None = None
    recording_id: str | None = None
    recording_stopped: bool = False
    policy: SubscriptionPolicy | None = None
    record_policy: SubscriptionPolicy | None = None
    recording_plan: RecordingPlan | None = None
    mux: bool = False
    e2ee_key: str | None = field(default=None, repr=False)
    e2ee_participant_keys: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class StartRoom:
    """The first line to a room's process."""

    options: RoomOptions
    type: Literal["start_room"] = "start_room"


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Record the room, or go on with the recording of that id; policy and plan None: as before.

    `e2ee_key` is the room's key for end-to-end encryption from now on; None: as before.
    """

    recording_id: str
    policy: SubscriptionPolicy | None = None
    plan: RecordingPlan | None = None
    paused: bool = False
    e2ee_key: str | None = field(default=None, repr=False)
    type: Literal["start_recording"] = "start_recording"


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Close the room's recording."""

    type: Literal["stop_recording"] = "stop_recording"


@dataclass(frozen=True, slots=True)
class PauseRecording:
    """Record nothing until told otherwise, within the recording."""

    type: Literal["pause_recording"] = "pause_recording"


@dataclass(frozen=True, slots=True)
class ResumeRecording:
    """Record again after a pause."""

    type: Literal["resume_recording"] = "resume_recording"


@dataclass(frozen=True, slots=True)
class ChangeRecording:
    """Change what is recorded and how; None leaves it as it is."""

    policy: SubscriptionPolicy | None = None
    plan: RecordingPlan | None = None
    type: Literal["change_recording"] = "change_recording"


@dataclass(frozen=True, slots=True)
class SetEncryptionKey:
    """Use another key for end-to-end encryption, of the room or of one participant."""

    key: str = field(repr=False)
    participant_identity: str | None
    key_index: int
    type: Literal["set_encryption_key"] = "set_encryption_key"


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Subscribe by this policy from now on."""

    policy: SubscriptionPolicy
    type: Literal["set_policy"] = "set_policy"


@dataclass(frozen=True, slots=True)
class SetSubscribed:
    """Subscribe to one track, or not; None leaves it to the policy again."""

    track_sid: str
    subscribed: bool | None
    type: Literal["set_subscribed"] = "set_subscribed"


@dataclass(frozen=True, slots=True)
class SetLayer:
    """Ask for a layer of a track: low, medium, high; None leaves it to the controller again."""

    track_sid: str
    quality: str | None
    target: str
    type: Literal["set_layer"] = "set_layer"


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish "pattern" or the file at a path."""

    source: str
    options: PublishOptions
    type: Literal["publish"] = "publish"


@dataclass(frozen=True, slots=True)
class Unpublish:
    """End a publication."""

    sid: str
    type: Literal["unpublish"] = "unpublish"


@dataclass(frozen=True, slots=True)
class SetMuted:
    """Mute a publication, or unmute it."""

    sid: str
    muted: bool
    type: Literal["set_muted"] = "set_muted"


@dataclass(frozen=True, slots=True)
class SendData:
    """Send a data packet; no identities means everybody."""

    payload: Base64Bytes
    topic: str
    reliable: bool
    destination_identities: tuple[str, ...]
    type: Literal["send_data"] = "send_data"


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a text stream; no identities means everybody."""

    text: str
    topic: str
    destination_identities: tuple[str, ...]
    type: Literal["send_text"] = "send_text"


RecordingCommand: TypeAlias = StartRecording | StopRecording | PauseRecording | ResumeRecording | ChangeRecording
Command: TypeAlias = (
    RecordingCommand
    | SetEncryptionKey
    | SetPolicy
    | SetSubscribed
    | SetLayer
    | Publish
    | Unpublish
    | SetMuted
    | SendData
    | SendText
)


@dataclass(frozen=True, slots=True)
class Request:
    """A command, with a number that its reply repeats."""

    id: int
    command: Annotated[Command, Field(discriminator="type")]
    type: Literal["request"] = "request"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command brought: publications for Publish, the recording for the four about it."""

    publications: tuple[PublicationState, ...] = ()
    recording: RecordingStatus | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of one request: `done`, or `error`."""

    id: int
    done: Done | None = None
    error: ErrorReport | None = None
    type: Literal["reply"] = "reply"


@dataclass(frozen=True, slots=True)
class RoomStarted:
    """The room is joined and what was wanted from the start is running."""

    type: Literal["room_started"] = "room_started"


@dataclass(frozen=True, slots=True)
class RoomReport:
    """How the room is now."""

    state: RoomState
    metrics: RoomMetrics
    type: Literal["room_report"] = "room_report"


@dataclass(frozen=True, slots=True)
class RoomEventReport:
    """Something that happened in the room. `at`: Unix seconds."""

    event: str
    at: float
    fields: dict[str, JsonValue]
    type: Literal["room_event"] = "room_event"


@dataclass(frozen=True, slots=True)
class RoomEnded:
    """The last line: why the process ends. Without `error` all went well, and `reason` says what ended it."""

    reason: str
    error: ErrorReport | None = None
    type: Literal["room_ended"] = "room_ended"


Down: TypeAlias = StartRoom | Request
Up: TypeAlias = RoomStarted | RoomReport | RoomEventReport | Reply | RoomEnded

_DOWN: TypeAdapter[Down] = TypeAdapter(Annotated[Down, Field(discriminator="type")])
_UP: TypeAdapter[Up] = TypeAdapter(Annotated[Up, Field(discriminator="type")])


def encode_down(message: Down) -> bytes:
    """One line for a room's process."""
    return _DOWN.dump_json(message) + b"\n"


def decode_down(line: bytes) -> Down:
    """The message in a line to a room's process; ProtocolError when it is none."""
    return _decode(_DOWN, line)


def encode_up(message: Up) -> bytes:
    """One line for the supervisor."""
    return _UP.dump_json(message) + b"\n"


def decode_up(line: bytes) -> Up:
    """The message in a line from a room's process; ProtocolError when it is none."""
    return _decode(_UP, line)


def _decode(adapter: TypeAdapter[T], line: bytes) -> T:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ProtocolError(f"a line between supervisor and room process is no message: {first['msg']}") from error


def report_error(error: RoomhandError | MediaError) -> ErrorReport:
    """`error` as it crosses the border."""
    return ErrorReport(error.code, str(error), error.retryable)


def error_from_report(report: ErrorReport) -> RoomhandError | MediaError:
    """The error that was reported, of the class that has its code; a code nobody has becomes `internal`.

    So does RpcError's, whose number no report has: no room's process calls methods.
    """
    candidates: list[type[RoomhandError] | type[MediaError]] = [
        *_with_descendants(RoomhandError),
        *_with_descendants(MediaError),
    ]
    for candidate in candidates:
        if candidate.code == report.code and not issubclass(candidate, RpcError):
            return candidate(report.message)
    return RoomhandError(report.message)


def _with_descendants(base: type[E]) -> list[type[E]]:
    found = [base]
    for child in base.__subclasses__():
        found.extend(_with_descendants(child))
    return found

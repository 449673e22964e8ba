"""What callers send: every field bounded, nothing unknown accepted, each body with an example."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent.room.data_limits import MAX_PACKET_BYTES
from agent.room.publish_options import PublishOptions, VideoCodec
from agent.room.recording_plan import LayerPolicy, RecordingPlan, RecordWhen, StopConditions
from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
from agent.service.protocol import ChangeRecording, RoomOptions, StartRecording
from media.e2ee.key_provider import RING_SIZE
from media.record.recording_id import RECORDING_ID_PATTERN
from quality.stats import TrackKind, TrackSource, VideoQuality

MAX_METADATA_CHARS = 512 * 1024  # LiveKit's limit
_MAX_NAME_BYTES = 256  # LiveKit's limit for room names and identities
_MAX_NAME_CHARS = 256
_MAX_TEXT_CHARS = 200_000
_MAX_RULES = 100

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _no_path_tricks(value: str) -> str:
    if _CONTROL.search(value) or "/" in value or "\\" in value or value in {".", ".."}:
        raise ValueError("must have no slashes and no control characters, and must not be . or ..")
    return value


def _no_control(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must have no control characters")
    return value


def _short(value: str) -> str:
    if len(value.encode(errors="replace")) > _MAX_NAME_BYTES:
        raise ValueError(f"must have at most {_MAX_NAME_BYTES} bytes")
    return value


_Named = Annotated[str, Field(min_length=1, max_length=_MAX_NAME_CHARS), AfterValidator(_short)]
RoomName = Annotated[_Named, AfterValidator(_no_path_tricks)]
Identity = Annotated[_Named, AfterValidator(_no_control)]
RecordingId = Annotated[str, Field(pattern=RECORDING_ID_PATTERN)]
Pattern = Annotated[str, Field(max_length=_MAX_NAME_CHARS)]
Topic = Annotated[str, Field(max_length=_MAX_NAME_CHARS)]
Destinations = Annotated[list[Identity], Field(max_length=1000)]
EncryptionKeyText = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra={"writeOnly": True})]
KeyIndex = Annotated[int, Field(ge=0, lt=RING_SIZE)]
Quality = Literal["low", "medium", "high"]
Source = Literal["camera", "microphone", "screen_share", "screen_share_audio"]


class Body(BaseModel):
    """Base of all request bodies: unknown fields and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [values]})


class RuleBody(Body):
    """One rule; all that is given must match.

    `participant`, `sid`, `name`, `metadata`, `attributes` are glob patterns.
    """

    action: Literal["subscribe", "ignore"] = "subscribe"
    participant: Pattern = "*"
    kind: Literal["audio", "video"] | None = None
    source: Source | None = None
    sid: Pattern = "*"
    name: Pattern = "*"
    metadata: Pattern = "*"
    attributes: dict[Pattern, Pattern] = Field(default_factory=dict, max_length=20)
    max_tracks: Annotated[int, Field(ge=0, le=10_000)] | None = None
    quality: Quality = "high"

    def rule(self) -> SubscriptionRule:
        """The rule that this describes."""
        return SubscriptionRule(
            action=SubscribeAction(self.action),
            participant=self.participant,
            kind=TrackKind(self.kind) if self.kind else None,
            source=TrackSource(self.source) if self.source else None,
            sid=self.sid,
            name=self.name,
            metadata=self.metadata,
            attributes=tuple(sorted(self.attributes.items())),
            max_tracks=self.max_tracks,
            quality=VideoQuality[self.quality.upper()],
        )


Fps = Annotated[int, Field(gt=0, le=240)]


class RecordRuleBody(RuleBody):
    """One rule of what is recorded. `max_fps`: frames a second to ask for of its videos at most; null: all."""

    max_fps: Fps | None = None

    def rule(self) -> SubscriptionRule:
        """The rule that this describes."""
        return replace(super().rule(), max_fps=self.max_fps)


class PolicyBody(Body):
    """Which tracks to subscribe to: the first rule that matches decides, else `default`."""

    model_config = _example(rules=[{"kind": "audio"}, {"source": "screen_share"}], default="ignore", max_tracks=20)

    rules: Sequence[RuleBody] = Field(default_factory=list, max_length=_MAX_RULES)
    default: Literal["subscribe", "ignore"] = "subscribe"
    max_tracks: Annotated[int, Field(ge=0, le=10_000)] | None = None

    def policy(self) -> SubscriptionPolicy:
        """The policy that this describes."""
        rules = tuple(rule.rule() for rule in self.rules)
        return SubscriptionPolicy(rules, SubscribeAction(self.default), self.max_tracks)


class RecordPolicyBody(PolicyBody):
    """Which tracks to record: the first rule that matches decides, else `default`."""

    model_config = _example(rules=[{"kind": "audio"}, {"source": "camera", "max_fps": 10}], default="ignore")

    rules: Sequence[RecordRuleBody] = Field(default_factory=list, max_length=_MAX_RULES)


Seconds = Annotated[float, Field(gt=0, le=30 * 86_400)]


class StopBody(Body):
    """When a recording ends by itself; null: not for that. Times are seconds, `size_bytes` is of its media.

    `empty_s`: nobody else was in the room for so long. `silent_s`: nobody recorded was heard. `muted_s`: all that is
    recorded was muted. `no_media_s`: not one packet came. `duration_s`: so much was recorded, pauses left out.
    """

    empty_s: Seconds | None = None
    silent_s: Seconds | None = None
    muted_s: Seconds | None = None
    no_media_s: Seconds | None = None
    duration_s: Seconds | None = None
    size_bytes: Annotated[int, Field(gt=0)] | None = None


class LayersBody(Body):
    """Which simulcast layers are recorded: up to `quality`, within `budget_bps` over all videos (null: no budget).

    A budget is spent on screen shares first, then on participants whose identities `focus` matches (glob
    patterns), then on the others; each video is recorded, if need be in its lowest layer. `max_fps`: frames a second
    to ask for of each video at most (null: all); the server leaves temporal layers out, so there are few rates.
    """

    quality: Quality = "high"
    budget_bps: Annotated[int, Field(gt=0, le=10_000_000_000)] | None = None
    focus: list[Pattern] = Field(default_factory=list, max_length=_MAX_RULES)
    max_fps: Fps | None = None


class PlanBody(Body):
    """When recordings begin and end, and in which layers.

    `when`: with the room ("now"), with the first track that is to be recorded ("published"), or as the
    room's metadata say ("metadata"). `leave_when_stopped`: leave the room when its recording has ended by itself.
    `decoded`: decode and encode again, for codecs that cannot be recorded as they are; counts for later recordings.
    """

    model_config = _example(when="published", stop={"empty_s": 30, "duration_s": 7200}, layers={"quality": "medium"})

    when: Literal["now", "published", "metadata"] = "now"
    stop: StopBody = Field(default_factory=StopBody)
    layers: LayersBody = Field(default_factory=LayersBody)
    leave_when_stopped: bool = False
    decoded: bool = False

    def plan(self) -> RecordingPlan:
        """The plan that this describes."""
        layers = self.layers
        return RecordingPlan(
            when=RecordWhen(self.when),
            stop=StopConditions(**self.stop.model_dump()),
            leave_when_stopped=self.leave_when_stopped,
            decoded=self.decoded,
            layers=LayerPolicy(
                VideoQuality[layers.quality.upper()], layers.budget_bps, tuple(layers.focus), layers.max_fps
            ),
        )


class StartRoomBody(Body):
    """A room to join. `publish` is "pattern" or a file below the service's sources folder."""

    model_config = _example(room="standup", record=True)

    room: RoomName
    identity: Identity = "roomhand"
    name: Annotated[str, Field(max_length=_MAX_NAME_CHARS)] = ""
    metadata: Annotated[str, Field(max_length=MAX_METADATA_CHARS)] = ""
    attributes: dict[Pattern, Annotated[str, Field(max_length=8192)]] = Field(default_factory=dict, max_length=64)
    hidden: bool = False
    publish: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    record: bool = False
    recording_id: RecordingId | None = Field(None, description="record, and go on with this recording if it exists")
    policy: PolicyBody | None = Field(None, description="which tracks to subscribe to; none without it")
    record_policy: RecordPolicyBody | None = Field(None, description="which tracks to record; all without it")
    recording_plan: PlanBody | None = Field(None, description="when recordings begin and end, and in which layers")
    mux: bool = Field(default=False, description="each participant's audio and video in one file of the recording too")
    e2ee_key: EncryptionKeyText | None = Field(
        None, description="key for end-to-end encryption: a passphrase, or base64: and a raw key"
    )
    e2ee_participant_keys: dict[Identity, EncryptionKeyText] = Field(
        default_factory=dict, max_length=1000, description="keys of single participants, by identity"
    )

    @model_validator(mode="after")
    def _check_record(self) -> Self:
        if self._begins_by_itself and "record" in self.model_fields_set and not self.record:
            raise ValueError("record is false, but recording_plan.when has a recording begin; leave one of them out")
        return self

    @property
    def _begins_by_itself(self) -> bool:
        return self.recording_plan is not None and RecordWhen(self.recording_plan.when).begins_by_itself

    @property
    def records(self) -> bool:
        """Whether a recording is asked for: now, by its plan, or one that goes on."""
        return self.record or self._begins_by_itself or self.recording_id is not None

    def options(self, publish: str | None) -> RoomOptions:
        """The options that this describes; `publish` is the source, resolved."""
        return RoomOptions(
            room=self.room,
            identity=self.identity,
            name=self.name,
            metadata=self.metadata,
            attributes=dict(self.attributes),
            hidden=self.hidden,
            publish=publish,
            recording_id=self.recording_id,
            policy=self.policy.policy() if self.policy else None,
            record_policy=self.record_policy.policy() if self.record_policy else None,
            recording_plan=self.recording_plan.plan() if self.recording_plan else None,
            mux=self.mux,
            e2ee_key=self.e2ee_key,
            e2ee_participant_keys=dict(self.e2ee_participant_keys),
        )


class SubscriptionBody(Body):
    """Subscribe to one track, or not; null leaves it to the policy again."""

    model_config = _example(subscribed=False)

    subscribed: bool | None


class LayerBody(Body):
    """The simulcast layer to ask for; null leaves it to the controller again."""

    model_config = _example(quality="low", target="tap")

    quality: Quality | None
    target: Literal["subscription", "tap"] = "subscription"


class PublishBody(Body):
    """What to publish: "pattern", or a file below the service's sources folder."""

    model_config = _example(source="pattern", name="test-picture", max_bitrate_bps=1_000_000)

    source: Annotated[str, Field(min_length=1, max_length=1024)]
    name: Annotated[str, Field(max_length=200)] = ""
    track_source: Source = "camera"
    simulcast: bool = True
    adaptive: bool = True
    """Send fewer frames or a smaller picture when CPU or bandwidth lack."""
    pre_encoded: bool = False
    """Publish a file's H.264 or VP8 video as it is encoded."""
    video_codec: Literal["vp8", "h264", "vp9", "av1"] = "vp8"
    max_bitrate_bps: Annotated[int, Field(ge=30_000, le=50_000_000)] | None = None
    max_fps: Annotated[float, Field(ge=1, le=120)] | None = None
    audio_bitrate_bps: Annotated[int, Field(ge=6_000, le=510_000)] | None = None
    video: bool = True
    audio: bool = True

    def options(self) -> PublishOptions:
        """The options that this describes. Raises InvalidSettings."""
        return PublishOptions(
            name=self.name,
            source=TrackSource(self.track_source),
            simulcast=self.simulcast,
            adaptive=self.adaptive,
            pre_encoded=self.pre_encoded,
            video_codec=VideoCodec(self.video_codec),
            max_bitrate_bps=self.max_bitrate_bps,
            max_fps=self.max_fps,
            audio_bitrate_bps=self.audio_bitrate_bps,
            video=self.video,
            audio=self.audio,
        )


class MuteBody(Body):
    """Mute a publication, or unmute it."""

    model_config = _example(muted=True)

    muted: bool


class DataBody(Body):
    """A data packet. `payload` is base64; no destinations means everybody.

    Payload, topic and destinations (4 bytes more each) have 63600 bytes together at most.
    """

    model_config = _example(payload="aGVsbG8=", topic="greetings")

    payload: Annotated[str, Field(max_length=4 * MAX_PACKET_BYTES // 3 + 4, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
    topic: Topic = ""
    reliable: bool = True
    destination_identities: Destinations = Field(default_factory=list)


class TextBody(Body):
    """A text stream; `lk.chat` is LiveKit's topic for chat. No destinations means everybody."""

    model_config = _example(text="Hello", topic="lk.chat")

    text: Annotated[str, Field(min_length=1, max_length=_MAX_TEXT_CHARS)]
    topic: Topic = "lk.chat"
    destination_identities: Destinations = Field(default_factory=list)


class StartRecordingBody(Body):
    """Which recording to write, a new one or one that exists, which goes on; what of the room, and how.

    `policy` and `plan` null: as before. `plan.when` counts only where the room is started. `paused`: without media yet.
    """

    model_config = _example(recording_id=None, plan={"stop": {"duration_s": 3600}})

    recording_id: RecordingId | None = None
    policy: RecordPolicyBody | None = None
    plan: PlanBody | None = None
    paused: bool = False
    e2ee_key: EncryptionKeyText | None = Field(None, description="the room's key for end-to-end encryption from now on")

    def command(self) -> StartRecording:
        """The command that this describes; an empty id is a new recording."""
        return StartRecording(
            recording_id=self.recording_id or "",
            policy=self.policy.policy() if self.policy else None,
            plan=self.plan.plan() if self.plan else None,
            paused=self.paused,
            e2ee_key=self.e2ee_key,
        )


class ChangeRecordingBody(Body):
    """What of the room is recorded, and how, from now on; null: as before. `plan.when` stays as it is."""

    model_config = _example(policy={"rules": [{"participant": "ada"}], "default": "ignore"})

    policy: RecordPolicyBody | None = None
    plan: PlanBody | None = None

    def command(self) -> ChangeRecording:
        """The command that this describes."""
        return ChangeRecording(
            policy=self.policy.policy() if self.policy else None, plan=self.plan.plan() if self.plan else None
        )


class EncryptionKeyBody(Body):
    """Another key for end-to-end encryption, of the room or of one participant, at one of 16 places (`key_index`)."""

    model_config = _example(key="correct horse battery staple", key_index=1)

    key: EncryptionKeyText
    key_index: KeyIndex = 0
    participant_identity: Identity | None = None


class ExportBody(Body):
    """What to export. Without `participant_identity` everybody, each on their own."""

    model_config = _example(recording_id="standup-20260101T120000Z-0a1b2c", format="hls")

    recording_id: RecordingId
    format: Literal["mp4", "hls"] = "mp4"
    participant_identity: Identity | None = None

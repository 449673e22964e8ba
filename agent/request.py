"""What somebody asks of a room agent."""

from dataclasses import dataclass, field
from pathlib import Path

from agent.room.data_limits import TEXT_TOPICS
from agent.room.publish_options import PublishOptions
from agent.room.recording_plan import RecordingPlan
from agent.room.subscription import SubscribeAction, SubscriptionPolicy

NOTHING = SubscriptionPolicy(default=SubscribeAction.IGNORE)
EVERYTHING = SubscriptionPolicy()
DEFAULT_IDENTITY = "roomhand"


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """How to be in a room, and what to do there from the start.

    `token` None has one minted for `identity`. A token says itself which room and who: `room` "" and the default
    `identity` leave it to it, others that differ are refused; name, metadata, attributes and `hidden` are its own too.
    `policy` says what the participant subscribes to
    (default: nothing; its media would be decoded), `record_policy` what is recorded (default: everything).
    `recording_plan` says when recordings end, in which layers they are, and with `record`, when they begin.
    `recording_stopped`: a recording of what is there at first was ended already; only a change begins another.
    `mux` has each participant's audio and video in one file of the recording as well.
    `recordings_dir` None is the setting's. `data_tracks` are glob patterns of data tracks to read, `text_topics` the
    topics of text streams that are read (LiveKit's chat and transcriptions, in place of which these are).
    `e2ee_key` is the room's key for end-to-end encryption (None: the setting's), `e2ee_participant_keys` are those of
    single participants, by identity: a passphrase, or "base64:" and a raw key.
    """

    room: str
    identity: str = DEFAULT_IDENTITY
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    hidden: bool = False
    token: str | None = field(default=None, repr=False)
    publish: str | None = None
    publish_options: PublishOptions = field(default_factory=PublishOptions)
    loop: bool = True
    record: bool = False
    recording_id: str | None = None
    recording_stopped: bool = False
    recordings_dir: Path | None = None
    policy: SubscriptionPolicy = NOTHING
    record_policy: SubscriptionPolicy = EVERYTHING
    recording_plan: RecordingPlan = field(default_factory=RecordingPlan)
    mux: bool = False
    data_tracks: tuple[str, ...] = ("*",)
    text_topics: tuple[str, ...] = TEXT_TOPICS
    e2ee_key: str | None = field(default=None, repr=False)
    e2ee_participant_keys: dict[str, str] = field(default_factory=dict, repr=False)

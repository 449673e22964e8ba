"""How a room is recorded, beside which tracks: when a recording begins and ends, and in which layers (values)."""

from dataclasses import dataclass, field, fields
from enum import StrEnum

from agent.errors import InvalidSettings
from media.record.entries import LEFT
from quality.stats import VideoQuality


class RecordWhen(StrEnum):
    """What begins a recording beside somebody who asks for it.

    NOW: joining the room does. PUBLISHED: the first track that is to be recorded; and again whenever one is
    published after there was none. METADATA: the room's metadata, as `agent.room.room_metadata` reads them.
    """

    NOW = "now"
    PUBLISHED = "published"
    METADATA = "metadata"

    @property
    def begins_by_itself(self) -> bool:
        """Whether recordings begin without anybody who asks for one."""
        return self is not RecordWhen.NOW


class EndedReason(StrEnum):
    """What ended a recording: as journal, manifest, status and events tell it."""

    REQUESTED = "requested"
    LEFT = LEFT
    METADATA = "metadata"
    EMPTY = "empty"
    SILENT = "silent"
    MUTED = "muted"
    NO_MEDIA = "no_media"
    DURATION = "duration"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class StopConditions:
    """When a recording ends by itself; None: not for that.

    `empty_s`: nobody else was in the room for so long. `silent_s`: nobody who is recorded was heard.
    `muted_s`: every track that is recorded was muted. `no_media_s`: not one packet came. `duration_s`: so much was
    recorded, pauses left out. `size_bytes`: its media are that large. Raises InvalidSettings for what is not positive.
    """

    empty_s: float | None = None
    silent_s: float | None = None
    muted_s: float | None = None
    no_media_s: float | None = None
    duration_s: float | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and not value > 0:
                raise InvalidSettings(f"a recording cannot end at {item.name} {value}; give a value above 0, or none")


@dataclass(frozen=True, slots=True)
class LayerPolicy:
    """Which simulcast layers are recorded: the best up to `quality`, within `budget_bps` over all videos.

    Without a budget (None) each video is recorded in `quality`. With one, screen shares come first, then the
    participants whose identities `focus` matches (glob patterns), then the others. Every video is recorded, if need be
    in its lowest layer, so a budget too small for that is exceeded. `max_fps`: the frames a second asked for of each
    video at most, as far as it has temporal layers (`Tap.set_max_fps`); None for all. Raises InvalidSettings for a
    budget or a frame rate that is not positive.
    """

    quality: VideoQuality = VideoQuality.HIGH
    budget_bps: int | None = None
    focus: tuple[str, ...] = ()
    max_fps: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.budget_bps is not None and self.budget_bps <= 0:
            raise InvalidSettings(f"a layer budget of {self.budget_bps} bit/s holds nothing; give more, or none")
        if self.max_fps is not None and self.max_fps <= 0:
            raise InvalidSettings(f"{self.max_fps} frames a second are no video; give more, or none")


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """When a room's recordings begin and end, and in which layers.

    `leave_when_stopped`: leave the room when its recording has ended by itself. `decoded`: have the participant's own
    subscriptions decode the media, and encode them again as H.264 and Opus: for codecs that cannot be recorded as
    they are, at many times the cost. Layers are then the participant's; it counts for recordings that begin later.
    """

    when: RecordWhen = RecordWhen.NOW
    stop: StopConditions = field(default_factory=StopConditions)
    leave_when_stopped: bool = False
    layers: LayerPolicy = field(default_factory=LayerPolicy)
    decoded: bool = False

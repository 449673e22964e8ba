"""What the event loop hands to a recording's writer thread."""

from dataclasses import dataclass

from media.frames import EncodedFrame
from media.record.entries import GapReason, TrackOpened
from media.rtp.clock_mapping import RtpClockMapping


@dataclass(frozen=True, slots=True)
class OpenTrack:
    """A track begins, or begins again."""

    opened: TrackOpened
    now: float


@dataclass(frozen=True, slots=True)
class WriteFrame:
    """A frame of a track."""

    track: int
    frame: EncodedFrame


@dataclass(frozen=True, slots=True)
class LoseFrames:
    """Frames of a track had no room in the queue. `ask`: for a sync sample to go on with."""

    track: int
    frames: int
    ask: bool


@dataclass(frozen=True, slots=True)
class MapClock:
    """An estimate of a track's clock."""

    track: int
    estimate: RtpClockMapping
    now: float


@dataclass(frozen=True, slots=True)
class CloseTrack:
    """A track ends. `reason`: of the gap, should it come again."""

    track: int
    now: float
    reason: GapReason


@dataclass(frozen=True, slots=True)
class NoteInterruption:
    """From now on a track's frames may fail to come for `reason`; None: no longer."""

    track: int
    reason: GapReason | None


@dataclass(frozen=True, slots=True)
class AppendEvent:
    """A line for one of the event logs."""

    name: str
    line: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""

    now: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Write no frames from here on."""

    now: float


@dataclass(frozen=True, slots=True)
class Unpause:
    """Write frames again."""

    now: float


@dataclass(frozen=True, slots=True)
class Close:
    """The recording ends; `reason` says why, in a word."""

    now: float
    reason: str = ""


Item = (
    OpenTrack
    | WriteFrame
    | LoseFrames
    | MapClock
    | NoteInterruption
    | CloseTrack
    | AppendEvent
    | Tick
    | Pause
    | Unpause
    | Close
)

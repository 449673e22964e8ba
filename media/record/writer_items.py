"""What the event loop hands to a recording's writer thread."""

from dataclasses import dataclass

from media.frames import EncodedFrame
from media.record.entries import TrackOpened
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
    """A track ends."""

    track: int
    now: float


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
class Close:
    """The recording ends."""

    now: float


Item = OpenTrack | WriteFrame | LoseFrames | MapClock | CloseTrack | AppendEvent | Tick | Close

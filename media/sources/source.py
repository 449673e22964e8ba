"""What can be published: decoded pictures and sound, pulled one at a time on one shared timeline."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

AUDIO_CHUNK_S = 0.02  # Opus' usual packet, so that one chunk is one packet


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """Pixels and frames per second of a video; both sides are even (I420)."""

    width: int
    height: int
    fps: float


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Samples per second and channels of interleaved signed 16-bit PCM."""

    sample_rate: int = 48_000
    channels: int = 1


@dataclass(frozen=True, slots=True)
class DecodedVideoFrame:
    """One picture as I420: the Y plane, then U and V at half size, rows without padding."""

    width: int
    height: int
    data: bytes
    pts_s: float


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """Interleaved native-endian signed 16-bit samples; `samples` counts per channel."""

    sample_rate: int
    channels: int
    samples: int
    data: bytes
    pts_s: float


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded picture (H.264: Annex B), in the order of decoding, which is that of showing.

    `droppable`: no other picture refers to it.
    """

    width: int
    height: int
    data: bytes
    pts_s: float
    key: bool
    droppable: bool = False


@runtime_checkable
class Source(Protocol):
    """Pictures and sound with times that start near 0 and share one timeline.

    Reading blocks (it may decode, or wait) and is meant for a thread; video and audio may be read from two
    threads at once. `close` may be called while another thread reads: that read then returns None.
    """

    @property
    def video(self) -> VideoFormat | None:
        """None where the source has no picture."""

    @property
    def audio(self) -> AudioFormat | None:
        """None where the source has no sound."""

    def read_video(self) -> DecodedVideoFrame | None:
        """The next picture; None at the end. Raises SourceUnreadable where decoding fails for good."""

    def leave_out_video(self, before_s: float) -> None:
        """Pictures before `before_s` come too late: leave out those that need not be decoded. Blocks as a read does."""

    def read_audio(self) -> DecodedAudio | None:
        """The next chunk of sound; None at the end. Raises SourceUnreadable."""

    def close(self) -> None:
        """Release what the source holds; idempotent."""


@runtime_checkable
class PreEncodedSource(Source, Protocol):
    """A source whose video is encoded already: `read_video` gives nothing, `read_access_unit` does."""

    @property
    def codec(self) -> str:
        """`h264` or `vp8`."""

    @property
    def bitrate_bps(self) -> float:
        """Bits per second of the video, over all of it; 0 where that is not known."""

    def read_access_unit(self) -> AccessUnit | None:
        """The next picture; None at the end. Raises SourceUnreadable."""

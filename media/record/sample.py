"""What passes between the segmenter and the file formats, and what a scan of a file tells."""

import mmap
from dataclasses import dataclass

from media.frames import Codec

FileBytes = bytes | mmap.mmap
"""The bytes of a file, in memory or where they lie; slices are `bytes`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One access unit with its place in the track: ticks of the track's timescale."""

    data: bytes
    decode_time: int
    duration: int
    sync_sample: bool

    @property
    def end_decode_time(self) -> int:
        """Where the sample ends."""
        return self.decode_time + self.duration


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """What an init segment says. Two equal ones need no new init segment.

    `codec_private` is the payload of the container's configuration box: `avcC`, `hvcC`, `vpcC`, `av1C`, or `dOps` for
    Opus (Opus in ISOBMFF §4.3.2); empty for VP8. `codec_string` is the RFC 6381 `codecs` parameter.
    `width` and `height` are of the coded picture, 0 for audio; `channels` is 0 for video.
    """

    codec: Codec
    codec_string: str
    width: int = 0
    height: int = 0
    channels: int = 0
    codec_private: bytes = b""


@dataclass(frozen=True, slots=True)
class MovieTrack:
    """A track as a file's header tells of it: its number in the file (from 1) and its ticks per second."""

    track_id: int
    config: CodecConfig
    timescale: int


@dataclass(frozen=True, slots=True)
class ScannedSample:
    """A sample found in a file: ticks of the timescale of the scan, its size, and which track of the file it is of."""

    decode_time: int
    duration: int
    size_bytes: int
    sync_sample: bool
    track_id: int = 1


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What of a segment file is whole. Bytes from `complete_bytes` on are torn.

    `parts` counts fragments or clusters; `note` is the text that the writer left for repairs, if any.
    A file format that stores no durations (WebM) gets each sample's from the next one's start.
    """

    complete_bytes: int
    parts: int
    samples: tuple[ScannedSample, ...]
    note: bytes

    @property
    def sync_samples(self) -> int:
        """How many samples a decoder can start at."""
        return sum(sample.sync_sample for sample in self.samples)

"""One face for the two file formats: samples in ticks of the track to bytes, and files back to samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from media.frames import Codec
from media.record import fmp4, fmp4_scan, webm, webm_scan
from media.record.entries import Container
from media.record.sample import CodecConfig, Sample, ScannedSample, SegmentScan

_PART_BITS = 12
"""Parts of a segment are numbered in the low bits of `mfhd`'s sequence number; it only has to grow."""


class Muxer(Protocol):
    """What a track writer needs of a file format. All times are ticks of the track's timescale."""

    @property
    def container(self) -> Container:
        """Which format it is."""

    @property
    def min_step(self) -> int:
        """The least distance of two samples that the format can tell apart."""

    def init_segment(self, config: CodecConfig, note: bytes) -> bytes:
        """An init segment with a note for repairs."""

    def segment_head(self, note: bytes) -> bytes:
        """What a media segment begins with."""

    def media_part(self, sequence: int, part: int, samples: Sequence[Sample]) -> bytes:
        """Part `part` (from 0) of segment `sequence`, complete in itself."""

    def scan(self, data: bytes) -> SegmentScan:
        """What of a segment's bytes is whole."""

    def first_sample(self, data: bytes) -> bytes | None:
        """The first whole sample of a segment; None when there is none."""


@dataclass(frozen=True, slots=True)
class Fmp4Muxer:
    """fMP4: times are exact."""

    codec: Codec
    timescale: int

    container = Container.FMP4
    min_step = 1

    def init_segment(self, config: CodecConfig, note: bytes) -> bytes:
        """`ftyp`, `moov` and the note."""
        return fmp4.init_segment(config, self.timescale, note)

    def segment_head(self, note: bytes) -> bytes:
        """`styp` and the note."""
        return fmp4.segment_head(note)

    def media_part(self, sequence: int, part: int, samples: Sequence[Sample]) -> bytes:
        """One `moof` and `mdat`."""
        return fmp4.media_part(self.codec, (sequence << _PART_BITS) + part, samples)

    def scan(self, data: bytes) -> SegmentScan:
        """As `fmp4_scan.scan_segment`."""
        return fmp4_scan.scan_segment(data)

    def first_sample(self, data: bytes) -> bytes | None:
        """As `fmp4_scan.first_sample`."""
        return fmp4_scan.first_sample(data)


@dataclass(frozen=True, slots=True)
class WebmMuxer:
    """WebM: times are rounded to milliseconds, durations are not kept."""

    timescale: int

    container = Container.WEBM

    @property
    def min_step(self) -> int:
        """One millisecond."""
        return self.timescale // webm.TIMESTAMP_HZ

    def init_segment(self, config: CodecConfig, note: bytes) -> bytes:
        """EBML header, open `Segment`, the note, `Info` and `Tracks`."""
        return webm.init_segment(config, note)

    def segment_head(self, note: bytes) -> bytes:
        """The note."""
        return webm.segment_head(note)

    def media_part(self, sequence: int, part: int, samples: Sequence[Sample]) -> bytes:
        """One cluster."""
        return webm.media_part(samples, self.timescale)

    def scan(self, data: bytes) -> SegmentScan:
        """As `webm_scan.scan_segment`, with milliseconds turned into ticks."""
        scan = webm_scan.scan_segment(data)
        samples = tuple(
            ScannedSample(self._ticks(s.decode_time), self._ticks(s.duration), s.size_bytes, s.sync_sample)
            for s in scan.samples
        )
        return SegmentScan(scan.complete_bytes, scan.parts, samples, scan.note)

    def first_sample(self, data: bytes) -> bytes | None:
        """As `webm_scan.first_sample`."""
        return webm_scan.first_sample(data)

    def _ticks(self, milliseconds: int) -> int:
        return milliseconds * self.timescale // webm.TIMESTAMP_HZ


def muxer_for(codec: Codec, container: Container) -> Muxer:
    """The muxer of `container` for a track of `codec`."""
    if container is Container.FMP4:
        return Fmp4Muxer(codec, codec.clock_rate)
    return WebmMuxer(codec.clock_rate)

"""A file of several tracks that is complete after each fragment: fMP4, or WebM for VP8 (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from media.frames import Codec
from media.record import fmp4, fmp4_scan, webm, webm_scan
from media.record.entries import Container
from media.record.sample import CodecConfig, FileBytes, MovieTrack, Sample, ScannedSample, SegmentScan


def movie_container(configs: Sequence[CodecConfig]) -> Container:
    """The format that can hold these streams together. VP8 in MP4 is defined, but no browser plays it."""
    vp8 = any(config.codec is Codec.VP8 for config in configs)
    return Container.WEBM if vp8 else Container.FMP4


@dataclass(frozen=True, slots=True)
class Movie:
    """The bytes of one such file, piece by piece."""

    container: Container
    tracks: tuple[MovieTrack, ...]

    def head(self, note: bytes) -> bytes:
        """What the file begins with; the note is for repairs."""
        if self.container is Container.FMP4:
            return fmp4.movie_header(self.tracks, note)
        return webm.movie_header(self.tracks, note)

    def fragment(self, number: int, track: MovieTrack, samples: Sequence[Sample]) -> bytes:
        """Fragment `number` (from 1) with samples of one track. They follow each other without a hole."""
        if self.container is Container.FMP4:
            return fmp4.media_part(track.config.codec, number, samples, track.track_id)
        return webm.media_part(samples, track.timescale, track.track_id)


def scan_movie(container: Container, data: FileBytes) -> SegmentScan:
    """What of a file's bytes is whole. Times are ticks of each track's timescale; milliseconds for WebM."""
    return fmp4_scan.scan_segment(data) if container is Container.FMP4 else webm_scan.scan_segment(data)


def end_s(container: Container, samples: Sequence[ScannedSample], timescales: dict[int, int]) -> float:
    """Where the last of a scan's samples ends, in seconds from the file's zero. `timescales` by track id."""
    webm_hz = webm.TIMESTAMP_HZ if container is Container.WEBM else 0
    ends = ((s.decode_time + s.duration) / (webm_hz or timescales.get(s.track_id, 1_000)) for s in samples)
    return max(ends, default=0.0)

"""What all tracks of a recording share while it is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from media.record.entries import RecordingStarted, SegmentEntry
from media.record.ledger import Ledger
from media.record.sample import CodecConfig, Sample
from media.record.segmenter import SegmenterConfig


def _nobody(track: int, config: CodecConfig, samples: tuple[Sample, ...], media_time_s: float) -> None:
    """Samples are for the segments only."""


@dataclass(frozen=True, slots=True)
class RecordingContext:
    """What all tracks of a recording share."""

    path: Path
    started: RecordingStarted
    ledger: Ledger
    segmenter_config: SegmenterConfig
    fsync_parts: bool
    on_segment: Callable[[SegmentEntry], None]
    on_part: Callable[[int, int, int, int], None]
    """Track number, sequence, parts and samples of the open segment, after each part."""
    on_keyframe_request: Callable[[int], None]
    """The number of the track whose sender to ask for a sync sample."""
    on_samples: Callable[[int, CodecConfig, tuple[Sample, ...], float], None] = _nobody
    """Track number, configuration, samples of a part that is written, and media time of its first. Must not raise.

    Without samples it says that a segment of that configuration begins.
    """

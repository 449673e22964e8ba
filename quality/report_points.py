"""Points of a timeline, of which there are never too many."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from quality.samples import TrackSample
from quality.score import ConnectionQuality, connection_quality, mean_opinion_score

MAX_POINTS = 600  # as many as a plot shows on a wide screen; of a recording of 20 minutes each sample is one

P = TypeVar("P")


class Points(Generic[P]):
    """Keeps between `MAX_POINTS` and twice as many: past that each two neighbours become one, by `merge`."""

    def __init__(self, merge: Callable[[P, P], P]) -> None:
        self._merge = merge
        self._points: list[P] = []
        self._waiting: list[P] = []
        self._each = 1

    def add(self, sample: P) -> None:
        """Take in the next sample."""
        self._waiting.append(sample)
        if len(self._waiting) < self._each:
            return
        self._points.append(self._taken())
        if len(self._points) >= 2 * MAX_POINTS:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [self._merge(one, other) for one, other in pairs]
            self._each *= 2

    @property
    def all(self) -> list[P]:
        """The points so far, the last of which may be of fewer samples."""
        return [*self._points, *([self._merged(self._waiting)] if self._waiting else [])]

    def _taken(self) -> P:
        waiting, self._waiting = self._waiting, []
        return self._merged(waiting)

    def _merged(self, samples: list[P]) -> P:
        point = samples[0]
        for sample in samples[1:]:
            point = self._merge(point, sample)
        return point


_COUNTS = (
    "packets",
    "packets_lost",
    "packets_repaired",
    "freeze_count",
    "freeze_s",
    "nack_count",
    "pli_count",
    "key_frames",
)
_MEANS = ("score", "bitrate_bps", "fps", "jitter_s", "jitter_buffer_delay_s", "concealed_ratio", "target_bitrate_bps")
_MEANS_IF_KNOWN = (
    "model_mos",
    "round_trip_time_s",
    "available_bandwidth_bps",
    "audio_level",
    "level_dbfs",
    "silent_ratio",
    "clipped_ratio",
    "black_ratio",
    "still_ratio",
)


def merged_samples(one: TrackSample, other: TrackSample) -> TrackSample:
    """One sample over two of a track that follow each other: counts add up, means are over the time, states the later.

    Reasons are those of the worse.
    """
    duration_s = one.duration_s + other.duration_s
    share = one.duration_s / duration_s if duration_s > 0 else 0.5
    score = share * one.score + (1 - share) * other.score
    # Any: these are fields of several types, which a checker cannot tell apart by name.
    means: dict[str, Any] = {name: _mean(getattr(one, name), getattr(other, name), share) for name in _MEANS_IF_KNOWN}
    worse = one if one.score_min <= other.score_min else other
    return replace(
        other,
        duration_s=duration_s,
        score_min=worse.score_min,
        reasons=worse.reasons,
        model_reasons=worse.model_reasons,
        patterns=tuple(dict.fromkeys((*one.patterns, *other.patterns))),
        layer_distance=max(one.layer_distance, other.layer_distance),
        **{name: getattr(one, name) + getattr(other, name) for name in _COUNTS},
        **{name: share * getattr(one, name) + (1 - share) * getattr(other, name) for name in _MEANS},
        **means,
        mos=mean_opinion_score(score),
        quality=connection_quality(score),
    )


def _mean(one: float | None, other: float | None, share: float) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return share * one + (1 - share) * other


@dataclass(frozen=True, slots=True)
class TrackPoint:
    """A track over the `duration_s` up to `at_s` of the recording; figures as in `quality.samples.TrackSample`."""

    at_s: float
    duration_s: float
    score: float
    score_min: float
    quality: ConnectionQuality
    model_mos: float | None
    reasons: tuple[str, ...]
    loss_ratio: float
    bitrate_bps: float
    fps: float
    frame_width: int
    frame_height: int
    requested_quality: str | None
    layer_distance: int
    jitter_s: float
    round_trip_time_s: float | None
    available_bandwidth_bps: float | None
    freeze_s: float
    muted: bool
    stream_paused: bool
    level_dbfs: float | None

    @classmethod
    def of(cls, sample: TrackSample, started_at: float) -> "TrackPoint":
        """The point of a sample; `started_at` is the zero of the recording's time."""
        return cls(
            at_s=sample.at - started_at,
            duration_s=sample.duration_s,
            score=sample.score,
            score_min=sample.score_min,
            quality=sample.quality,
            model_mos=sample.model_mos,
            reasons=(*sample.reasons, *sample.model_reasons),
            loss_ratio=sample.loss_ratio,
            bitrate_bps=sample.bitrate_bps,
            fps=sample.fps,
            frame_width=sample.frame_width,
            frame_height=sample.frame_height,
            requested_quality=sample.requested_quality,
            layer_distance=sample.layer_distance,
            jitter_s=sample.jitter_s,
            round_trip_time_s=sample.round_trip_time_s,
            available_bandwidth_bps=sample.available_bandwidth_bps,
            freeze_s=sample.freeze_s,
            muted=sample.muted,
            stream_paused=sample.stream_paused,
            level_dbfs=sample.level_dbfs,
        )

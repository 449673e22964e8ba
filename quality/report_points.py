"""Points of a timeline, of which there are never too many."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import log10
from statistics import fmean
from typing import Any, Generic, Protocol, TypeVar

from quality.content import DIGITAL_SILENCE_DBFS
from quality.samples import TrackSample
from quality.score import ConnectionQuality, connection_quality, mean_opinion_score

MAX_POINTS = 600  # as many as a plot shows on a wide screen; of a recording of 20 minutes each sample is one
MAX_POINTS_IN_ALL = 60_000  # some 30 MB of JSON
ENOUGH = 0.75  # of them, or fewer, are left when there are too many, so that they need not be counted again at once
PAIRS_AT_ONCE = 2  # with each sample: twice as fast as samples fill again what is halved
MAX_WAITING = 64  # samples of the next point; of weeks among many tracks it may stand for thousands

P = TypeVar("P")


class Points(Generic[P]):
    """Keeps between `MAX_POINTS` and twice as many: past that each two neighbours become one, by `merge`.

    That is put off and done a few at a time, by `add` and `tidy`, as who adds may be an event loop: all at once they
    hold it up for some 35 ms, and timelines that began together would do so together. `len` counts as if it were done.
    """

    def __init__(self, merge: Callable[[Sequence[P]], P]) -> None:
        """`merge` makes one of one or more that follow each other."""
        self._merge = merge
        self._points: list[P] = []
        self._pairs_at, self._pairs_end = 0, 0  # of these points each two are to become one
        self._waiting: list[P] = []
        self._waiting_samples = 0
        self._each = 1

    def __len__(self) -> int:
        """How many points there are; the last may be of fewer samples."""
        return len(self._points) - (self._pairs_end - self._pairs_at) // 2 + bool(self._waiting)

    def thin(self, each: int) -> None:
        """Have a point stand for `each` samples at least, which is a power of two."""
        while self._each < each:
            self._halve()

    def tidy(self, pairs: int) -> bool:
        """Put together up to `pairs` pairs of what is to be halved; whether there are more."""
        for _ in range(pairs):
            if self._pairs_at >= self._pairs_end:
                return False
            pair = self._points[self._pairs_at : min(self._pairs_at + 2, self._pairs_end)]
            self._points[self._pairs_at : self._pairs_at + len(pair)] = [self._merge(pair)]
            self._pairs_at, self._pairs_end = self._pairs_at + 1, self._pairs_end - len(pair) + 1
        return self._pairs_at < self._pairs_end

    def copy(self) -> "Points[P]":
        """The same, which does not change any more."""
        copied = Points(self._merge)
        copied._points, copied._waiting = list(self._points), list(self._waiting)
        copied._pairs_at, copied._pairs_end = self._pairs_at, self._pairs_end
        copied._each, copied._waiting_samples = self._each, self._waiting_samples
        return copied

    def add(self, sample: P) -> None:
        """Take in the next sample."""
        self.tidy(PAIRS_AT_ONCE)
        self._waiting.append(sample)
        self._waiting_samples += 1
        if self._waiting_samples >= self._each:
            self._points.append(self._merge(self._waiting))
            self._waiting, self._waiting_samples = [], 0
        elif len(self._waiting) >= MAX_WAITING:
            self._waiting = [self._merge(self._waiting)]
        if len(self) >= 2 * MAX_POINTS:
            self._halve()

    @property
    def all(self) -> list[P]:
        """The points so far, the last of which may be of fewer samples."""
        paired = _in_pairs(self._points[self._pairs_at : self._pairs_end], self._merge)
        waiting = [self._merge(self._waiting)] if self._waiting else []
        return [*self._points[: self._pairs_at], *paired, *self._points[self._pairs_end :], *waiting]

    def _halve(self) -> None:
        while self.tidy(MAX_POINTS):
            pass  # what was put off since the last time, mostly nothing
        self._pairs_at, self._pairs_end = 0, len(self._points)
        self._each *= 2


def _in_pairs(points: Sequence[P], merge: Callable[[Sequence[P]], P]) -> list[P]:
    return [merge(points[at : at + 2]) for at in range(0, len(points), 2)]


class HasPoints(Protocol):
    """A timeline."""

    points: Points[Any]


class Thinning:
    """Has many timelines keep no more than `most` points together; of very many each may have three.

    Past that a point stands for twice as many samples in all of them, so that who is there for long has more points
    than who came and went. Points are counted only when there may be too many, and a few put together with each sample,
    also of timelines that get no more: the work is spread over the samples.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._each = 1
        self._uncounted = most
        self._untidy: list[HasPoints] = []

    def begin(self, line: HasPoints) -> None:
        """A timeline joins the others."""
        line.points.thin(self._each)

    def added(self, lines: Collection[HasPoints]) -> None:
        """One of `lines`, which are all that there are, took in a sample."""
        if self._untidy and not self._untidy[-1].points.tidy(PAIRS_AT_ONCE):
            self._untidy.pop()
        self._uncounted -= 1
        if self._uncounted > 0:
            return
        # However few samples a timeline has, it may have a point and one that waits.
        enough = max(self._most * ENOUGH, 2 * len(lines))
        while (count := sum(len(line.points) for line in lines)) > enough:
            self._each *= 2
            for line in lines:
                line.points.thin(self._each)
            self._untidy = list(lines)
        self._uncounted = max(self._most - count, len(lines))


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
_NOTHING = (0.0,) * len(_MEANS_IF_KNOWN)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples of a track as one. `known_s`: for how many of its seconds each figure that may be None was known.

    `live_s`: in how many it was not muted; where there are any, means are of them.
    """

    sample: TrackSample
    known_s: tuple[float, ...]
    live_s: float

    @classmethod
    def of(cls, sample: TrackSample) -> "Stretch":
        """The stretch of one sample."""
        unknown = (getattr(sample, name) is None for name in _MEANS_IF_KNOWN)
        known_s = tuple(0.0 if none else sample.duration_s for none in unknown)
        return cls(sample, known_s, 0.0 if sample.muted else sample.duration_s)


def merged(parts: Sequence[Stretch]) -> Stretch:
    """One stretch over one or more of a track that follow each other: counts add up, states are those at the end.

    It is muted, or withheld, where it was all the time. Means are over the time in which it was not muted, if there is
    any, those of figures that may be None over the time in which they were known; a level's is that of its energy.
    Reasons are those of the worst.
    """
    if len(parts) == 1:
        return parts[0]
    samples = [part.sample for part in parts]
    muted = all(sample.muted for sample in samples)
    weights = [part.sample.duration_s if muted else part.live_s for part in parts]
    # Any: these are fields of several types, which a checker cannot tell apart by name.
    means: dict[str, Any] = {name: _mean([getattr(each, name) for each in samples], weights) for name in _MEANS}
    known_s = tuple(zip(*(part.known_s if muted or not part.sample.muted else _NOTHING for part in parts), strict=True))
    for name, seconds in zip(_MEANS_IF_KNOWN, known_s, strict=True):
        means[name] = _mean([getattr(each, name) for each in samples], seconds)
    # Of the energy, as a meter has it: pauses of digital silence (-127) make speech no whisper.
    energies = [None if each.level_dbfs is None else _energy(each.level_dbfs) for each in samples]
    energy = _mean(energies, known_s[_MEANS_IF_KNOWN.index("level_dbfs")])
    means["level_dbfs"] = None if energy is None else 10 * log10(energy)
    worst = min(samples, key=lambda sample: sample.score_min)
    sample = replace(
        samples[-1],
        duration_s=sum(sample.duration_s for sample in samples),
        muted=muted,
        stream_paused=all(sample.stream_paused for sample in samples),
        score_min=worst.score_min,
        reasons=worst.reasons,
        model_reasons=worst.model_reasons,
        patterns=tuple(dict.fromkeys(name for each in samples for name in each.patterns)),
        layer_distance=max(each.layer_distance for each in samples),
        **{name: sum(getattr(each, name) for each in samples) for name in _COUNTS},
        **means,
        mos=mean_opinion_score(means["score"]),
        quality=connection_quality(means["score"]),
    )
    return Stretch(sample, tuple(sum(seconds) for seconds in known_s), sum(part.live_s for part in parts))


def _energy(level_dbfs: float) -> float:
    # Whatever a file says: none is 0, whose level there is none of.
    return float(10 ** (min(max(level_dbfs, DIGITAL_SILENCE_DBFS), -DIGITAL_SILENCE_DBFS) / 10))


def _mean(values: Sequence[float | None], seconds: Sequence[float]) -> float | None:
    """The mean of what is known, by its seconds; None where nothing is."""
    known = [(value, weight) for value, weight in zip(values, seconds, strict=True) if value is not None]
    total_s = sum(weight for _, weight in known)
    if total_s > 0:
        return sum(value * weight for value, weight in known) / total_s
    return fmean(value for value, _ in known) if known else None


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

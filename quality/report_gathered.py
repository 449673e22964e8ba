"""What a report's builder holds of one track or participant: bounded, and quickly copied."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from quality.participants import agreement
from quality.report_points import Points, Stretch, merged
from quality.report_spans import Spans
from quality.samples import ParticipantSample, TrackSample
from quality.score import ConnectionQuality, mean_opinion_score

LEAST_S = 0.001  # a sample of no time says little, but who has no other must have a mean
MAX_SIZES = 32  # a shared window that is resized has endlessly many


@dataclass(slots=True)
class GatheredTrack:
    """A track's samples, the pictures' sizes in order of appearance, and patterns.

    `seconds` by words, and `live`, are of the time in which it was not muted; None where it always was.
    """

    points: Points[Stretch] = field(default_factory=lambda: Points(merged))
    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, None] = field(default_factory=dict)
    first: TrackSample | None = None
    last: TrackSample | None = None
    live: Stretch | None = None
    spans: Spans = field(default_factory=Spans)

    def add(self, sample: TrackSample) -> None:
        """Take in the next sample; its patterns are not looked at."""
        if self.first is None or sample.at < self.first.at:
            self.first = sample
        if self.last is None or sample.at >= self.last.at:
            self.last = sample
        stretch = Stretch.of(sample)
        self.points.add(stretch)
        if not sample.muted:
            self.live = merged([self.live, stretch]) if self.live else stretch
            count(self.seconds, sample.quality.value, sample.duration_s)
        if sample.frame_width and len(self.sizes) < MAX_SIZES:
            self.sizes[f"{sample.frame_width}x{sample.frame_height}"] = None

    def copy(self) -> "GatheredTrack":
        """The same, which does not change any more."""
        return replace(
            self,
            points=self.points.copy(),
            seconds=dict(self.seconds),
            sizes=dict(self.sizes),
            spans=self.spans.copy(),
        )


@dataclass(slots=True)
class Mean:
    """A mean over the time."""

    seconds: float = 0.0
    weighed: float = 0.0

    def add(self, value: float, seconds: float) -> None:
        """Take in `value`, which held for `seconds`."""
        self.seconds += seconds
        self.weighed += value * seconds

    @property
    def value(self) -> float | None:
        """None where there was no time."""
        return self.weighed / self.seconds if self.seconds else None


def _seconds(sample: ParticipantSample) -> float:
    return sample.duration_s if sample.duration_s > 0 else LEAST_S


_WORDS = tuple(ConnectionQuality)


def merged_participant(samples: Sequence[ParticipantSample]) -> ParticipantSample:
    """One of one or more that follow each other: scores are means over the time in which not all was muted.

    Of words the worst of each kind stays, ours and the server's: a bad moment must not vanish in a long recording.
    """
    if len(samples) == 1:
        return samples[0]
    heard = [sample for sample in samples if not sample.muted] or samples
    score = Mean()
    for sample in heard:
        score.add(sample.score, _seconds(sample))
    assert score.value is not None
    told = [sample.server_quality for sample in samples if sample.server_quality is not None]
    heard_mos = [sample.server_mos for sample in samples if sample.server_mos is not None]
    return replace(
        samples[-1],
        score=score.value,
        mos=mean_opinion_score(score.value),
        score_min=min(sample.lowest for sample in heard),
        quality=max((sample.quality for sample in heard), key=_WORDS.index),
        as_server_quality=max((sample.as_server_quality for sample in heard), key=_WORDS.index),
        server_quality=max(told, key=_WORDS.index, default=None),
        server_mos=min(heard_mos, default=None),
        duration_s=sum(sample.duration_s for sample in samples),
        muted=all(sample.muted for sample in samples),
    )


@dataclass(slots=True)
class GatheredParticipant:
    """A participant's samples, and the seconds by our and the server's words.

    `words` and `score` are of the time in which not all of its tracks were muted.
    """

    own: bool
    points: Points[ParticipantSample] = field(default_factory=lambda: Points(merged_participant))
    words: dict[str, float] = field(default_factory=dict)
    server_words: dict[str, float] = field(default_factory=dict)
    agreement: Counter[str] = field(default_factory=Counter)
    score: Mean = field(default_factory=Mean)
    score_min: float = 100.0
    server_mos: Mean = field(default_factory=Mean)

    def add(self, sample: ParticipantSample) -> None:
        """Take in the next sample."""
        self.points.add(sample)
        seconds = _seconds(sample)
        if not sample.muted:
            count(self.words, sample.quality.value, seconds)
            self.score.add(sample.score, seconds)
            self.score_min = min(self.score_min, sample.lowest)
        if sample.server_quality is not None:
            count(self.server_words, sample.server_quality.value, seconds)
            self.agreement[agreement(sample.as_server_quality, sample.server_quality).value] += 1
        if sample.server_mos is not None:
            self.server_mos.add(sample.server_mos, seconds)

    def copy(self) -> "GatheredParticipant":
        """The same, which does not change any more."""
        return replace(
            self,
            points=self.points.copy(),
            words=dict(self.words),
            server_words=dict(self.server_words),
            agreement=Counter(self.agreement),
            score=replace(self.score),
            server_mos=replace(self.server_mos),
        )


def count(seconds: dict[str, float], word: str, duration_s: float) -> None:
    """Add to a word's seconds."""
    seconds[word] = seconds.get(word, 0.0) + duration_s

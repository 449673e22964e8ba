"""From when to when patterns held on a track: by the events that told of them, and by the samples where none did."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

MOST_SPANS = 500  # of a track, or up to twice as many
UNTOLD = "when it began, and why, was not told"


@dataclass(frozen=True, slots=True)
class PatternSpan:
    """A degradation of a track, in seconds of the recording. `told_end` is False where it held up to the last sample.

    It ends when its end was told, or else with the last sample that has it. Of a track with very many, neighbours of a
    name are one: from the first one's beginning to the last one's end and with the first one's reason; `count` is how
    many.
    """

    track_sid: str
    participant_identity: str
    pattern: str
    began_at_s: float
    ended_at_s: float
    told_end: bool
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)
    count: int = 1

    @property
    def often(self) -> str:
        """How many it stands for, to follow its name; empty for one."""
        return f" ({self.count} times)" if self.count > 1 else ""


@dataclass(slots=True)
class Spans:
    """The patterns of one track. Give it events and samples in their order; times are seconds of the recording."""

    ended: list[PatternSpan] = field(default_factory=list)
    _open: dict[str, PatternSpan] = field(default_factory=dict)
    _ended_at_s: dict[str, float] = field(default_factory=dict)
    _sample_at_s: float | None = None

    def begin(self, span: PatternSpan) -> None:
        """A pattern began. One of its name that nobody ended held up to the last sample."""
        self._end_untold(span.pattern)
        self._open[span.pattern] = span

    def end(self, pattern: str, at_s: float) -> None:
        """A pattern ended; one that is not known to have begun is passed over."""
        span = self._open.pop(pattern, None)
        if span is not None:
            self.ended.append(_ended(span, at_s, told=True))
            if len(self.ended) >= 2 * MOST_SPANS:
                self.ended = _halved(self.ended)
            self._ended_at_s[pattern] = at_s

    def follow(self, seen: Collection[str], began: PatternSpan, at_s: float) -> None:
        """A sample up to `at_s` has these patterns; one whose beginning was not told is as `began`, but for its name.

        What happens in a pause, while a track is gone or between two writers has no events.
        """
        before_s = self._sample_at_s
        for pattern in [name for name in self._open if name not in seen]:
            self._end_untold(pattern)
        for pattern in seen:
            if pattern not in self._open and not self._ended_within(pattern, before_s):
                self._open[pattern] = replace(began, pattern=pattern)
        self._sample_at_s = at_s

    def _end_untold(self, pattern: str) -> None:
        self.end(pattern, 0.0 if self._sample_at_s is None else self._sample_at_s)

    def copy(self) -> "Spans":
        """The same, which does not change any more."""
        return replace(self, ended=list(self.ended), _open=dict(self._open), _ended_at_s=dict(self._ended_at_s))

    def all(self, ends_at_s: float) -> list[PatternSpan]:
        """All of them by their beginning; what holds still, up to `ends_at_s`."""
        open_still = (_ended(span, ends_at_s, told=False) for span in self._open.values())
        return sorted([*self.ended, *open_still], key=lambda span: span.began_at_s)

    def _ended_within(self, pattern: str, before_s: float | None) -> bool:
        """Whether it was told to end within the sample that has seen it, and is over."""
        ended_at_s = self._ended_at_s.get(pattern)
        return ended_at_s is not None and (before_s is None or ended_at_s > before_s)


def _ended(span: PatternSpan, at_s: float, *, told: bool) -> PatternSpan:
    return replace(span, ended_at_s=max(span.began_at_s, at_s), told_end=told)


def _halved(spans: list[PatternSpan]) -> list[PatternSpan]:
    """Each two that follow each other and have one name as one."""
    waiting: dict[str, PatternSpan] = {}
    found: list[PatternSpan] = []
    for span in spans:
        if (before := waiting.pop(span.pattern, None)) is None:
            waiting[span.pattern] = span
            continue
        ended_at_s, total = max(before.ended_at_s, span.ended_at_s), before.count + span.count
        found.append(replace(before, ended_at_s=ended_at_s, told_end=span.told_end, count=total))
    return sorted([*found, *waiting.values()], key=lambda span: span.began_at_s)

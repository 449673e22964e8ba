"""Compares what `quality.patterns` told of a trace with what was true."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from quality import patterns
from quality.patterns import Pattern, PatternChange, PatternState
from quality.window import Window
from tests.quality.pattern_traces import Trace
from tests.quality.traces import EPOCH

GRACE_S = 12.0  # a rule looks back up to so far, and may tell so late after the end of what it saw


def run(windows: Iterable[tuple[float, Window]]) -> tuple[PatternState, list[PatternChange]]:
    """The state after one window after the other, each with the time at which it ended, and all that was told."""
    state = patterns.start("TR_trace")
    changes: list[PatternChange] = []
    for now, window in windows:
        state, new = patterns.step(state, window, now)
        changes.extend(new)
    return state, changes


def told(trace: Trace) -> list[PatternChange]:
    """All that is told of `trace`."""
    return run(trace.windows)[1]


@dataclass(slots=True)
class Tally:
    """How often each pattern was told rightly, wrongly, once too often, or not; and after how many seconds."""

    hits: Counter[Pattern] = field(default_factory=Counter)
    false: Counter[Pattern] = field(default_factory=Counter)
    repeated: Counter[Pattern] = field(default_factory=Counter)
    missed: Counter[Pattern] = field(default_factory=Counter)
    delays_s: dict[Pattern, list[float]] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)

    def take(self, trace: Trace, label: str = "") -> None:
        """Add one trace."""
        began = [change for change in told(trace) if change.began]
        matched: set[int] = set()
        for truth in trace.truths:
            hits = [
                (index, change.at - EPOCH)
                for index, change in enumerate(began)
                if change.pattern is truth.pattern and truth.begin <= change.at - EPOCH <= truth.end + GRACE_S
            ]
            matched |= {index for index, _ in hits}
            if hits:
                self.hits[truth.pattern] += 1
                self.delays_s.setdefault(truth.pattern, []).append(hits[0][1] - truth.begin)
                self.repeated[truth.pattern] += len(hits) - 1
            else:
                self.missed[truth.pattern] += 1
                self.where.append(f"{label or trace.name}: {truth.pattern} missed")
        for index, change in enumerate(began):
            if index not in matched and change.pattern not in trace.also:
                self.false[change.pattern] += 1
                self.where.append(
                    f"{label or trace.name}: {change.pattern} at {change.at - EPOCH:.0f}: {change.reason}"
                )

    def precision(self, pattern: Pattern) -> float:
        """Of the times it was told, how often it was true and not told before; 1 where it never was."""
        all_told = self.hits[pattern] + self.repeated[pattern] + self.false[pattern]
        return self.hits[pattern] / all_told if all_told else 1.0

    def recall(self, pattern: Pattern) -> float:
        """Of the times it was true, how often it was told; 1 where it never was."""
        true = self.hits[pattern] + self.missed[pattern]
        return self.hits[pattern] / true if true else 1.0


def tally(traces: Iterable[tuple[str, Trace]]) -> Tally:
    """The sum over labelled traces."""
    result = Tally()
    for label, trace in traces:
        result.take(trace, label)
    return result

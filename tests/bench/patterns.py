"""How well degradation patterns are recognised: precision and recall over seeded traces with known truth.

Run: `python -m tests.bench.patterns [seeds for each scenario] [first seed]`. Told means told to begin; precision
counts a pattern that is told twice for one truth as wrong; recall counts a truth as found when it is told from its
begin to 12 s after its end. What follows from a truth and is true as well (a lossy picture freezes) counts neither way.
"""

import sys
from statistics import median

from quality.patterns import Pattern
from tests.quality.calm_scenarios import CALM
from tests.quality.pattern_scenarios import TROUBLED
from tests.quality.pattern_scoring import Tally, tally
from tests.quality.pattern_traces import SECONDS, trace

SEEDS = 8


def report(result: Tally) -> list[str]:
    """A table of Markdown, a pattern a line."""
    lines = ["| pattern | true | precision | recall | told after, s (median, worst) |", "|---|---|---|---|---|"]
    for pattern in Pattern:
        true = result.hits[pattern] + result.missed[pattern]
        delays = result.delays_s.get(pattern, [])
        after = f"{median(delays):.1f}, {max(delays):.1f}" if delays else ""
        figures = f"{result.precision(pattern):.3f} | {result.recall(pattern):.3f} | {after}"
        lines.append(f"| {pattern.replace('_', ' ')} | {true} | {figures} |")
    return lines


def main(seeds: int = SEEDS, first: int = 0) -> None:
    """Print the table, what was told on calm traces, and each mistake."""
    labelled = [
        (f"{build.__name__} {seed}", build, seed) for build in CALM + TROUBLED for seed in range(first, first + seeds)
    ]
    result = tally((label, trace(build, seed)) for label, build, seed in labelled)
    print("\n".join(report(result)))
    names = tuple(build.__name__ for build in CALM)
    wrong = sum(line.startswith(names) for line in result.where)
    calm = len(CALM) * seeds
    print(
        f"\n{len(labelled)} traces of {SECONDS} s; {calm} of them calm, {calm * SECONDS / 60:.0f} minutes in all, "
        f"on which {wrong} patterns were told"
    )
    print("\n".join(result.where))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))

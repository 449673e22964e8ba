"""Layer controllers on simulated links, beside what somebody who knows the link's future could have.

Run: `python -m tests.bench.adaptation [one|three] [seeds] [first seed]`. Shares are of the mean utility of
the best plan that changes at most every 10 s, and (in brackets) of the best in each second with free switches. Switches
are those of the track with most in its busiest minute, the server's own among them.
"""

import sys
from statistics import fmean

from tests.simulation.baselines import AlwaysHigh, NaiveThresholds, Ours
from tests.simulation.links import TRACES, Trace
from tests.simulation.optimum import few_switches, instant
from tests.simulation.run import Result, run
from tests.simulation.world import ONE, THREE

CONTROLLERS = {"ours": Ours, "always HIGH": AlwaysHigh, "naive thresholds": NaiveThresholds}
ROOMS = {"one": ONE, "three": THREE}


def recovery(trace: Trace, results: list[Result], bound: list[float]) -> str:
    """The slowest of all runs, for each time at which the link got better."""
    slowest = []
    for at in trace.recoveries:
        times = [result.recovery_s(bound, at) for result in results]
        known = [time for time in times if time is not None]
        slowest.append(f"{max(known):.0f}" if len(known) == len(times) else "never")
    return ", ".join(slowest)


def main(room: str = "three", seeds: str = "3", first: str = "0") -> None:
    """Print the table as Markdown."""
    print("| link | controller | share of the optimum | freezes (s) | switches, busiest minute | recovery, s |")
    print("|---|---|---|---|---|---|")
    shares: dict[str, list[float]] = {name: [] for name in CONTROLLERS}
    for trace in TRACES:
        bound, optimum = instant(trace, ROOMS[room]), few_switches(trace, ROOMS[room])
        for name, make in CONTROLLERS.items():
            results = [run(trace, ROOMS[room], make, seed) for seed in range(int(first), int(first) + int(seeds))]
            share = fmean(result.share(optimum) for result in results)
            shares[name].append(share)
            print(
                f"| {trace.name} | {name} | {share:.3f} ({fmean(result.share(bound) for result in results):.3f}) | "
                f"{fmean(result.freezes for result in results):.1f} "
                f"({fmean(result.frozen_s for result in results):.1f}) | "
                f"{max(result.busiest_minute() for result in results)} | {recovery(trace, results, bound)} |"
            )
    for name, values in shares.items():
        print(f"{name}: mean share {fmean(values):.3f}, worst {min(values):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])

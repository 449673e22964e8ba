"""Layer controllers on simulated links, beside what somebody who knows the link's future has through the same server.

And beside somebody who knows its present, which no controller does, by one policy, and by the one of many that turned
out best in each run: what is between that and the optimum is foresight, and what none of these policies does.

Run: `python -m tests.bench.adaptation [links] [room] [sdk|tap] [seeds] [first seed] [kbit] [ms]`, with links of
development, held-out, looked-at or untouched, a room of one, three, sparse, rich or weak, kbit of a shaper's bucket of
tokens, and ms of jitter within frames. Shares are of the mean utility of the offline optimum, and (in brackets) of the
bound that ignores switches, key frames and loss. Switches are those of the track with most in its busiest minute, the
server's own among them. Recovery is the time until 0.95 of what the optimum settles at is held for 3 s, the slowest of
the runs, for each time at which the link got better.
"""

import argparse
from collections.abc import Callable
from statistics import fmean

from quality.allocation import Subscription
from tests.simulation.baselines import AlwaysHigh, Controller, NaiveThresholds, Ours, ours_on_the_tap
from tests.simulation.links import DEVELOPMENT, HELD_OUT, LOOKED_AT, UNTOUCHED, Trace
from tests.simulation.optimum import capacities, instant, optimum, settled
from tests.simulation.present import KnowsPresent, best_of_present
from tests.simulation.receivers import Receiver, SdkReceiver, TapReceiver
from tests.simulation.rooms import ONE, RICH, SPARSE, THREE, WEAK
from tests.simulation.run import Result, run
from tests.simulation.world import Spacing

Make = Callable[[tuple[Subscription, ...]], Controller]
BASELINES: dict[str, Make] = {"always HIGH": AlwaysHigh, "naive thresholds": NaiveThresholds}
LINKS = {"development": DEVELOPMENT, "held-out": HELD_OUT, "looked-at": LOOKED_AT, "untouched": UNTOUCHED}
ROOMS = {"one": ONE, "three": THREE, "sparse": SPARSE, "rich": RICH, "weak": WEAK}
ANNOUNCED: dict[tuple[Subscription, ...], tuple[Subscription, ...]] = {WEAK: THREE}
RECEIVERS: dict[str, tuple[Callable[[], Receiver], Make]] = {
    "sdk": (SdkReceiver, Ours),
    "tap": (TapReceiver, ours_on_the_tap),
}
OPTIMUM = "optimum"
PRESENT = "knows the present"
BEST_PRESENT = "knows the present, best policy"


def recovery(trace: Trace, results: list[Result], best: list[Result]) -> str:
    """The slowest of all runs, for each time at which the link got better."""
    slowest = []
    for at in trace.recoveries:
        times = [result.recovery_s(settled(top, at), at) for result, top in zip(results, best, strict=True)]
        known = [time for time in times if time is not None]
        slowest.append(f"{max(known):.0f}" if len(known) == len(times) else "never")
    return ", ".join(slowest)


def runs(
    trace: Trace,
    room: tuple[Subscription, ...],
    receiver: Callable[[], Receiver],
    ours: Make,
    seeds: range,
    spacing: Spacing,
) -> dict[str, list[Result]]:
    """All controllers and the optimum on `trace`, a run for each seed."""
    found = {OPTIMUM: [optimum(trace, room, seed, receiver) for seed in seeds]}
    for name, make in [("ours", ours), *BASELINES.items()]:
        found[name] = [run(trace, room, make, seed, receiver, spacing, ANNOUNCED.get(room, ())) for seed in seeds]
    found[PRESENT] = [
        run(trace, room, lambda items: KnowsPresent(items, capacities(trace)), seed, receiver) for seed in seeds
    ]
    found[BEST_PRESENT] = [best_of_present(trace, room, seed, receiver) for seed in seeds]
    return found


def row(trace: Trace, name: str, results: list[Result], best: list[Result], bound: list[float]) -> tuple[float, str]:
    """The share of the optimum, and a line of the table."""
    share = fmean(sum(own.utilities) / sum(top.utilities) for own, top in zip(results, best, strict=True))
    freezes, frozen_s = fmean(one.freezes for one in results), fmean(one.frozen_s for one in results)
    cells = [
        trace.name,
        name,
        f"{share:.3f} ({fmean(one.share(bound) for one in results):.3f})",
        f"{freezes:.0f} ({frozen_s:.0f})",
        f"{fmean(one.switches_per_minute() for one in results):.1f}",
        str(max(one.busiest_minute() for one in results)),
        recovery(trace, results, best),
    ]
    return share, f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description="Layer controllers on simulated links, as a table")
    parser.add_argument("links", nargs="?", choices=LINKS, default="development")
    parser.add_argument("room", nargs="?", choices=ROOMS, default="three")
    parser.add_argument("receiver", nargs="?", choices=RECEIVERS, default="sdk")
    parser.add_argument("seeds", nargs="?", type=int, default=2, help="how many")
    parser.add_argument("first", nargs="?", type=int, default=100, help="the first of them")
    parser.add_argument("kbit", nargs="?", type=float, default=0.0, help="of a shaper's bucket of tokens")
    parser.add_argument("ms", nargs="?", type=float, default=0.0, help="of jitter within frames")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("give one seed at least")
    room, seeds = ROOMS[options.room], range(options.first, options.first + options.seeds)
    spacing = Spacing(1000 * options.kbit, options.ms / 1000)
    print("| link | controller | share | freezes (s) | switches/min, all | busiest minute | recovery, s |")
    print("|---|---|---|---|---|---|---|")
    shares: dict[str, list[float]] = {}
    for trace in LINKS[options.links]:
        bound = instant(trace, room)
        found = runs(trace, room, *RECEIVERS[options.receiver], seeds, spacing)
        for name, results in found.items():
            share, line = row(trace, name, results, found[OPTIMUM], bound)
            shares.setdefault(name, []).append(share)
            print(line, flush=True)
    for name, values in shares.items():
        print(f"{name}: mean share {fmean(values):.3f}, worst {min(values):.3f}")


if __name__ == "__main__":
    main()

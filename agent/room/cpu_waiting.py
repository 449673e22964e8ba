"""How long this process' threads ran, and how busy its busiest thread was (Linux schedstat)."""

import time
from pathlib import Path

from quality.cpu_budget import CpuUse

TASKS = Path("/proc/self/task")
_NS = 1e-9


class CpuWaiting:
    """`take` once a second; the figures are since the call before. Zero where the kernel does not tell."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self._at = time.monotonic()

    def take(self) -> CpuUse:
        """What all threads ran, and the share of the time in which the busiest one ran or waited for a processor."""
        now: dict[str, tuple[int, int]] = {}
        for task in TASKS.iterdir() if TASKS.is_dir() else ():
            try:
                ran, waited, _ = (task / "schedstat").read_text().split()
            except (OSError, ValueError):
                continue  # it ended meanwhile, or the kernel keeps no such statistics
            now[task.name] = int(ran), int(waited)
        pairs = [(self._before[name], after) for name, after in now.items() if name in self._before]
        at = time.monotonic()
        elapsed_s, self._before, self._at = at - self._at, now, at
        ran_ns = sum(after[0] - before[0] for before, after in pairs)
        busiest_ns = max((sum(after) - sum(before) for before, after in pairs), default=0)
        return CpuUse(ran_ns * _NS, busiest_ns * _NS / elapsed_s if elapsed_s > 0 else 0.0)

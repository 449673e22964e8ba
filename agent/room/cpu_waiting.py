"""How long this process' threads ran, and how busy its busiest thread was (Linux schedstat)."""

import time
from pathlib import Path

from quality.cpu_budget import CpuUse

TASKS = Path("/proc/self/task")
_NS = 1e-9


class CpuWaiting:
    """`take` once a second or so; the figures are since the call before. Zero where the kernel does not tell."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self._at = time.monotonic()

    def take(self) -> CpuUse:
        """How much of a processor all threads took, and the share of the time that the busiest one ran or waited."""
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
        if elapsed_s <= 0:
            return CpuUse(0.0, 0.0)
        return CpuUse(ran_ns * _NS / elapsed_s, busiest_ns * _NS / elapsed_s)

"""How long this process' threads ran, and how long they waited for a processor (Linux schedstat)."""

from pathlib import Path

TASKS = Path("/proc/self/task")
_NS = 1e-9


class CpuWaiting:
    """`take` once a second; the times are since the call before, in seconds. Zero where the kernel does not tell."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}

    def take(self) -> tuple[float, float]:
        """Seconds that all threads ran, and that they waited."""
        now: dict[str, tuple[int, int]] = {}
        for task in TASKS.iterdir() if TASKS.is_dir() else ():
            try:
                ran, waited, _ = (task / "schedstat").read_text().split()
            except (OSError, ValueError):
                continue  # it ended meanwhile, or the kernel keeps no such statistics
            now[task.name] = int(ran), int(waited)
        pairs = [(self._before[name], after) for name, after in now.items() if name in self._before]
        self._before = now
        ran_ns = sum(after[0] - before[0] for before, after in pairs)
        waited_ns = sum(after[1] - before[1] for before, after in pairs)
        return ran_ns * _NS, waited_ns * _NS

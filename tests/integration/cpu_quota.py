"""So much of a processor and no more for a process, by a control group of the kernel. Needs root."""

import itertools
import os
from pathlib import Path
from types import TracebackType

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_LEAST_US = 1_000  # what the kernel takes
_SHARES, _WEIGHT = "100000", "10000"
_numbers = itertools.count()


def why_not() -> str | None:
    """What is missing here; None where nothing is."""
    if os.geteuid() != 0:
        return "needs root, for a control group"
    return None if _mount() is not None else "needs a control group with the kernel's cpu controller"


def _mount() -> Path | None:
    first, controllers = _ROOT / "cpu", _ROOT / "cgroup.controllers"
    if (first / "cpu.cfs_quota_us").exists() or (first / "cgroup.procs").exists():
        return first
    if controllers.exists() and "cpu" in (_ROOT / "cgroup.subtree_control").read_text().split():
        return _ROOT
    return None


class CpuGroup:
    """`with` makes and removes it. `inside` are words before a command that run it in the group, from its start.

    Not for what runs already: threads with a real-time priority, as the SDK's have where it may, cannot be moved in.
    Who waits for the quota waits for a processor, as the kernel's schedstat counts.
    """

    def __init__(self) -> None:
        mount = _mount()
        assert mount is not None
        self._group = mount / f"quota-{os.getpid()}-{next(_numbers)}"

    @property
    def inside(self) -> tuple[str, ...]:
        """Words before a command."""
        return ("sh", "-c", f'echo $$ > {self._group / "cgroup.procs"} && exec "$@"', "sh")

    def __enter__(self) -> "CpuGroup":
        self._group.mkdir()
        weight = "cpu.shares" if (self._group / "cpu.shares").exists() else "cpu.weight"
        # The quota alone shall be what it waits for, and not whoever else is on the machine.
        (self._group / weight).write_text(_SHARES if weight == "cpu.shares" else _WEIGHT)
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._group.rmdir()

    def limit(self, cores: float | None) -> None:
        """From now on no more than that of a processor, in each tenth of a second; None: as much as there is."""
        quota_us = None if cores is None else max(_LEAST_US, round(cores * _PERIOD_US))
        if (self._group / "cpu.max").exists():
            (self._group / "cpu.max").write_text(f"{'max' if quota_us is None else quota_us} {_PERIOD_US}")
        else:
            (self._group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (self._group / "cpu.cfs_quota_us").write_text(str(-1 if quota_us is None else quota_us))

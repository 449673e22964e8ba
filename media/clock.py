"""The one clock of the shells: wall-clock time that can never go back."""

import time


class SteadyClock:
    """Unix time that only moves forward.

    The wall clock is read once, at construction; from then on the monotonic clock counts. A step of
    the system's clock (NTP, an operator, a suspended machine) therefore cannot fold or tear the
    timeline of a recording. Pure code never holds one: it is handed `now`.
    """

    __slots__ = ("_monotonic_at_start_s", "_unix_at_start_s")

    def __init__(self) -> None:
        self._unix_at_start_s = time.time()
        self._monotonic_at_start_s = time.monotonic()

    def now(self) -> float:
        """Unix seconds, never less than a value returned before."""
        return self._unix_at_start_s + (time.monotonic() - self._monotonic_at_start_s)

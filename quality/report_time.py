"""The time of a recording on its report's page: where a moment lies, its marks, and how it is said."""

MOST_MARKS = 5  # as many fit side by side on a phone
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    30,
    *(_MINUTE * step for step in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 4, 8)),
)


def time_marks(duration_s: float) -> list[float]:
    """Round times from 0 to `duration_s`, all as far apart, at most `MOST_MARKS` after the first."""
    days = int(duration_s // (MOST_MARKS * _DAY)) + 1
    step = next((step for step in _STEPS_S if duration_s / step <= MOST_MARKS), days * _DAY)
    return [float(number * step) for number in range(int(duration_s // step) + 1)]


def position(at_s: float, duration_s: float) -> float:
    """Where `at_s` lies between begin and end of the recording, 0..1."""
    return min(1.0, max(0.0, at_s / duration_s)) if duration_s > 0 else 0.0


def as_clock(seconds: float) -> str:
    """A time of the recording."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def as_span(begin_s: float, end_s: float) -> str:
    """From when to when something was."""
    return f"{as_clock(begin_s)} to {as_clock(end_s)}"

"""When a track's samples are shown in a file that holds several tracks (pure).

Each track of a recording has a timeline of its own; its clock mapping tells media time. In the file a track starts
where the mapping of that moment puts it and goes on by its own exact timeline. Where the mapping is corrected, or the
clocks of two tracks drift apart, the track follows by at most `_SLEW_S` a fragment, that is about 5 ms a second.
So lip sync in the file is as good as the mapping at its start (arrival alone: some tens of milliseconds on most
connections, at most `ClockMapping.uncertainty_ms`), and gets better within seconds once sender reports came.
Exports place every sample by the best mapping there is in the end.
"""

from collections.abc import Sequence
from dataclasses import replace

from media.record.sample import Sample

_SLEW_S = 0.005
"""Of a fragment of a second: nobody hears half a percent."""

_DEADBAND_S = 0.005
"""A deviation that nobody perceives is left alone, so that times stay exact."""

_STEP_S = 0.5
"""So large a deviation is no drift but a sender that started anew; forward, it is taken at once."""


class MuxedTrackTimeline:
    """One track of one file. `timescale` in Hz; `zero_s` is the media time at which the file begins."""

    def __init__(self, timescale: int, zero_s: float) -> None:
        self._timescale = timescale
        self._zero_s = zero_s
        self._recorded_end: int | None = None
        self._end = 0

    @property
    def started(self) -> bool:
        """Whether the track has a sample in the file."""
        return self._recorded_end is not None

    @property
    def end_s(self) -> float:
        """Where its last sample ends, in seconds from the file's zero."""
        return self._end / self._timescale

    def place(self, samples: Sequence[Sample], media_time_s: float) -> list[Sample]:
        """The samples of one part at their decode times in the file; `media_time_s` is where the first belongs.

        They must follow each other without a hole, and do so in the file, strictly after what came before.
        """
        first, last = samples[0], samples[-1]
        start = max(self._end, round((media_time_s - self._zero_s) * self._timescale))
        correction = 0
        if self._recorded_end == first.decode_time and start - self._end <= _STEP_S * self._timescale:
            deviation = round((media_time_s - self._zero_s) * self._timescale) - self._end
            start, correction = self._end, self._slew(deviation, last.duration)
        moved = start - first.decode_time
        placed = [replace(sample, decode_time=sample.decode_time + moved) for sample in samples]
        placed[-1] = replace(placed[-1], duration=last.duration + correction)
        self._recorded_end = last.end_decode_time
        self._end = placed[-1].end_decode_time
        return placed

    def _slew(self, deviation: int, last_duration: int) -> int:
        """How much longer the last sample lasts, so that the next part is nearer to where it belongs."""
        if abs(deviation) <= _DEADBAND_S * self._timescale:
            return 0
        limit = int(_SLEW_S * self._timescale)
        return max(-min(limit, last_duration - 1), min(limit, deviation))

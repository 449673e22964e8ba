"""How a track's decode times lie in the recording's media time: which mappings to write down (pure)."""

from media.record.decode_timeline import Anchor
from media.record.entries import ClockMapping, RtpAnchor
from media.rtp.clock_mapping import ClockSource, RtpClockMapping

ARRIVAL_UNCERTAINTY_MS = 200.0
"""Of a single frame's arrival: one-way delay and jitter of a usable connection (livekit/egress tests allow 300 ms)."""

_NEGLIGIBLE_S = 0.001
"""A mapping that moves media time by less says nothing new: WebM itself rounds to this."""

_SETTLING_S = 30.0
"""For so long more packets and reports improve what the first ones said; ten reports come in it. A sender's clock that
drifts by 200 ppm is 6 ms off then, which is less than one report is."""

_RANK = {ClockSource.ARRIVAL: 0, ClockSource.SENDER_REPORT: 1, ClockSource.ABS_CAPTURE_TIME: 2}


class TrackClock:
    """Turns anchors and estimates of the sender's clock into journal entries.

    A better source, or a better estimate while the track is young, holds from the start of the current stretch
    of RTP time; a later refinement holds from now on, so that it does not move what was right an hour ago. Where a
    sender stalled and its RTP time did not show it, the estimate says since when it holds, and so does the mapping.
    """

    def __init__(self, track: int, timescale: int, started_at: float) -> None:
        self._track = track
        self._timescale = timescale
        self._started_at = started_at
        self._anchor: Anchor | None = None
        self._stretch_start = 0
        self._line_start = 0
        self._held: RtpClockMapping | None = None
        self.mapping: ClockMapping | None = None

    @property
    def rtp_anchor(self) -> RtpAnchor | None:
        """The anchor in force, as the journal has it."""
        anchor = self._anchor
        return None if anchor is None else RtpAnchor(self._track, anchor.decode_time, anchor.rtp_timestamp)

    def anchored(self, anchor: Anchor) -> ClockMapping:
        """A new anchor: the first mapping from it on, by what was told before it or by its own arrival."""
        held, self._held = self._held, None
        self._anchor = anchor
        self._stretch_start = self._line_start = anchor.decode_time
        arrival_s = anchor.arrival_time - self._started_at
        self.mapping = ClockMapping(
            self._track, anchor.decode_time, arrival_s, 0.0, ARRIVAL_UNCERTAINTY_MS, ClockSource.ARRIVAL
        )
        if held is not None and not anchor.reset:
            self.mapping = self._converted(held, anchor, anchor.decode_time)
        return self.mapping

    def leave(self) -> None:
        """The stretch of RTP time is over and another sender's comes: estimates wait for its first frame."""
        self._anchor = self._held = None

    def estimated(self, estimate: RtpClockMapping, decode_time: int) -> ClockMapping | None:
        """A new estimate while the track is at `decode_time`: the mapping to write down, if it says something new."""
        anchor, current = self._anchor, self.mapping
        if anchor is None or current is None:
            self._held = estimate
            return None
        rank, current_rank = _RANK[estimate.source], _RANK[current.source]
        is_new_line = self._starts_line(estimate, anchor)
        if rank < current_rank and not is_new_line:
            self._stretch_start = decode_time
        young = decode_time - self._stretch_start < _SETTLING_S * self._timescale
        valid_from = self._stretch_start if is_new_line or rank > current_rank or young else decode_time
        mapping = self._converted(estimate, anchor, valid_from)
        if rank == current_rank and not is_new_line and self._says_nothing_new(mapping, current):
            return None
        self.mapping = mapping
        return mapping

    def _starts_line(self, estimate: RtpClockMapping, anchor: Anchor) -> bool:
        """Whether the sender stalled since the last time it did, unseen in RTP time; a new stretch begins there."""
        if estimate.since is None:
            return False
        start = anchor.decode_time + estimate.since - anchor.rtp_timestamp
        if start <= self._line_start:
            return False
        self._stretch_start = self._line_start = start
        return True

    def media_time_s(self, decode_time: int) -> float | None:
        """Media time of `decode_time` by the mapping in force; None before the first frame."""
        return None if self.mapping is None else self.mapping.media_time_at(decode_time, self._timescale)

    def _says_nothing_new(self, mapping: ClockMapping, current: ClockMapping) -> bool:
        moved_s = mapping.media_time_s - current.media_time_at(mapping.decode_time, self._timescale)
        return abs(moved_s) < _NEGLIGIBLE_S and mapping.uncertainty_ms > current.uncertainty_ms / 2

    def _converted(self, estimate: RtpClockMapping, anchor: Anchor, valid_from: int) -> ClockMapping:
        rtp_timestamp = anchor.rtp_timestamp + valid_from - anchor.decode_time
        media_time_s = estimate.unix_time(rtp_timestamp, self._timescale) - self._started_at
        source = estimate.source
        return ClockMapping(self._track, valid_from, media_time_s, estimate.drift_ppm, estimate.uncertainty_ms, source)

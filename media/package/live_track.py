"""A recorded track as live segments: all tracks of a recording on its one media timeline (pure).

Each segment is moved as a whole, by the clock mapping that held when it was opened and that its file carries. So a
segment never changes once it was listed, every process that serves it says the same, and tracks line up as
well as their clocks were known. The move of the segment before is kept unless the new one differs by over DEADBAND_S.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from media.package.live_parts import PartIndex
from media.package.live_playlist import LivePart, LiveSegment, PartHint
from media.record.entries import ClockMapping, SegmentEntry

ORIGIN_S = 10.0
"""Where media time zero lies on the served timeline. A first frame may have left its sender before the recording
began, and `tfdt` cannot be negative."""

DEADBAND_S = 0.010
"""Less than a frame: nobody sees it, and a timeline that moves at each segment would click."""

HOLE_S = 0.25
"""From here on missing media are told as a gap; players close smaller holes by themselves."""

GAP_URI = "gap.m4s"
"""What a gap's URI names, as each segment must have one; there is no such file."""


@dataclass(frozen=True, slots=True)
class OpenSegment:
    """The segment that is being written, as far as it was seen."""

    sequence: int
    init_path: str
    decode_time: int
    discontinuity: bool
    mapping: ClockMapping | None
    parts: tuple[PartIndex, ...]


@dataclass(slots=True)
class _Placed:
    """A segment's place: what of it is fixed once it was opened."""

    offset: int
    end_decode_time: int
    segments: int
    epoch: int


@dataclass(slots=True)
class LiveTrack:
    """Adds up a track's segments, closed ones in order and then the open one. `timescale` in Hz.

    `fill`: holes between parts are closed when they are served (`live_parts`), as is done for video.
    """

    timescale: int
    fill: bool
    part_target_s: float
    gap_target_s: float
    closed: list[LiveSegment] = field(default_factory=list)
    _offsets: dict[int, int] = field(default_factory=dict)
    _last: _Placed | None = None
    _epoch: int | None = None
    _passed: int = 0

    def offset(self, sequence: int) -> int | None:
        """How many ticks the segment of that number is moved by; None while it is not known."""
        return self._offsets.get(sequence)

    @property
    def next_sequence(self) -> int:
        """The number that the open segment has."""
        return self._passed + 1

    def close(self, entry: SegmentEntry, mapping: ClockMapping | None, parts: Sequence[PartIndex], epoch: int) -> None:
        """The next segment is whole. `epoch`: how often the recording's writer had started anew by then."""
        offset = self._place(entry.sequence, entry.decode_time, mapping)
        self.closed += self._gaps(entry.decode_time, offset, epoch)
        self.closed.append(
            LiveSegment(
                uri=_name(entry.path),
                map_uri=_name(entry.init_path),
                start_s=self._media_s(entry.decode_time, offset),
                duration_s=entry.duration / self.timescale,
                size_bytes=entry.size_bytes,
                samples=entry.samples,
                parts=tuple(self._parts(parts)),
                discontinuity_sequence=epoch,
                discontinuities=0 if self._epoch is None else epoch - self._epoch,
                independent=entry.independent,
            )
        )
        self._epoch = epoch
        self._passed = entry.sequence
        self._last = _Placed(offset, entry.end_decode_time, len(self.closed), epoch)

    def skip(self, sequence: int) -> None:
        """That segment cannot be played; what comes behind it is."""
        self._passed = sequence

    def with_open(self, segment: OpenSegment | None, epoch: int) -> tuple[LiveSegment, ...]:
        """All segments, with the one that is being written once it has a part."""
        if segment is None or not segment.parts:
            return tuple(self.closed)
        offset = self._place(segment.sequence, segment.decode_time, segment.mapping)
        parts = tuple(self._parts(segment.parts))
        opened = LiveSegment(
            uri=segment_name(segment.sequence),
            map_uri=_name(segment.init_path),
            start_s=self._media_s(segment.decode_time, offset),
            duration_s=sum(part.duration_s for part in parts),
            size_bytes=segment.parts[-1].end,
            samples=sum(part.samples for part in segment.parts),
            parts=parts,
            discontinuity_sequence=epoch,
            discontinuities=0 if self._epoch is None else epoch - self._epoch,
            complete=False,
            independent=segment.parts[0].independent,
        )
        return (*self.closed, *self._gaps(segment.decode_time, offset, epoch), opened)

    def hint(self, segment: OpenSegment | None) -> PartHint:
        """Where the part behind those of `segment` will be, or the first one of the next segment."""
        if segment is None or not segment.parts:
            return PartHint(segment_name(self.next_sequence))
        return PartHint(segment_name(segment.sequence), segment.parts[-1].end)

    def _place(self, sequence: int, decode_time: int, mapping: ClockMapping | None) -> int:
        if sequence in self._offsets:
            return self._offsets[sequence]
        held = None if self._last is None else self._last.offset
        if mapping is None:
            offset = round(ORIGIN_S * self.timescale) if held is None else held
        else:
            media_s = mapping.media_time_at(decode_time, self.timescale) + ORIGIN_S
            offset = round(media_s * self.timescale) - decode_time
            if held is not None and abs(offset - held) <= DEADBAND_S * self.timescale:
                offset = held
        offset = max(offset, -decode_time)
        self._offsets[sequence] = offset
        return offset

    def _media_s(self, decode_time: int, offset: int) -> float:
        return (decode_time + offset) / self.timescale - ORIGIN_S

    def _gaps(self, decode_time: int, offset: int, epoch: int) -> list[LiveSegment]:
        """Segments without media from the end of the last one to `decode_time`.

        None where the writer started anew: a discontinuity lets the timeline go on there.
        """
        last = self._last
        if last is None or epoch != last.epoch:
            return []
        hole_s = (decode_time - last.end_decode_time) / self.timescale
        if hole_s < HOLE_S:
            return []
        count = math.ceil(hole_s / self.gap_target_s)
        start_s = self._media_s(decode_time, offset) - hole_s
        gap = LiveSegment(GAP_URI, "", start_s, hole_s / count, discontinuity_sequence=epoch, gap=True)
        return [replace(gap, start_s=start_s + index * gap.duration_s) for index in range(count)]

    def _parts(self, parts: Iterable[PartIndex]) -> Iterable[LivePart]:
        """The parts, each from the end of the one before, or behind parts without media where there is a hole."""
        end: int | None = None
        for part in parts:
            hole_s = 0.0 if end is None else max(0, part.decode_time - end) / self.timescale
            if hole_s >= HOLE_S and not self.fill:
                count = math.ceil(hole_s / self.part_target_s)
                yield from [LivePart(hole_s / count, gap=True)] * count
            duration_s = part.duration / self.timescale + (hole_s if self.fill else 0.0)
            yield LivePart(duration_s, part.start, part.end - part.start, part.independent)
            end = part.end_decode_time


def segment_name(sequence: int) -> str:
    """The file of the segment of that number, in its track's folder."""
    return f"{sequence:06d}.m4s"


def _name(path: str) -> str:
    return path.rpartition("/")[2]

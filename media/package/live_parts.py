"""Where the parts of a segment that is being written are, and their bytes on the recording's timeline (pure).

A segment on disk counts its track's own ticks from the track's first frame. Players need all tracks on one
timeline, so the eight bytes of each `tfdt` (ISO/IEC 14496-12 §8.8.12) are written anew while a segment is served.
Where a part of a video begins after the part before ended, for nobody knew when the next frame would come, its first
frame is shown from that end on: browsers stall at a hole. No other byte changes, so sizes and ranges are the file's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from media.record.fmp4 import NOTE_MAGIC
from media.record.fmp4_scan import Box, descendants, fragment_samples

_HEADER_BYTES = 8
_TIME_BYTES = 8
_DURATION_BYTES = 4

Read = Callable[[int, int], bytes]
"""The bytes of a file from an offset on, at most so many."""


@dataclass(frozen=True, slots=True)
class PartIndex:
    """A part in a segment's file: bytes [start, end), times in ticks of the track.

    The first part begins with the segment's head, each other one with its `moof`. `time_at` is where the `tfdt`'s
    time is, `run_at` where the first sample's duration is. `independent`: it begins with a sync sample.
    """

    start: int
    end: int
    time_at: int
    run_at: int
    decode_time: int
    duration: int
    first_duration: int
    samples: int
    independent: bool

    @property
    def end_decode_time(self) -> int:
        """Where its last sample ends."""
        return self.decode_time + self.duration


class SegmentScanner:
    """Finds the whole parts of a segment file that grows, reading headers and `moof`s only, each once."""

    def __init__(self) -> None:
        self.note = b""
        """The writer's note, once it was passed."""
        self.parts: list[PartIndex] = []
        self._position = 0
        self._part_start = 0
        self._fragment: tuple[bytes, int] | None = None

    def advance(self, read: Read, size_bytes: int) -> bool:
        """Go on to the last whole box of a file of `size_bytes`; whether there are more parts than before."""
        before = len(self.parts)
        while self._step(read, size_bytes):
            pass
        return len(self.parts) > before

    def _step(self, read: Read, size_bytes: int) -> bool:
        if self._position + _HEADER_BYTES > size_bytes:
            return False
        header = read(self._position, _HEADER_BYTES)
        box_bytes = int.from_bytes(header[:4])
        end = self._position + box_bytes
        if len(header) < _HEADER_BYTES or box_bytes < _HEADER_BYTES or end > size_bytes:
            return False
        kind = header[4:]
        if kind == b"moof":
            self._fragment = (read(self._position, box_bytes), self._position)
        elif kind == b"mdat":
            self._take_part(end)
        elif kind == b"free" and not self.note:
            payload = read(self._position + _HEADER_BYTES, box_bytes - _HEADER_BYTES)
            self.note = payload.removeprefix(NOTE_MAGIC) if payload.startswith(NOTE_MAGIC) else b""
        self._position = end
        return True

    def _take_part(self, end: int) -> None:
        if self._fragment is None:
            return
        (moof, moof_at), self._fragment = self._fragment, None
        box = Box(b"moof", _HEADER_BYTES, len(moof))
        samples = fragment_samples(moof, box)
        if not samples:
            return
        boxes = {item.kind: moof_at + item.start for item in descendants(moof, box)}
        first, last = samples[0], samples[-1]
        self.parts.append(
            PartIndex(
                start=self._part_start,
                end=end,
                time_at=boxes[b"tfdt"] + 4,
                run_at=boxes[b"trun"] + 12,
                decode_time=first.decode_time,
                duration=last.decode_time + last.duration - first.decode_time,
                first_duration=first.duration,
                samples=len(samples),
                independent=first.sync_sample,
            )
        )
        self._part_start = end


def retimed(data: bytes, start: int, parts: Sequence[PartIndex], offset: int, *, fill: bool) -> bytes:
    """`data`, which are the bytes of a segment from `start` on, with `offset` ticks added to each part's time.

    `fill`: holes between parts are closed, as said above.
    """
    patched = bytearray(data)
    end: int | None = None
    for part in parts:
        hole = 0 if end is None or not fill else max(0, part.decode_time - end)
        end = part.end_decode_time
        _put(patched, part.time_at - start, (part.decode_time - hole + offset).to_bytes(_TIME_BYTES))
        if hole:
            _put(patched, part.run_at - start, (part.first_duration + hole).to_bytes(_DURATION_BYTES))
    return bytes(patched)


def _put(data: bytearray, at: int, value: bytes) -> None:
    """Put `value` at `at`, as far as that lies within `data`."""
    first, last = max(at, 0), min(at + len(value), len(data))
    if first < last:
        data[first:last] = value[first - at : last - at]

"""Reading our fMP4 segments back: where the last whole part ends, and what its samples are (pure)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from media.record.fmp4 import NOTE_MAGIC
from media.record.sample import FileBytes, ScannedSample, SegmentScan

_NOT_SYNC = 0x00010000
_PARENTS = frozenset({b"moof", b"traf"})

_DATA_OFFSET, _DURATION, _SIZE, _FLAGS = 0x1, 0x100, 0x200, 0x400


@dataclass(frozen=True, slots=True)
class Box:
    """A box inside `data`: its payload is data[start:end]."""

    kind: bytes
    start: int
    end: int


def walk(data: FileBytes, start: int, end: int) -> Iterator[Box]:
    """The whole boxes of data[start:end] in order; stops without an error at one that is cut off or no box."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1 and start + 16 <= end:
            size, header = int.from_bytes(data[start + 8 : start + 16]), 16
        if size < header or start + size > end:
            return
        yield Box(kind, start + header, start + size)
        start += size


def scan_segment(data: FileBytes) -> SegmentScan:
    """Walk a segment (with or without its init segment before it) as far as it is whole.

    A part counts when its `moof` and the `mdat` after it are complete and agree on the bytes of the samples.
    Durations and times are in ticks of the init segment's timescale.
    """
    samples: list[ScannedSample] = []
    fragment: list[ScannedSample] | None = None
    note = b""
    complete = parts = 0
    for item in walk(data, 0, len(data)):
        if item.kind == b"moof":
            fragment = fragment_samples(data, item)
            if fragment is None:
                break
            continue
        if item.kind == b"mdat":
            if fragment is None or sum(s.size_bytes for s in fragment) != item.end - item.start:
                break
            samples += fragment
            parts += 1
            fragment = None
        elif item.kind == b"free" and data[item.start : item.start + len(NOTE_MAGIC)] == NOTE_MAGIC:
            note = bytes(data[item.start + len(NOTE_MAGIC) : item.end])
        elif not item.kind.isalnum():
            break
        complete = item.end
    return SegmentScan(complete, parts, tuple(samples), note)


def first_sample(data: FileBytes) -> bytes | None:
    """The first sample of a segment's first part; None where no part is whole."""
    scan = scan_segment(data)
    if not scan.samples:
        return None
    start = next(item.start for item in walk(data, 0, len(data)) if item.kind == b"mdat")
    return data[start : start + scan.samples[0].size_bytes]


def fragment_samples(data: FileBytes, moof: Box) -> list[ScannedSample] | None:
    """The samples that a `moof` announces; None when it is not one of ours."""
    times: int | None = None
    run: Box | None = None
    track_id = 1
    for item in descendants(data, moof):
        if item.kind == b"tfdt" and item.end - item.start == 12:
            times = int.from_bytes(data[item.start + 4 : item.end])
        elif item.kind == b"tfhd" and item.end - item.start >= 8:
            track_id = int.from_bytes(data[item.start + 4 : item.start + 8])
        elif item.kind == b"trun":
            run = item
    if times is None or run is None or run.end - run.start < 12:
        return None
    flags, count = struct.unpack_from(">II", data, run.start)
    if flags != _DATA_OFFSET | _DURATION | _SIZE | _FLAGS or run.end - run.start != 12 + 12 * count:
        return None
    samples: list[ScannedSample] = []
    for duration, size, sample_flags in struct.iter_unpack(">III", data[run.start + 12 : run.end]):
        samples.append(ScannedSample(times, duration, size, not sample_flags & _NOT_SYNC, track_id))
        times += duration
    return samples


def descendants(data: FileBytes, parent: Box) -> Iterator[Box]:
    """The boxes inside a `moof` or `traf`, and inside those, in order."""
    for item in walk(data, parent.start, parent.end):
        yield item
        if item.kind in _PARENTS:
            yield from descendants(data, item)

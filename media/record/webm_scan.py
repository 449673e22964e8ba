"""Reading our WebM segments back: where the last whole cluster ends, and what its blocks are (pure)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median_low

from media.record.sample import FileBytes, ScannedSample, SegmentScan
from media.record.webm import (
    ID_CLUSTER,
    ID_EBML,
    ID_SEGMENT,
    ID_SIMPLE_BLOCK,
    ID_TIMESTAMP,
    ID_VOID,
    KEYFRAME_FLAG,
    NOTE_MAGIC,
)

_LAST_BLOCK_MS = 33
"""How long the only block of a segment is taken to last: a frame at 30 fps."""

_BLOCK_HEADER_BYTES = 4

_Block = tuple[int, int, bool, int]
_TOP_LEVEL = frozenset({ID_EBML, ID_VOID, ID_CLUSTER, 0x1549A966, 0x1654AE6B})


@dataclass(frozen=True, slots=True)
class Element:
    """An EBML element inside `data`: its payload is data[start:end]."""

    identifier: int
    start: int
    end: int


def walk(data: FileBytes, start: int, end: int) -> Iterator[Element]:
    """The whole elements of data[start:end] in order, those in a `Segment` of unknown size too; stops at a torn one."""
    while start < end:
        identifier_end = start + _length(data[start])
        if identifier_end >= end:
            return
        size_end = identifier_end + _length(data[identifier_end])
        if size_end > end:
            return
        identifier = int.from_bytes(data[start:identifier_end])
        size_bytes = size_end - identifier_end
        size = int.from_bytes(data[identifier_end:size_end]) & ((1 << 7 * size_bytes) - 1)
        if identifier == ID_SEGMENT and size == (1 << 7 * size_bytes) - 1:
            start = size_end
            continue
        if size_end + size > end:
            return
        yield Element(identifier, size_end, size_end + size)
        start = size_end + size


def scan_segment(data: FileBytes) -> SegmentScan:
    """Walk a segment (with or without its init segment before it) as far as it is whole. Times are milliseconds."""
    blocks: list[_Block] = []
    note = b""
    complete = parts = 0
    for item in walk(data, 0, len(data)):
        if item.identifier not in _TOP_LEVEL:
            break
        if item.identifier == ID_CLUSTER:
            cluster = _cluster(data, item)
            if cluster is None:
                break
            blocks += cluster
            parts += 1
        elif item.identifier == ID_VOID and data[item.start : item.start + len(NOTE_MAGIC)] == NOTE_MAGIC:
            note = bytes(data[item.start + len(NOTE_MAGIC) : item.end])
        complete = item.end
    return SegmentScan(complete, parts, _with_durations(blocks), note)


def first_sample(data: FileBytes) -> bytes | None:
    """The first block's frame of a segment's first cluster; None where no cluster is whole."""
    if not scan_segment(data).samples:
        return None
    cluster = next(item for item in walk(data, 0, len(data)) if item.identifier == ID_CLUSTER)
    block = next(item for item in walk(data, cluster.start, cluster.end) if item.identifier == ID_SIMPLE_BLOCK)
    return data[block.start + _BLOCK_HEADER_BYTES : block.end]


def _cluster(data: FileBytes, cluster: Element) -> list[_Block] | None:
    """Time, size, sync and track number of each block; None when the cluster is not one of ours."""
    start: int | None = None
    blocks: list[_Block] = []
    position = cluster.start
    for item in walk(data, cluster.start, cluster.end):
        position = item.end
        if item.identifier == ID_TIMESTAMP:
            start = int.from_bytes(data[item.start : item.end])
        elif item.identifier == ID_SIMPLE_BLOCK and start is not None:
            if item.end - item.start < _BLOCK_HEADER_BYTES:
                return None
            offset = int.from_bytes(data[item.start + 1 : item.start + 3], signed=True)
            sync = bool(data[item.start + 3] & KEYFRAME_FLAG)
            size = item.end - item.start - _BLOCK_HEADER_BYTES
            blocks.append((start + offset, size, sync, data[item.start] & 0x7F))
        else:
            return None
    return blocks if position == cluster.end else None


def _with_durations(blocks: list[_Block]) -> tuple[ScannedSample, ...]:
    """Each block lasts until the next of its track."""
    numbers = {number for *_, number in blocks}
    durations = {number: _distances([time for time, _, _, of in blocks if of == number]) for number in numbers}
    return tuple(
        ScannedSample(time, next(durations[number]), size, sync, number) for time, size, sync, number in blocks
    )


def _distances(times: list[int]) -> Iterator[int]:
    distances = [after - before for before, after in itertools.pairwise(times)]
    distances.append(median_low(distances) if distances else _LAST_BLOCK_MS)
    return iter(distances)


def _length(first: int) -> int:
    """How many bytes a variable-size integer has, by its first byte; 0 would be no such integer: taken as overlong."""
    return 9 - first.bit_length() if first else 1 << 32

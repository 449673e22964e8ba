"""Access units as NAL units with 4-byte lengths, the form that MP4 stores (ISO/IEC 14496-15, pure)."""

from collections.abc import Iterable, Iterator


def length_prefixed_units(data: bytes) -> Iterator[bytes]:
    """The NAL units of an access unit with 4-byte lengths. Raises ValueError when a length overruns it."""
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise ValueError("a NAL unit's length is cut off")
        end = position + 4 + int.from_bytes(data[position : position + 4])
        if end > len(data):
            raise ValueError("a NAL unit is longer than its access unit")
        yield data[position + 4 : end]
        position = end


def with_lengths(units: Iterable[bytes]) -> bytes:
    """NAL units, each behind its length in 4 bytes."""
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)

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


def annex_b_units(data: bytes) -> Iterator[bytes]:
    """The NAL units between start codes (H.264 annex B), without the zeros that fill up to the next."""
    position = data.find(b"\x00\x00\x01")
    while position >= 0:
        following = data.find(b"\x00\x00\x01", position + 3)
        unit = data[position + 3 : following if following >= 0 else len(data)].rstrip(b"\x00")
        if unit:
            yield unit
        position = following


def with_lengths(units: Iterable[bytes]) -> bytes:
    """NAL units, each behind its length in 4 bytes."""
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)

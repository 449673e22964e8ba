"""Open bitstream units of AV1 (AV1 Bitstream & Decoding Process Specification section 5.3, pure)."""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, Self

from media.bitstream.bits import read_leb128, write_leb128
from media.errors import RtpError

_FORBIDDEN = 0x80
_HAS_EXTENSION = 0x04
_HAS_SIZE = 0x02


class ObuType(IntEnum):
    """OBU types (section 6.2.2); the reserved ones are passed on as they are."""

    SEQUENCE_HEADER = 1
    TEMPORAL_DELIMITER = 2
    FRAME_HEADER = 3
    TILE_GROUP = 4
    METADATA = 5
    FRAME = 6
    REDUNDANT_FRAME_HEADER = 7
    TILE_LIST = 8
    PADDING = 15


class Obu(NamedTuple):
    """One OBU. `header` is its one or two header bytes as they came."""

    type: int
    header: bytes
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The OBU that `data` is, with a size or without. Raises `RtpError` when its header or size does not fit."""
        first = data[0]
        header_bytes = 2 if first & _HAS_EXTENSION else 1
        if first & _FORBIDDEN or len(data) < header_bytes:
            raise RtpError("an AV1 OBU header is invalid; drop the frame")
        payload_start = header_bytes
        if first & _HAS_SIZE:
            size, payload_start = read_leb128(data, header_bytes, len(data))
            if payload_start + size != len(data):
                raise RtpError("an AV1 OBU's size does not fit its element; drop the frame")
        return cls(first >> 3 & 0x0F, data[:header_bytes], data[payload_start:])


def with_size(obu: Obu) -> bytes:
    """The OBU in low-overhead format: obu_has_size_field is 1 (section 5.2)."""
    header = bytes((obu.header[0] | _HAS_SIZE,)) + obu.header[1:]
    return header + write_leb128(len(obu.payload)) + obu.payload


def read_obus(data: bytes) -> Iterator[Obu]:
    """The OBUs of a temporal unit in low-overhead format (section 5.2).

    Raises `RtpError` for one that has no size or is longer than what is there.
    """
    at = 0
    while at < len(data):
        if not data[at] & _HAS_SIZE:
            raise RtpError("this is no AV1 OBU with a size; wait for a key frame")
        size, payload_at = read_leb128(data, at + (2 if data[at] & _HAS_EXTENSION else 1), len(data))
        end = payload_at + size
        if end > len(data):
            raise RtpError("an AV1 OBU is longer than its temporal unit; wait for a key frame")
        yield Obu.parse(data[at:end])
        at = end

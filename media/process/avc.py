"""H.264 byte forms (ISO/IEC 14496-10 annex B, 14496-15), pure."""

import re
import struct

from media.bitstream.nal import length_prefixed_units

_PARAMETER_SETS = frozenset({7, 8, 13})
"""SPS, PPS and SPS extension (14496-10 table 7-1)."""

_START_CODE = re.compile(rb"\x00*\x00\x00\x01")


def annexb_to_length_prefixed(data: bytes) -> bytes:
    """The NAL units of an Annex B access unit, each after its length in 4 bytes, as MP4 stores them."""
    nals = [nal for nal in _START_CODE.split(data) if nal]
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def without_parameter_sets(data: bytes) -> bytes:
    """An access unit (4-byte lengths) without its parameter sets, which an `avc1` track keeps in the sample entry.

    Raises ValueError when a length overruns it.
    """
    nals = [nal for nal in length_prefixed_units(data) if nal and nal[0] & 0x1F not in _PARAMETER_SETS]
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def published_init(init_segment: bytes, *, in_band: bool) -> bytes:
    """A recorded init segment as others should get it: `ftyp` and `moov` alone, without the recorder's notes.

    Unless parameter sets stay `in_band` it says `avc1`, which more players take than `avc3`.
    """
    boxes: list[bytes] = []
    at = 0
    while at + 8 <= len(init_segment):
        size, kind = struct.unpack_from(">I4s", init_segment, at)
        if kind in {b"ftyp", b"moov"}:
            boxes.append(init_segment[at : at + size])
        at += max(size, 8)
    data = b"".join(boxes)
    return data if in_band else data.replace(b"avc3", b"avc1", 1)


def avc_codec_string(init_segment: bytes) -> str:
    """The RFC 6381 `codecs` parameter of the H.264 track in an init segment. Raises ValueError without one."""
    at = init_segment.index(b"avcC")
    entry = "avc3" if b"avc3" in init_segment else "avc1"
    # avcC: version, then the three bytes of profile, constraints and level (14496-15 5.3.3.1.2).
    return f"{entry}.{init_segment[at + 5 : at + 8].hex().upper()}"

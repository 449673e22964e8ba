"""Recorded init segments and access units in the form that others should get them (pure).

Sources: ISO/IEC 14496-15 §5.3.3, §8.3.3: `avc1` and `hvc1` keep all parameter sets in the sample entry, `avc3` and
`hev1` allow them in band. More players take the former; Apple's take `hvc1` only.
"""

import struct

from media.bitstream import h265
from media.bitstream.nal import length_prefixed_units, with_lengths
from media.frames import Codec

OUT_OF_BAND_ENTRIES = {Codec.H264: ("avc3", "avc1"), Codec.H265: ("hev1", "hvc1")}
"""The sample entry of recordings, and the one for samples without parameter sets."""

_AVC_PARAMETER_SETS = frozenset({7, 8, 13})
"""SPS, PPS and SPS extension (ITU-T H.264 table 7-1)."""

_HEVC_PARAMETER_SETS = frozenset({h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS})

_HVCC_ARRAYS_AT = 22
"""Where `hvcC` counts its arrays (14496-15 §8.3.3.1.2)."""

_ARRAY_COMPLETENESS = 0x80


def without_parameter_sets(codec: Codec, data: bytes) -> bytes:
    """An access unit of H.264 or H.265 (4-byte lengths) without its parameter sets.

    Raises ValueError when a length overruns it.
    """
    units = (unit for unit in length_prefixed_units(data) if unit)
    if codec is Codec.H265:
        return with_lengths(unit for unit in units if h265.nal_type(unit) not in _HEVC_PARAMETER_SETS)
    return with_lengths(unit for unit in units if unit[0] & 0x1F not in _AVC_PARAMETER_SETS)


def published_init(codec: Codec, init_segment: bytes, *, in_band: bool) -> bytes:
    """A recorded init segment: `ftyp` and `moov` alone, without the recorder's notes.

    Unless parameter sets stay `in_band`, the sample entry is the one that promises there are none.
    """
    data = b"".join(_boxes(init_segment, {b"ftyp", b"moov"}))
    if in_band or codec not in OUT_OF_BAND_ENTRIES:
        return data
    recorded, published = (name.encode() for name in OUT_OF_BAND_ENTRIES[codec])
    data = data.replace(recorded, published, 1)
    return _with_complete_arrays(data) if codec is Codec.H265 else data


def published_codec_string(codec: Codec, codec_string: str, *, in_band: bool) -> str:
    """The RFC 6381 `codecs` parameter that belongs to `published_init`."""
    if in_band or codec not in OUT_OF_BAND_ENTRIES:
        return codec_string
    recorded, published = OUT_OF_BAND_ENTRIES[codec]
    return published + codec_string.removeprefix(recorded)


def vp9_pixel_format(init_segment: bytes) -> str:
    """FFmpeg's name for the pixel format that `vpcC` tells (VPCodecConfigurationRecord); its muxer asks for it."""
    told = init_segment[init_segment.index(b"vpcC") + 4 + 6]
    depth, sampling = told >> 4, ("420", "420", "422", "444")[told >> 1 & 0b11]
    return f"yuv{sampling}p" + (f"{depth}le" if depth > 8 else "")


def _boxes(data: bytes, kinds: set[bytes]) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind in kinds:
            found.append(data[at : at + size])
        at += max(size, 8)
    return found


def _with_complete_arrays(data: bytes) -> bytes:
    """`hvc1` asks that each array of `hvcC` is marked as complete."""
    changed = bytearray(data)
    at = data.index(b"hvcC") + 4 + _HVCC_ARRAYS_AT
    arrays, at = data[at], at + 1
    for _ in range(arrays):
        changed[at] |= _ARRAY_COMPLETENESS
        units, at = int.from_bytes(data[at + 1 : at + 3]), at + 3
        for _ in range(units):
            at += 2 + int.from_bytes(data[at : at + 2])
    return bytes(changed)

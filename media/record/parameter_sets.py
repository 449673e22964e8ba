"""Decoder configuration records of H.264 and H.265, from the parameter sets in a sync sample (pure).

Source: ISO/IEC 14496-15, §5.3.3.1.2 for `avcC`, §8.3.3.1.2 for `hvcC`, annex E for the `codecs` parameter.
"""

import struct
from collections.abc import Sequence

from media.bitstream import h265
from media.bitstream.h264 import parse_sps
from media.bitstream.nal import length_prefixed_units
from media.frames import Codec
from media.record.sample import CodecConfig

_AVC_SPS, _AVC_PPS = 7, 8

_AVCC_EXTENDED_PROFILES = frozenset({100, 110, 122, 144})
"""profile_idc values for which avcC repeats chroma format and bit depths (§5.3.3.1.2)."""

_LENGTH_SIZE_MINUS_ONE = 3
_PROFILE_SPACES = ("", "A", "B", "C")


def avc_config(data: bytes) -> CodecConfig | None:
    """The configuration of an H.264 access unit; None when it lacks parameter sets. Raises RtpError, ValueError."""
    units = _sets({unit: unit[0] & 0x1F for unit in length_prefixed_units(data) if unit})
    sps, pps = units.get(_AVC_SPS, []), units.get(_AVC_PPS, [])
    if not sps or not pps:
        return None
    told = parse_sps(sps[0])
    record = bytearray((1, *sps[0][1:4], 0xFC | _LENGTH_SIZE_MINUS_ONE, 0xE0 | len(sps)))
    record += _with_short_lengths(sps)
    record.append(len(pps))
    record += _with_short_lengths(pps)
    if sps[0][1] in _AVCC_EXTENDED_PROFILES:
        luma, chroma = told.bit_depth_luma - 8, told.bit_depth_chroma - 8
        record += bytes((0xFC | told.chroma_format_idc, 0xF8 | luma, 0xF8 | chroma, 0))
    codec_string = f"avc3.{sps[0][1:4].hex().upper()}"
    return CodecConfig(Codec.H264, codec_string, told.width, told.height, codec_private=bytes(record))


def hevc_config(data: bytes) -> CodecConfig | None:
    """The configuration of an H.265 access unit; None when it lacks parameter sets. Raises RtpError, ValueError.

    The arrays are marked as incomplete: the same sets are in band too, as `hev1` allows.
    """
    units = _sets({unit: h265.nal_type(unit) for unit in length_prefixed_units(data)})
    kinds = (h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS)
    if any(kind not in units for kind in kinds):
        return None
    told = h265.parse_sps(units[h265.NAL_SPS][0])
    # No spatial segmentation or parallelism is promised, and no frame rate.
    record = bytearray((1, *told.profile_tier_level, 0xF0, 0, 0xFC, 0xFC | told.chroma_format_idc))
    record += bytes((0xF8 | told.bit_depth_luma - 8, 0xF8 | told.bit_depth_chroma - 8, 0, 0))
    record.append(told.max_sub_layers << 3 | told.temporal_id_nesting << 2 | _LENGTH_SIZE_MINUS_ONE)
    record.append(len(kinds))
    for kind in kinds:
        record += struct.pack(">BH", kind, len(units[kind])) + _with_short_lengths(units[kind])
    codec_string = f"hev1.{_hevc_profile(told.profile_tier_level)}"
    return CodecConfig(Codec.H265, codec_string, told.width, told.height, codec_private=bytes(record))


def _sets(kinds: dict[bytes, int]) -> dict[int, list[bytes]]:
    """The distinct units of each type, in order."""
    found: dict[int, list[bytes]] = {}
    for unit, kind in kinds.items():
        found.setdefault(kind, []).append(unit)
    return found


def _with_short_lengths(units: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(unit)) + unit for unit in units)


def _hevc_profile(profile_tier_level: bytes) -> str:
    """Annex E.3: profile, compatibility flags from the last to the first, tier and level, constraints without tail."""
    first, level = profile_tier_level[0], profile_tier_level[11]
    flags = int(f"{int.from_bytes(profile_tier_level[1:5]):032b}"[::-1], 2)
    constraints = [f"{byte:X}" for byte in profile_tier_level[5:11].rstrip(b"\0")]
    tier = "H" if first & 0x20 else "L"
    return ".".join([f"{_PROFILE_SPACES[first >> 6]}{first & 0x1F}", f"{flags:X}", f"{tier}{level}", *constraints])
